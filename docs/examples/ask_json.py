"""Ask for a value that matches a JSON schema: `python ask_json.py [ADDRESS]`."""

from __future__ import annotations

import asyncio
import sys

from lmchat.api import AnswerUnfit, Client, LMChatError

_BOOK = {
    "type": "object",
    "properties": {
        "title": {"type": "string", "maxLength": 60},
        "year": {"type": "integer", "minimum": 0, "maximum": 2100},
    },
    "required": ["title", "year"],
    "additionalProperties": False,
}


async def main(address: str = "") -> None:
    """Get a book as a dictionary; handle a model that cannot do that."""
    async with Client(address) as client:
        try:
            book = await client.chat_json("Name one book by Jane Austen.", _BOOK, name="book")
        except AnswerUnfit as error:
            print("The model cannot:", error)
        else:
            print(f"{book.value['title']} ({book.value['year']})")


if __name__ == "__main__":
    try:
        asyncio.run(main(*sys.argv[1:]))
    except LMChatError as error:
        sys.exit(f"{error} {error.next_step}")
