"""`lmchat` without a command: puts the chat screen together, runs it, and leaves everything in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from functools import cached_property, partial
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from lmchat.cli.context import Context
from lmchat.cli.counters import metrics_kept
from lmchat.cli.target import own_endpoints, own_names
from lmchat.config.settings import Settings
from lmchat.domain.candidate import Remembered
from lmchat.domain.server import Endpoint
from lmchat.domain.telemetry import Metrics
from lmchat.services.candidates import Catalogue
from lmchat.services.doctor import Examination
from lmchat.services.engine_backend import with_engine
from lmchat.services.importing import Importer
from lmchat.services.late import Late, late_backend
from lmchat.services.library import Library
from lmchat.services.monitor import Monitor
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.ports import Backend, Engine, SessionStore
from lmchat.services.server_launcher import ServerLauncher
from lmchat.services.workspace import Outside, Workspace
from lmchat.storage import state as remembered_file
from lmchat.text import safe_line
from lmchat.tui.app.lmchat_app import LMChatApp
from lmchat.tui.quirks.driver import guard_terminal, write_to_terminal


def make_outside(
    settings: Settings, context: Context, backend: Late[Backend], write: Callable[[str], bool]
) -> Outside:
    """Return what the screen may do to the rest of the world."""
    ways = _Ways(settings, context, backend, write)
    return Outside(
        copy=ways.copy,
        examination=ways.examination,
        edit=ways.edit,
        page=ways.page,
        open_page=ways.open_page,
        read_text=ways.read_text,
        remember=ways.remember,
        keep_key=ways.keep_key,
        notification=ways.notification,
        note_error=context.note_error,
        log_file=str(context.paths.log_file),
    )


class _Ways:
    """The ways to terminal, disk and other programs."""

    def __init__(
        self, settings: Settings, context: Context, backend: Late[Backend], write: Callable[[str], bool]
    ) -> None:
        self._settings, self._context, self._backend, self._write = settings, context, backend, write

    @cached_property
    def _clipboard(self) -> Any:
        from lmchat.terminal.clipboard import Clipboard

        file = self._context.paths.state_dir / "copied.txt"
        return Clipboard(environ=self._context.environ, write=self._write, file=file)

    async def copy(self, text: str) -> str:
        way = await self._clipboard.copy(text)
        return str(way.words)

    def examination(self) -> Examination:
        from lmchat.cli.doctor import examination

        return examination(self._context, self._backend.ready, self._clipboard)

    async def edit(self, text: str) -> str:
        from lmchat.terminal.programs import edit_text

        return await edit_text(text, environ=self._context.environ)

    async def page(self, text: str) -> None:
        from lmchat.terminal.programs import page_text

        await page_text(text, environ=self._context.environ)

    async def open_page(self, address: str) -> bool:
        from lmchat.terminal.desktop import open_page

        return await open_page(address, environ=self._context.environ)

    async def read_text(self, path: str) -> str:
        from lmchat.storage.import_ import read_as_block

        return await asyncio.to_thread(read_as_block, path)

    async def remember(self, remembered: Remembered) -> None:
        await asyncio.to_thread(remembered_file.save, self._context.paths.remembered_file, remembered)

    async def keep_key(self, endpoint: Endpoint, key: str) -> str:
        from lmchat.cli.wiring import keys_of

        return await asyncio.to_thread(keys_of(self._context).keep, endpoint, key)

    def notification(self, words: str) -> str:
        from lmchat.terminal.desktop import notification

        return notification(self._settings.ui.notify, words, self._context.environ)


def write_export(path: Path, text: str, *, is_forced: bool = False) -> None:
    """Write a session into a new file; runs in a thread.

    Raises:
        FileRefused: something has this name already, or the file cannot be written.
    """
    from lmchat.files import write_new_file

    write_new_file(path, text, is_forced=is_forced)


def run_chat(settings: Settings, context: Context) -> int:
    """Run the screen until it is left; return the exit code."""
    return asyncio.run(_run(settings, context))


async def _run(settings: Settings, context: Context) -> int:
    remembered, warning = remembered_file.load(context.paths.remembered_file)
    store = Late[Any](partial(_make_store, context))
    apps: list[LMChatApp] = []
    outside_write = partial(_write_to, apps)
    workspace = make_workspace(settings, context, store, remembered, outside_write)
    launchers: list[ServerLauncher] = []
    workspace.make_launcher = partial(_launcher_of, context, launchers)
    workspace.is_local, workspace.local_model = context.is_local, context.local_model
    workspace.warning = warning
    workspace.notices += [one.sentence for one in context.problems]
    app = LMChatApp(workspace)
    apps.append(app)
    guard_terminal(app, app.stop_and_save)
    backend = workspace.backend
    async with (
        aclosing(store),
        metrics_kept(backend.metrics, partial(_add_metrics, store)),
        aclosing(backend),
    ):
        try:
            await app.run_async(mouse=settings.ui.mouse)
        finally:
            await workspace.open_sessions.settle()
            for launcher in launchers:
                await launcher.aclose()
            _tell_unsaved(context, workspace.open_sessions)
    if (error := app.failure) is not None:
        raise error
    return app.return_code or 0


def _tell_unsaved(context: Context, open_sessions: OpenSessions) -> None:
    """Say what is lost because it could not be written to the last; the screen that warned of it is gone."""
    titles = ", ".join(f"“{safe_line(one.title)}”" for one in open_sessions.unsaved())
    if titles:
        why = (
            f": {open_sessions.save_queue.warning.message}"
            if open_sessions.save_queue.warning is not None
            else "."
        )
        with suppress(OSError):  # the terminal may be gone, too
            context.output.note(f"lmchat: the last words of {titles} could not be saved{why}")


def make_workspace(
    settings: Settings,
    context: Context,
    late: Late[Any],
    remembered: Remembered,
    write: Callable[[str], bool],
) -> Workspace:
    """Put together what the screen works with; nothing of it touches network or disk yet."""
    if context.local_model:  # it names a file, which no other server knows
        settings = replace(settings, model="")
    notices: list[str] = []
    backend = late_backend(partial(_make_backend, settings, context, notices))
    store: SessionStore = late.port
    return Workspace(
        settings=settings,
        backend=backend.port,
        store=store,
        library=Library(store, write_file=write_export),
        open_sessions=OpenSessions(chat=settings.chat, backend=backend.port, store=store),
        monitor=Monitor(backend.port),
        catalogue=Catalogue(backend.port, store, expected=own_endpoints(settings), names=own_names(settings)),
        outside=make_outside(settings, context, backend, write),
        make_importer=partial(_make_importer, store),
        make_engine=partial(_make_engine, context, backend),
        remembered=remembered,
        resume_id=context.options.resume or "",
        notices=notices,
    )


def _make_backend(settings: Settings, context: Context, notices: list[str]) -> Backend:
    """Read the keys and import httpx; runs in a thread, after the first paint."""
    from lmchat.cli.wiring import engine_of, keys_of, make_backend

    keys = keys_of(context)
    keys.load(is_apart=True)
    notices += keys.warnings
    backend = make_backend(context, settings)
    return with_engine(backend, engine_of(context))


async def _make_engine(context: Context, backend: Late[Backend]) -> Engine:
    """Return the built-in engine, whose end is the backend's to see to."""
    from lmchat.cli.wiring import engine_slot

    await backend.ready()
    return await engine_slot(context).ready()


def _make_importer(store: SessionStore) -> Importer:
    """Return what brings chats over from files."""
    from lmchat.cli.import_ import make_importer

    return make_importer(store)


def _launcher_of(context: Context, made: list[ServerLauncher]) -> ServerLauncher:
    """Return the launcher of model servers, made when first asked for."""
    if not made:
        from lmchat.cli.local import make_launcher

        made.append(make_launcher(context))
    return made[0]


def _make_store(context: Context) -> SessionStore:
    """Import SQLite; runs in a thread, after the first paint."""
    from lmchat.cli.wiring import make_store

    return make_store(context)


async def _add_metrics(store: Late[Any], metrics: Metrics) -> None:
    """Add counters to those of all runs."""
    await (await store.ready()).metrics.add(metrics)


def _write_to(apps: Sequence[LMChatApp], data: str) -> bool:
    """Send a control sequence through the app's driver, once there is an app."""
    return bool(apps) and write_to_terminal(apps[0], data)
