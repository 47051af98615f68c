"""The services that the screen works with, put together by `cli`."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct, field

from lmchat.config.settings import Settings
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Endpoint
from lmchat.services.catalogue import Catalogue
from lmchat.services.examination import Examination
from lmchat.services.importing import Importer
from lmchat.services.library import Library
from lmchat.services.monitor import Monitor
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.ports import ChatStore, Engine, ServerClient
from lmchat.services.server_launcher import ServerLauncher
from lmchat.services.target_state import TargetState, target_state


class Platform(Protocol):
    """Access to terminal, disk and other programs."""

    log_file: str
    themes_folder: Path  # folder of the user's own themes
    config_file: Path

    async def copy(self, text: str) -> str:
        """Copy a text to the clipboard; returns how, as words for a notification."""

    async def paste(self) -> str:
        """Return the text of the clipboard; raises `LMChatError` where it cannot be read."""

    def examination(self) -> Examination:
        """Return the checks of the doctor, which are imported late."""

    async def find_files(self, letters: str) -> tuple[str, ...]:
        """Return the files of the working folder that match a few letters."""

    async def edit(self, text: str) -> str: ...
    async def page(self, text: str) -> None: ...
    async def open_page(self, address: str) -> bool: ...

    async def open_file(self, name: str, data: bytes) -> bool:
        """Open a copy of a file, with its name, in the system's viewer."""

    async def remember(self, remembered: Remembered) -> None: ...

    async def keep_key(self, endpoint: Endpoint, key: str) -> str:
        """Store an accepted key; returns where, as words for a notification."""

    def notification(self, words: str) -> str:
        """Return what makes the terminal notify the user; empty for nothing."""

    def note_error(self, error: BaseException) -> str:
        """Log an unexpected error; returns its id in the log."""


class Workspace(Struct, kw_only=True):
    """The services of a run of the screen; what `make_…` returns is imported late."""

    settings: Settings
    backend: ServerClient
    store: ChatStore
    library: Library
    open_sessions: OpenSessions
    monitor: Monitor
    catalogue: Catalogue
    platform: Platform
    remembered: Remembered
    is_temporary: bool = False  # whether sessions are in memory only
    resume_id: str = ""  # session to open at the start; empty: a new one
    notices: list[str] = field(default_factory=list)
    warning: str = ""
    is_leaving: bool = False  # whether lmchat is quitting: nothing new begins
    make_launcher: Callable[[], ServerLauncher] | None = None
    importer: Importer | None = None
    make_engine: Callable[[], Awaitable[Engine]] | None = None
    is_local: bool = False  # whether to start the built-in engine without asking
    local_model: str = ""
    clock: Callable[[], float] = time.monotonic

    @property
    def target_state(self) -> TargetState:
        """How far the way to a model has come."""
        return target_state(self.open_sessions.next_turn.target, self.catalogue.candidates)
