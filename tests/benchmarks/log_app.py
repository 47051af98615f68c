"""One log under load, on a pty; `log.py` starts it and reads the JSON that it leaves."""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import time
from pathlib import Path

from textual import work
from textual.app import App, ComposeResult
from textual.widgets import Input, Log

from lmchat.domain.event import TextDelta
from lmchat.tui.themes import THEMES
from lmchat.tui.widgets.chat_log import ChatLog
from tests.benchmarks.log_samples import KINDS, talk
from tests.support.chat_log_app import _STYLES, streaming

TOKEN_CHARS = 4


class Plain(Log):
    """`textual.widgets.Log`: no wrapping, no Markdown; what others are compared with."""

    def load(self, messages) -> None:
        self.write("\n".join(message.text for message in messages) + "\n")

    def begin_answer(self, message) -> None:
        self.write(message.text)

    async def apply(self, event) -> None:
        self.write(event.text)


class Bench(App[None]):
    CSS_PATH = _STYLES
    CSS = "ChatLog, Plain { height: 1fr; background: $background; } Input { height: 1; border: none; }"
    ENABLE_COMMAND_PALETTE = False

    def __init__(self, options: dict) -> None:
        super().__init__()
        for own in THEMES:
            self.register_theme(own)
        self.theme = "lmchat-dark"
        self.options, self.out, self.result = options, Path(options["out"]), {}
        self.log_view = ChatLog() if options.get("design", "lmchat") == "lmchat" else Plain()

    def compose(self) -> ComposeResult:
        yield self.log_view
        yield Input()

    def on_mount(self) -> None:
        self.query_one(Input).focus()
        messages = talk(self.options.get("messages", 2))
        self.began = time.process_time(), time.perf_counter()
        self.log_view.load(messages)
        self.call_after_refresh(self.opened)

    def opened(self) -> None:
        self.result["open_cpu_ms"] = 1e3 * (time.process_time() - self.began[0])
        self.result["open_ms"] = 1e3 * (time.perf_counter() - self.began[1])
        self.run()

    @work
    async def run(self) -> None:  # type: ignore[override]
        options = self.options
        await asyncio.sleep(0.3)
        if options.get("tokens"):
            size, count = options.get("size", 2_000), options["tokens"]
            text = KINDS[options.get("kind", "mixed")](size + TOKEN_CHARS * count)
            self.log_view.begin_answer(streaming(text[:size]))
            await asyncio.sleep(0.5)
            await self.pour(text[size:], options.get("rate", 100))
        self.out.with_suffix(".ready").write_text("")
        cpu = time.process_time()
        await asyncio.sleep(options.get("wait_s", 0))
        self.result["wait_cpu_ms"] = 1e3 * (time.process_time() - cpu)
        self.result["rss_mb"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.out.write_text(json.dumps(self.result))
        self.exit()

    async def pour(self, text: str, rate: float) -> None:
        cpu, start = time.process_time(), time.perf_counter()
        for index in range(0, len(text), TOKEN_CHARS):
            await self.log_view.apply(TextDelta(text=text[index : index + TOKEN_CHARS]))
            pause_s = start + index / TOKEN_CHARS / rate - time.perf_counter() if rate else 0
            if pause_s > 0 or index % (64 * TOKEN_CHARS) == 0:
                await asyncio.sleep(max(pause_s, 0))
        sent = time.perf_counter()
        while getattr(self.log_view, "_timer", None) is not None:  # noqa: ASYNC110 - as a user would see it
            await asyncio.sleep(0.002)
        painted = asyncio.Event()
        self.log_view.call_after_refresh(painted.set)
        await painted.wait()
        tokens = len(text) / TOKEN_CHARS
        self.result["cpu_s_per_1k"] = (time.process_time() - cpu) / tokens * 1_000
        self.result["late_ms"] = 1e3 * (time.perf_counter() - sent)


if __name__ == "__main__":
    App.run(Bench(json.loads(sys.argv[1])))
