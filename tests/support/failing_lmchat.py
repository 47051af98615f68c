"""lmchat that fails by keys.

F8 fails itself, F9 lets no save end, F10 lets no thread read keys again, F11 makes the app fail, F12
hangs.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import sys
from pathlib import Path
from threading import Thread
from typing import ClassVar

from textual.drivers import linux_driver

from lmchat.__main__ import main
from lmchat.app.cli import run_screen
from lmchat.app.tui.app import LMChatApp

SECRET = "a-value-that-no-screen-and-no-log-may-show"  # noqa: S105 - it is none

HANGS = "it hangs on purpose"


class NoThread(Thread):
    """A thread that a limit of the system forbids."""

    def start(self) -> None:
        raise RuntimeError("can't start new thread")


class BreakingApp(LMChatApp):
    """Fails on purpose."""

    saves_for_ever = False
    CSS_PATH: ClassVar = [
        Path(inspect.getfile(LMChatApp)).parent / path for path in LMChatApp.CSS_PATH
    ]
    BINDINGS: ClassVar = [
        *LMChatApp.BINDINGS,
        ("f10", "start_no_thread", ""),
        ("f4", "fail", ""),
        ("f9", "save_for_ever", ""),
        ("f11", "fail_later", ""),
        ("f12", "hang", ""),
    ]

    def action_start_no_thread(self) -> None:
        linux_driver.Thread = NoThread

    def action_fail(self) -> None:
        local = SECRET
        raise ValueError(f"on purpose, with {local}")

    def action_save_for_ever(self) -> None:
        self.saves_for_ever = True

    async def stop_and_save(self) -> None:
        if self.saves_for_ever:
            await asyncio.Event().wait()
        await super().stop_and_save()

    def action_fail_later(self) -> None:
        self.call_later(self.action_fail)

    def action_hang(self) -> None:
        logging.getLogger("lmchat").warning(HANGS)
        while True:
            pass


if __name__ == "__main__":
    run_screen.LMChatApp = BreakingApp
    sys.exit(main(sys.argv[1:]))
