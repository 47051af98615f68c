"""The checks of the built-in engine: whether it can run here, and what it could serve."""

from __future__ import annotations

import asyncio
import shlex
from collections.abc import Sequence
from typing import Any

from lmchat.cli.parts import Parts
from lmchat.domain.candidate import Finding, Grade, Group, Rows
from lmchat.domain.engine import ModelFile
from lmchat.errors import EngineUnavailable
from lmchat.threads import apart

_row = Rows(Group.ENGINE, "engine.")
_MOST_NAMES = 3
_GB = 1e9
_START = "lmchat --local"
_PATIENCE_S = 3.0
"""How long after the begin what is said of servers waits for the engine, where no server can be used."""


class EngineChecks:
    """Tries the engine once, in a child that loads no model; it is not imported where it is not installed."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._is_tried = asyncio.Event()
        self._can_run = False
        self._until_s = 0.0

    async def step(self) -> str:
        """Return how a chat can be had without any server; empty where it cannot, or that takes long."""
        try:
            async with asyncio.timeout_at(self._until_s):
                await self._is_tried.wait()
        except TimeoutError:
            return ""
        return _START if self._can_run else ""

    async def look(self) -> list[Finding]:
        """Return the rows about the engine."""
        self._is_tried.clear()
        self._until_s = asyncio.get_running_loop().time() + _PATIENCE_S
        try:
            problem = await self._try()
        finally:
            self._is_tried.set()
        if problem is not None:
            return [problem]
        found = _row("installed", "Engine", Grade.OK, f"It can run here: {_START} starts it.")
        return [found, *await self._models(), await apart(_memory)]

    async def _try(self) -> Finding | None:
        """Return what keeps the engine from running here."""
        from lmchat.engine.download import install_command, is_engine_installed

        self._can_run = False
        if not is_engine_installed():
            cause = "It is not installed; lmchat needs it only where there is no server."
            return _row("installed", "Engine", Grade.ABSENT, cause, install_command())
        try:
            await self._engine().check()
        except EngineUnavailable as error:
            return _row("installed", "Engine", Grade.WARNING, error.message, error.hint)
        self._can_run = True
        return None

    async def _models(self) -> list[Finding]:
        engine = self._engine()
        files = await engine.files()
        is_whole = await engine.has_demo()
        return [_files(files), self._demo(files, is_whole=is_whole)]

    def _demo(self, files: Sequence[ModelFile], *, is_whole: bool) -> Finding:
        folder = self._parts.paths.demo_dir
        if is_whole:
            return _row("demo", "Demo model", Grade.OK, f"It is there, whole, in {folder}.", path=str(folder))
        if any(file.is_demo for file in files):
            cause = f"It is in {folder}, but not as it should be; it is fetched again when it is wanted."
            step = f"rm -r {shlex.quote(str(folder))}"
            return _row("demo", "Demo model", Grade.WARNING, cause, step, path=str(folder))
        return _row(
            "demo", "Demo model", Grade.ABSENT, "It was not fetched; lmchat asks before it does.", _START
        )

    def _engine(self) -> Any:
        from lmchat.engine.engine import LocalEngine

        parts = self._parts
        return LocalEngine(
            parts.usable_settings.local,
            folder=parts.paths.demo_dir,
            log_file=parts.paths.engine_log_file,
            environ=parts.environ,
        )


def _files(files: Sequence[ModelFile]) -> Finding:
    facts = {
        "files": [{"name": one.name, "path": str(one.path), "size_bytes": one.size_bytes} for one in files]
    }
    if not files:
        cause = "No model file was found on this disk; the demo model can be fetched."
        return _row("files", "Model files", Grade.ABSENT, cause, _START, **facts)
    names = ", ".join(f"{one.name} ({one.size_bytes / _GB:.1f} GB)" for one in files[:_MOST_NAMES])
    rest = f" and {len(files) - _MOST_NAMES} more" if len(files) > _MOST_NAMES else ""
    return _row("files", "Model files", Grade.OK, f"{len(files)} found: {names}{rest}.", **facts)


def _memory() -> Finding:
    from lmchat.engine.models import available_bytes

    free = available_bytes()
    if free is None:
        return _row("memory", "Memory", Grade.NOT_TRIED, "This system does not tell what is free.", "free -h")
    return _row("memory", "Memory", Grade.OK, f"{free / _GB:.1f} GB are free for models.", free_bytes=free)
