"""A value that matches a JSON schema for each line: `python batch.py < lines.txt`."""

import asyncio
import json
import sys

from lmchat.api import Home, LMChatError, ModelInfo

WORD = {"type": "string", "minLength": 1, "maxLength": 20}
SCHEMA = {"type": "object", "properties": {"plant": WORD}, "required": ["plant"]}


async def ask(home: Home, model: ModelInfo, line: str) -> dict[str, object]:
    """Return the value for a line, or why there is none."""
    try:
        found = await home.client.chat_json(f"Name its plant: {line}", SCHEMA, model=model)
    except LMChatError as error:
        return {"line": line, "error": str(error)}
    return {"line": line, **found.value, "tokens": found.answer.stats.completion_tokens}


async def main() -> None:
    async with Home() as home:
        model = await home.model()
        lines = [line.strip() for line in sys.stdin if line.strip()]
        for work in asyncio.as_completed([ask(home, model, line) for line in lines]):
            print(json.dumps(await work))


asyncio.run(main())
