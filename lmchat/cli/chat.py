"""`lmchat` without a command: puts the chat screen together, runs it, and leaves everything in order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from functools import partial
from typing import Any

from msgspec.structs import replace

from lmchat.cli.keymap import keymap_problems
from lmchat.cli.metrics_keeper import metrics_kept
from lmchat.cli.outside import make_outside, write_export
from lmchat.cli.parts import Parts
from lmchat.cli.target import own_endpoints, own_names
from lmchat.config.settings import Settings
from lmchat.domain.candidate import Remembered
from lmchat.domain.telemetry import Metrics
from lmchat.services.candidates import Catalogue
from lmchat.services.late import LateBackend, LateStore
from lmchat.services.library import Library
from lmchat.services.monitor import Monitor
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.ports import Backend, SessionStore
from lmchat.services.workspace import Workspace
from lmchat.storage import state as remembered_file
from lmchat.text import safe_line
from lmchat.tui.app.lmchat_app import LMChatApp
from lmchat.tui.quirks.driver import guard_terminal, write_to_terminal
from lmchat.tui.quirks.failures import failure_of, keep_tracebacks_off


def run_chat(settings: Settings, parts: Parts) -> int:
    """Run the screen until it is left; return the exit code."""
    return asyncio.run(_run(settings, parts))


async def _run(settings: Settings, parts: Parts) -> int:
    remembered, warning = remembered_file.load(parts.paths.remembered_file)
    store = LateStore[Any](partial(_make_store, parts))
    apps: list[LMChatApp] = []
    outside_write = partial(_write_to, apps)
    workspace = make_workspace(settings, parts, store, remembered, outside_write)
    starts: list[Any] = []
    workspace.make_launcher = partial(_starts_of, parts, starts)
    workspace.make_engine = partial(_make_engine, parts, workspace.backend)
    workspace.is_local, workspace.local_model = parts.is_local, parts.local_model
    workspace.warning = warning
    workspace.notices += [one.sentence for one in keymap_problems(settings.keys, parts.config_file)]
    app = LMChatApp(workspace)
    apps.append(app)
    guard_terminal(app, app.stop_and_save)
    keep_tracebacks_off(app, app.tell_failure)
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
            await _let_go(starts)
            _tell_unsaved(parts, workspace.open_sessions)
    if (error := failure_of(app)) is not None:
        raise error
    return app.return_code or 0


def _tell_unsaved(parts: Parts, open_sessions: OpenSessions) -> None:
    """Say what is lost because it could not be written to the last; the screen that warned of it is gone."""
    titles = ", ".join(f"“{safe_line(one.title)}”" for one in open_sessions.unsaved())
    if titles:
        why = (
            f": {open_sessions.save_queue.warning.message}"
            if open_sessions.save_queue.warning is not None
            else "."
        )
        with suppress(OSError):  # the terminal may be gone, too
            parts.output.note(f"lmchat: the last words of {titles} could not be saved{why}")


def make_workspace(
    settings: Settings,
    parts: Parts,
    late: LateStore[Any],
    remembered: Remembered,
    write: Callable[[str], bool],
) -> Workspace:
    """Put together what the screen works with; nothing of it touches network or disk yet."""
    if parts.local_model:  # it names a file, which no other server knows
        settings = replace(settings, model="")
    notices: list[str] = []
    backend = LateBackend(partial(_make_backend, settings, parts, notices))
    store = late.as_store()
    return Workspace(
        settings=settings,
        backend=backend,
        store=store,
        library=Library(store, write_file=write_export),
        open_sessions=OpenSessions(chat=settings.chat, backend=backend, store=store),
        monitor=Monitor(backend),
        catalogue=Catalogue(backend, store, expected=own_endpoints(settings), names=own_names(settings)),
        outside=make_outside(settings, parts, backend, write),
        make_importer=partial(_make_importer, store),
        remembered=remembered,
        resume_id=parts.options.resume or "",
        notices=notices,
    )


def _make_backend(settings: Settings, parts: Parts, notices: list[str]) -> Backend:
    """Read the keys and import httpx; runs in a thread, after the first paint."""
    from lmchat.cli.wiring import engine_slot, keys_of, make_backend, with_engine

    keys = keys_of(parts)
    keys.load(is_apart=True)
    notices += keys.warnings
    backend = make_backend(parts, settings, gather_s=1 / settings.ui.frames_per_second)
    return with_engine(backend, engine_slot(parts))


async def _make_engine(parts: Parts, backend: LateBackend) -> Any:
    """Return the built-in engine, whose end is the backend's to see to."""
    from lmchat.cli.wiring import engine_slot

    await backend.ready()
    return await engine_slot(parts).ready()


def _make_importer(store: SessionStore) -> Any:
    """Return what brings chats over from files."""
    from lmchat.cli.import_files import make_importer

    return make_importer(store)


def _starts_of(parts: Parts, made: list[Any]) -> Any:
    """Return what starts model servers, made when first asked for."""
    if not made:
        from lmchat.cli.starting import make_launcher

        made.append(make_launcher(parts))
    return made[0]


async def _let_go(made: Sequence[Any]) -> None:
    """End what was started and is to end with lmchat."""
    for starts in made:
        await starts.aclose()


def _make_store(parts: Parts) -> SessionStore:
    """Import SQLite; runs in a thread, after the first paint."""
    from lmchat.cli.wiring import make_store

    return make_store(parts)


async def _add_metrics(store: LateStore[Any], metrics: Metrics) -> None:
    """Add counters to those of all runs."""
    await (await store.ready()).metrics.add(metrics)


def _write_to(apps: Sequence[LMChatApp], data: str) -> bool:
    """Send a control sequence through the app's driver, once there is an app."""
    return bool(apps) and write_to_terminal(apps[0], data)
