"""Ask a model server on this machine: `python ask.py [ADDRESS]`."""

from __future__ import annotations

import asyncio
import sys
from contextlib import aclosing

from lmchat.api import Client, LMChatError, Messages, TextDelta


async def main(address: str = "") -> None:
    """Get a whole answer, then stream one, and print what was counted."""
    async with Client(address) as client:
        answer = await client.chat("Which vegetables grow in shade?", temperature=0)
        print(answer.text)
        print(f"{answer.model}: {answer.stats.completion_tokens} tokens")

        more: Messages = [
            ("user", "Which vegetables grow in shade?"),
            answer.message,
            ("user", "And which herbs?"),
        ]
        async with aclosing(client.stream(more, max_tokens=200)) as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    print(event.text, end="", flush=True)
        print(f"\n{client.metrics().successful_requests} answers")
        client.reset_metrics()  # the next count begins at 0


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except LMChatError as error:
        sys.exit(f"{error} {error.next_step}")
