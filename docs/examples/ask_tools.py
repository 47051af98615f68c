"""Let the model call a function: `python ask_tools.py [ADDRESS]`."""

from __future__ import annotations

import asyncio
import sys

from lmchat.proxy import Client, LMChatError


def count_words(text: str) -> int:
    """Count the words of a text."""
    return len(text.split())


async def main(address: str = "") -> None:
    """Ask a question that the function helps with."""
    async with Client(address) as client:
        answer = await client.chat("How many words has: to be or not to be?", tools=[count_words])
    for step in answer.steps:
        print(step.tool_calls[0].arguments, "->", step.tool_result)
    print(answer.text)


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except LMChatError as error:
        sys.exit(f"{error} {error.hint}")
