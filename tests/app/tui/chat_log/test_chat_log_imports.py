"""What the log needs before the first key, and what may come later."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import asyncio, sys
from tests.support.chat_log_app import LogApp, answer, load, question

async def main():
    async with LogApp().run_test(size=(80, 24)) as pilot:
        for shown in (
            question("only a **prompt**"),
            answer("an *answer*"),
            answer("```\\nno language"),
            answer("```py\\nx"),
        ):
            await load(pilot, shown)
            loaded = [name for name in ("markdown_it", "pygments", "httpx", "sqlite3") if name in sys.modules]
            print(*loaded)

asyncio.run(main())
"""


def test_the_parser_comes_with_the_first_answer_and_lexers_never():
    command = [sys.executable, "-c", SCRIPT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own script
    assert done.stdout.splitlines() == ["", "markdown_it", "markdown_it", "markdown_it"]
