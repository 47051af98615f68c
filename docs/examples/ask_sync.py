"""The same without an event loop: `python ask_sync.py [ADDRESS]`."""

from __future__ import annotations

import sys

from lmchat.api import LMChatError, SyncClient, TextDelta


def main(address: str = "") -> None:
    """Get a whole answer, then stream one."""
    with SyncClient(address) as client:
        print(client.chat("Which vegetables grow in shade?").text)
        for event in client.stream("And which herbs?"):
            if isinstance(event, TextDelta):
                print(event.text, end="", flush=True)
        print()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except LMChatError as error:
        sys.exit(f"{error} {error.next_step}")
