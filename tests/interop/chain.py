#!/usr/bin/env python3
"""Recomputes the hash chain of a ledger from GET /v1/ledger, or from an export as ndjson that begins at seq 1.

    chain.py BASE_URL TOKEN
    chain.py FILE.ndjson

Prints the head's seq and hash. Needs Python 3.8 and `pip install blake3`. The token must cover all accounts ("*"): with
fewer the list has holes, and only each entry's own hash can be checked.
"""
import json
import sys
import urllib.parse
import urllib.request

from blake3 import blake3


def get(base, token, path):
    request = urllib.request.Request(base + path, headers={"Authorization": "Bearer " + token})
    # A proxy of the environment has no business between us and the daemon.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(request, timeout=30) as answer:
        return json.load(answer)


def entries(base, token):
    page = get(base, token, "/v1/ledger?from=1&limit=500")
    while True:
        yield from page["data"]
        if page["next_cursor"] is None:
            return
        cursor = urllib.parse.quote(page["next_cursor"], safe="")
        page = get(base, token, "/v1/ledger?from=1&limit=500&cursor=" + cursor)


def lines(path):
    with open(path, encoding="utf-8", newline="\n") as file:
        yield from map(json.loads, file)


def canonical(entry):
    """RFC 8785 for what entries hold: text, null and one integer, under ASCII keys."""
    return json.dumps(entry, ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode("utf-8")


def main():
    base, token = sys.argv[1].rstrip("/"), sys.argv[2:3]
    seq, head = 0, blake3(b"razao ledger v1").hexdigest()
    for entry in entries(base, token[0]) if token else lines(sys.argv[1]):
        seq += 1
        claimed, prev = entry.pop("hash"), entry.pop("prev_hash")
        if entry["seq"] != seq:
            sys.exit("entry %d stands where %d belongs" % (entry["seq"], seq))
        if prev != head:
            sys.exit("entry %d does not follow the one before it" % seq)
        head = blake3(bytes.fromhex(prev) + canonical(entry)).hexdigest()
        if claimed != head:
            sys.exit("entry %d has another content than its hash" % seq)
    told = get(base, token[0], "/v1/ledger/head") if token else {"seq": seq, "hash": head}
    if (told["seq"], told["hash"]) != (seq, head):
        sys.exit("the head is told as %s %s" % (told["seq"], told["hash"]))
    print(seq, head)


main()
