"""The baselines: Textual with nothing of ours, and its own `Log` fed the same text."""

from __future__ import annotations

import asyncio
import sys
import time

from textual.app import App, ComposeResult
from textual.widgets import Header, Log, TextArea


class Bare(App[None]):
    TITLE = "BARE-PAINTED"

    def compose(self) -> ComposeResult:
        yield Header()
        yield TextArea()


class Logged(App[None]):
    """Writes the file named in argv at so many pieces a second when a key comes."""

    def compose(self) -> ComposeResult:
        yield Header()
        yield Log()
        yield TextArea()

    def on_mount(self) -> None:
        self.query_one(TextArea).focus()
        self.run_worker(self.pour())

    async def pour(self) -> None:
        with open(sys.argv[2], encoding="utf-8") as file:  # noqa: ASYNC230, PTH123 - before anything is measured
            text = file.read()
        rate = float(sys.argv[3])
        log = self.query_one(Log)
        await asyncio.sleep(0.5)
        self.title = "LOG-BEGINS"
        start_s = time.perf_counter()
        for number, at in enumerate(range(0, len(text), 4), 1):
            log.write(text[at : at + 4])
            await asyncio.sleep(max(start_s + number / rate - time.perf_counter(), 0))
        self.title = "LOG-ENDS"


if __name__ == "__main__":
    (Logged if sys.argv[1:2] == ["log"] else Bare)().run()
