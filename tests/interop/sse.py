#!/usr/bin/env python3
"""A reader of the event stream in the standard library alone, that cuts itself off and resumes.

    sse.py BASE_URL TOKEN [--from SEQ] [--cut N] [--total N]

After every N events (--cut) it closes the connection in the middle and comes back with Last-Event-ID. Prints one seq a
line until --total events have come.
"""
import argparse
import http.client
import json
import urllib.parse


def events(response):
    """Yields (id, data); comments are passed over. Ends when the stream does."""
    event_id, data = None, []
    for raw in response:
        line = raw.decode("utf-8").rstrip("\r\n")
        if not line:
            if data:
                yield event_id, json.loads("\n".join(data))
            data = []
        elif line.startswith(":"):
            continue
        else:
            field, _, value = line.partition(":")
            value = value[1:] if value.startswith(" ") else value
            if field == "id":
                event_id = value
            elif field == "data":
                data.append(value)


def connect(base, token, start, last):
    url = urllib.parse.urlsplit(base)
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    connection = kind(url.hostname, url.port, timeout=30)
    headers = {"Authorization": "Bearer " + token, "Accept": "text/event-stream"}
    path = "/v1/stream?from=%d" % start
    if last is not None:
        # Both are sent on purpose: Last-Event-ID wins.
        headers["Last-Event-ID"] = last
    connection.request("GET", path, headers=headers)
    response = connection.getresponse()
    if response.status != 200:
        raise SystemExit("HTTP %d: %s" % (response.status, response.read(500).decode("utf-8", "replace")))
    return connection, response


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("base")
    parser.add_argument("token")
    parser.add_argument("--from", dest="start", type=int, default=1)
    parser.add_argument("--cut", type=int, default=10)
    parser.add_argument("--total", type=int, required=True)
    options = parser.parse_args()
    seen, last = 0, None
    while seen < options.total:
        connection, response = connect(options.base.rstrip("/"), options.token, options.start, last)
        taken = 0
        for last, data in events(response):
            if str(data["seq"]) != last:
                raise SystemExit("id %s carries seq %s" % (last, data["seq"]))
            print(last, flush=True)
            seen, taken = seen + 1, taken + 1
            if taken == options.cut or seen == options.total:
                break
        connection.close()


main()
