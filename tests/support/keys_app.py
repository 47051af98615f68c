"""A tiny app on a real terminal: shows the keys that arrive, and has many ways to end badly.

`python -m tests.support.keys_app SAVED [slow]`: a signal makes it write the file SAVED (`slow`: it never
gets there).
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from textual import events
from textual.app import ComposeResult
from textual.widgets import Static

from lmchat.errors import LMChatError
from lmchat.terminal.programs import Editor
from lmchat.tui.quirks.driver import guard_terminal, lend_terminal
from lmchat.tui.quirks.patched_app import PatchedApp


class KeysApp(PatchedApp):
    """Shows keys, the newest last."""

    BINDINGS: ClassVar = [
        ("f1", "end", ""),
        ("f5", "flood", ""),
        ("f7", "leave", ""),
        ("f8", "edit", ""),
        # as in the prompt; without a binding they would be Enter
        ("alt+enter,shift+enter", "break_line", ""),
    ]

    def __init__(self, saved: Path, is_slow: bool) -> None:
        super().__init__()
        self.saved, self.is_slow = saved, is_slow
        self.seen: list[str] = []

    def compose(self) -> ComposeResult:
        yield Static("ready", markup=False)

    def on_key(self, event: events.Key) -> None:
        self.show([*self.seen, event.key])

    def on_resize(self, event: events.Resize) -> None:
        self.show([*self.seen, f"{event.size.width}x{event.size.height}"])

    def show(self, seen: Iterable[str]) -> None:
        self.seen = list(seen)
        self.query_one(Static).update("ready\n" + "\n".join(self.seen[-8:]) + "\nshown")

    def action_break_line(self) -> None:
        """Do nothing: `on_key` shows the key."""

    def action_end(self) -> None:
        self.exit(return_code=7)

    def action_flood(self) -> None:
        self.set_interval(0.001, lambda: self.show([str(time.monotonic_ns()) * 40]))

    def action_leave(self) -> None:
        with self.suspend():
            os.write(2, b"away\r\n")
            os.kill(os.getpid(), signal.SIGINT)  # what Ctrl+C in an editor sends to us as well
            os.read(0, 1)

    async def action_edit(self) -> None:
        self.run_worker(self.edit(), name="edit")

    async def edit(self) -> None:
        timer = self.set_interval(0.005, self.tick)
        try:
            with lend_terminal(self), ExitStack() as folders:
                text = await Editor("draft", folders=folders, environ=os.environ).run()
            self.show([text, "edited"])
        except LMChatError as error:
            self.show([error.message])
        timer.stop()

    def tick(self) -> None:
        self.saved.with_suffix(".ticks").touch()
        self.show([*self.seen, "tick"])

    async def save(self) -> None:
        self.seen.append("saving")
        if self.is_slow:
            await asyncio.Event().wait()
        self.saved.write_text("saved", encoding="utf-8")


if __name__ == "__main__":
    app = KeysApp(Path(sys.argv[1]), "slow" in sys.argv)
    guard_terminal(app, app.save)
    app.run()
    sys.exit(app.return_code)
