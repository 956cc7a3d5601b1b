#!/usr/bin/env python3
"""Follows the event stream with httpx-sse, and comes back with Last-Event-ID whenever it is cut off.

    sse_httpx.py BASE_URL TOKEN TOTAL

Prints one seq a line until TOTAL events have come. Needs `pip install httpx httpx-sse`.
"""
import sys

import httpx
from httpx_sse import connect_sse


def main():
    base, token, total = sys.argv[1], sys.argv[2], int(sys.argv[3])
    headers = {"Authorization": "Bearer " + token}
    seen = 0
    # A proxy of the environment has no business between us and the daemon.
    with httpx.Client(timeout=30, trust_env=False) as client:
        while seen < total:
            try:
                with connect_sse(client, "GET", base + "/v1/stream?from=1", headers=headers) as source:
                    source.response.raise_for_status()
                    for event in source.iter_sse():
                        if not event.data:
                            continue  # This library also yields `retry:` lines and comments, without data.
                        if str(event.json()["seq"]) != event.id:
                            sys.exit("id %s carries seq %s" % (event.id, event.json()["seq"]))
                        print(event.id, flush=True)
                        headers["Last-Event-ID"] = event.id
                        seen += 1
                        if seen == total:
                            break
            except httpx.TransportError:
                pass  # Cut off: on from where we were.


main()
