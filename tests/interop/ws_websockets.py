#!/usr/bin/env python3
"""Follows the events over a WebSocket with `websockets`, and comes back after the last seq whenever it is cut off.

    ws_websockets.py BASE_URL TOKEN TOTAL

Prints one seq a line until TOTAL events have come. Needs `pip install websockets` (15 or later).
"""
import json
import sys

from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect


def main():
    base, token, total = sys.argv[1].replace("http", "ws", 1), sys.argv[2], int(sys.argv[3])
    headers = {"Authorization": "Bearer " + token}
    last = 0
    while last < total:
        url = "%s/v1/ws?from=%d" % (base, last + 1)
        try:
            with connect(url, additional_headers=headers, proxy=None, close_timeout=1) as socket:
                for message in socket:
                    last = json.loads(message)["seq"]
                    print(last, flush=True)
                    if last >= total:
                        break
        except ConnectionClosed:
            pass  # Cut off: on from where we were.


main()
