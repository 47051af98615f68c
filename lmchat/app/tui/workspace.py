"""The services and options of one run of the screen, as `cli/setup/screen_wiring.py` makes them.

The controllers get nothing else from the command line. No other module of the screen names the
class of the store.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

from msgspec import Struct

from lmchat.app.terminal.programs import Editor
from lmchat.core.attachments.shell_command import ShellCommand
from lmchat.core.chat.service import ChatService
from lmchat.core.config.settings import Settings
from lmchat.core.config.state import Change, State
from lmchat.core.library.importer import Importer
from lmchat.core.library.library import Library
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.discovery.monitor import Monitor
from lmchat.core.servers.discovery.status import ServerState, chat_state
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.local.engine import Engine
from lmchat.core.servers.local.installed import ServerLauncher
from lmchat.core.servers.protocols import ServerClient
from lmchat.core.storage.stats_store import StatsStore
from lmchat.core.storage.store import Store

LACKS_SERVER = (ServerState.NEEDS_KEY, ServerState.AWAY)
"""A search has found no server with a model."""


class Report(NamedTuple):
    """Report of the doctor."""

    text: Callable[[int], str]  # of a width in columns
    summary: str


class Platform(Protocol):
    """Access to terminal, disk and other programs."""

    log_file: str
    config_file: Path
    state_folder: Path

    async def copy(self, text: str) -> str:
        """Return the name of a tool of the desktop that can, or ""."""

    def terminal_copy(self, text: str) -> str:
        """Return the output that makes the terminal copy a text."""

    async def paste(self) -> str:
        """Raises `LMChatError` where the clipboard cannot be read."""

    async def paste_image(self) -> bytes:
        """Return b"" without an image. Raises `LMChatError`."""

    async def paste_files(self) -> str: ...

    def examine(self, used: Endpoint | None) -> Awaitable[Report]:
        """Check this machine, and the server that is used: its address may only be typed."""

    async def find_files(self, letters: str) -> tuple[str, ...]:
        """Find files of the working folder whose names match, best first."""

    def editor(self, text: str) -> Editor:
        """Make an editor, which does not run yet."""

    async def show_in_pager(self, text: str) -> None:
        """Return when the pager has ended."""

    def shell_command(self, command: str) -> ShellCommand:
        """Make a command, which does not run yet; may raise `WrongUse`."""

    async def open_in_browser(self, address: str) -> bool:
        """Return whether a program for the page was found."""

    async def open_file(self, name: str, data: bytes) -> str:
        """Open a copy in the system's viewer; return its path if none was found, else ""."""

    async def remember(self, change: Change) -> None:
        """Save what the next run begins with."""

    async def keep_key(self, endpoint: Endpoint, key: str) -> None: ...

    def notification(self, text: str) -> str:
        """Return the control sequence that makes the terminal notify the user, or ""."""


class Workspace(Struct, kw_only=True):
    """The services and options of one run of the screen."""

    settings: Settings
    backend: ServerClient
    store: Store
    saved: Store  # the same, or that in the file if `store` is in memory
    stats_store: StatsStore
    library: Library
    chat: ChatService
    monitor: Monitor
    finder: ServerFinder
    platform: Platform
    state: State  # the screen's copy: `ScreenServices.remember` changes it
    is_temporary: bool = False  # sessions are in memory only
    resume_id: str = ""  # to open at the start; "": a new one
    system_prompt: str | None = None  # for that session; None: it keeps its own
    notices: Sequence[str] = ()  # to show once, at the start
    launcher: ServerLauncher | None = None  # None: installed servers are not looked for
    importer: Importer | None = None  # None if sessions are in memory only
    engine: Engine | None = None  # not started yet; None only in tests
    is_local: bool = False  # start the engine without asking
    local_model: str = ""  # for the engine, if `-m` has one
    search_pause_s: float = 5.0  # between searches while there is no server
    clock: Callable[[], float] = time.monotonic

    @property
    def chat_state(self) -> ServerState | None:
        """None while the first search runs."""
        options = self.chat.turn_options
        return chat_state(options.target, self.finder.servers, is_loading=options.is_loading)
