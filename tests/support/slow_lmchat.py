"""lmchat whose event loop becomes slow with F12: each of its rounds then takes a fiftieth of a second."""

from __future__ import annotations

import asyncio
import inspect
import sys
import time
from pathlib import Path
from typing import ClassVar

from lmchat.__main__ import main
from lmchat.cli import chat
from lmchat.tui.app import LMChatApp

SLOW = "the loop is slow"
_ROUND_S = 0.02


class SlowApp(LMChatApp):
    CSS_PATH: ClassVar = [
        Path(inspect.getfile(LMChatApp)).parent / path for path in LMChatApp.CSS_PATH
    ]
    BINDINGS: ClassVar = [*LMChatApp.BINDINGS, ("f12", "become_slow", "")]

    def action_become_slow(self) -> None:
        self.notify(SLOW)
        self._sleep()

    def _sleep(self) -> None:
        time.sleep(_ROUND_S)
        asyncio.get_running_loop().call_soon(self._sleep)


if __name__ == "__main__":
    chat.LMChatApp = SlowApp
    sys.exit(main(sys.argv[1:]))
