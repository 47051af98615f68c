"""What the log needs before the first key, and what may come later."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import asyncio, sys
from tests.support.chat_log_app import LogApp, answer, question

async def main():
    async with LogApp().run_test(size=(80, 24)) as pilot:
        {deed}
        await pilot.pause()
    print(*sorted(name for name in ("markdown_it", "pygments", "httpx", "sqlite3") if name in sys.modules))

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("deed", "loaded"),
    [
        ("pass", ""),
        ("pilot.app.log_view.load([question('only a **prompt**')])", ""),
        ("pilot.app.log_view.load([answer('an *answer*')])", "markdown_it"),
        ("pilot.app.log_view.load([answer('```' + chr(10) + 'no language')])", "markdown_it"),
        ("pilot.app.log_view.load([answer('```py' + chr(10) + 'x')])", "markdown_it pygments"),
    ],
)
def test_the_parser_comes_with_the_first_answer_and_colours_with_the_first_code(deed, loaded):
    command = [sys.executable, "-c", SCRIPT.format(deed=deed)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 - our own script
    assert done.stdout.strip() == loaded
