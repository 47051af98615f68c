"""List of all checks of `lmchat doctor` and `/doctor`, with their functions."""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

from lmchat import __version__
from lmchat.app.cli.context import Context
from lmchat.app.cli.setup.wiring import setup_of
from lmchat.app.leaves.doctor.finding import Finding, Findings, Grade, Group, run_checks
from lmchat.app.leaves.doctor.report import report_text, summary
from lmchat.app.leaves.doctor.server_checks import (
    SERVERS,
    chat_finding,
    key_findings,
    server_findings,
)
from lmchat.app.tui.workspace import Report
from lmchat.base import units
from lmchat.base.files.disk import files_in, refusal_to_write, status_of
from lmchat.base.files.kept_prompts import kept_prompts
from lmchat.base.files.left_files import left_files
from lmchat.base.files.locks import has_locks
from lmchat.base.files.paths import Paths
from lmchat.base.processes.background import in_thread, run_abandonable
from lmchat.core.config.file import Problem
from lmchat.core.config.load import LoadedSettings
from lmchat.core.servers.discovery.finder import ServerFinder
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.protocols import ServerClient
from lmchat.core.storage.backup import foreign_logs
from lmchat.core.storage.opening import check_file
from lmchat.core.tools.calls import ToolServer, ToolServerState

START_ENGINE = "lmchat --local"
_TOOLS_S = 8.0  # a slower tool server may be downloading itself, or hang

CONFIG = partial(Finding, Group.FILES, "config", "Configuration")
TOOLS = partial(Finding, Group.TOOLS, "tools", "Tools")
"""These names are for a row that says that the check failed.

The rows about servers have the names of the servers.
"""
FOLDER = partial(Finding, Group.FILES, "files.folder", "Folder")
STORE = partial(Finding, Group.FILES, "store", "Sessions")
LEFT = partial(Finding, Group.FILES, "files.left", "Left files")
LOCALE = partial(Finding, Group.TERMINAL, "terminal.locale", "Characters")
ENGINE = partial(Finding, Group.ENGINE, "engine.installed", "Engine")
KEPT_PROMPTS = partial(Finding, Group.ENGINE, "engine.kept_prompts", "Kept prompts")
VERSION = partial(Finding, Group.PROGRAM, "lmchat.version", "Version")


async def examine(context: Context, backend: ServerClient, used: Endpoint | None) -> Report:
    """Return the report of `/doctor`; `used` is the address of the screen's server."""
    findings = await find_rows(context, backend, used)
    return Report(partial(report_text, findings), summary(findings))


async def find_rows(
    context: Context, backend: ServerClient, used: Endpoint | None = None
) -> list[Finding]:
    loaded = context.loaded
    paths = context.paths
    environ = context.environ
    launcher = setup_of(context).launcher(backend)
    return await run_checks(
        (  # in the order of the groups
            (SERVERS, partial(_check_servers, context, backend, used)),
            # in a thread: checking keyboard keys imports Textual
            (CONFIG, in_thread(lambda: config_findings(loaded, context.problems))),
            # in threads, too, as most read the disk
            (FOLDER, in_thread(lambda: folder_findings(paths.config_dir))),
            (STORE, in_thread(lambda: store_findings(paths.sessions_file))),
            (LEFT, in_thread(lambda: left_findings(paths))),
            (LOCALE, in_thread(lambda: locale_findings(environ))),
            (TOOLS, partial(_check_tools, context)),
            (ENGINE, in_thread(lambda: engine_findings(launcher.install_command()))),
            (KEPT_PROMPTS, in_thread(lambda: kept_prompt_findings(paths.kept_prompts_dir))),
            (VERSION, in_thread(lambda: version_findings(paths.log_file))),
        )
    )


async def _check_servers(
    context: Context, backend: ServerClient, used: Endpoint | None
) -> Findings:
    """Look for servers as the chat does."""
    settings = context.loaded.settings
    setup = setup_of(context)
    keys = setup.keys
    launcher = setup.launcher(backend)
    warning = await run_abandonable(keys.load)  # first: servers are asked with the keys
    state = await setup.saved_state()
    finder = ServerFinder(backend.models, settings, lambda: state)
    if used is not None:
        finder.add(used)
    servers = await finder.search()
    lacks_engine = await run_abandonable(launcher.install_command)
    installed = await run_abandonable(launcher.find)
    how_to_start = {program.product: program.how_to_start for program in installed}
    choice = finder.choice()
    if context.loaded.problems:
        cause = "No chat starts while the configuration has a problem."
        step = "Correct it: lmchat config check"
        chat = Finding(Group.SERVERS, "chat", "Chat", Grade.FAULT, cause, step)
    else:
        chat = chat_finding(
            servers,
            choice,
            how_to_start,
            is_named=bool(settings.endpoint),
            engine_step="" if lacks_engine else START_ENGINE,
        )
    sources = {server.endpoint.origin: keys.source_of(server.endpoint) for server in servers}
    rows = server_findings(servers, choice, how_to_start)
    return [chat, *rows, *key_findings(servers, sources, [*keys.stored], warning)]


async def _check_tools(context: Context) -> Findings:
    """Start the tool servers, wait up to `_TOOLS_S`, return a row for each, and stop them."""
    if not context.has_tools:
        return []
    setup = setup_of(context)
    loaded = context.loaded
    toolbox = setup.make_toolbox(loaded.settings, loaded.servers, await setup.saved_state())
    async with aclosing(toolbox.host) as host:
        with suppress(TimeoutError):  # one that still starts has a row, too
            async with asyncio.timeout(_TOOLS_S):
                await host.start_servers()
        return tool_findings(host.servers, waited_s=_TOOLS_S)


def config_findings(loaded: LoadedSettings, problems: Sequence[Problem]) -> list[Finding]:
    """Return a row for each problem, or one that says there is none."""
    step = "Correct it, then lmchat config check"
    if problems or loaded.notes:
        return [
            *(CONFIG(Grade.FAULT, problem.sentence, step) for problem in problems),
            *(CONFIG(Grade.WARNING, note.sentence, step) for note in loaded.notes),
        ]
    if loaded.has_file:
        return [CONFIG(Grade.OK, f"{loaded.file} has no problems.")]
    return [CONFIG(Grade.OK, f"{loaded.file} does not exist; the defaults apply.")]


def tool_findings(servers: Sequence[ToolServer], *, waited_s: float) -> list[Finding]:
    """Return a row for each tool server; one that still starts has not answered for `waited_s`."""
    rows: list[Finding] = []
    for server in servers:
        step = server.next_step.rstrip(".")
        if server.state is ToolServerState.READY:  # its error means that some tools are left out
            grade = Grade.WARNING if server.error else Grade.OK
            cause = f"It is {server.state_sentence}"
        elif server.state is ToolServerState.STARTING:
            grade = Grade.WARNING
            cause = f"No answer within {waited_s:g} s."
            step = "Run lmchat tools, which waits longer; then check the server"
        else:
            grade = Grade.FAULT
            cause = f"It has {server.state_sentence}"
        rows.append(Finding(Group.TOOLS, "tools", server.name, grade, cause, step))
    return rows


def folder_findings(folder: Path) -> list[Finding]:
    """Check the folder of lmchat's files, which is made at the first start. Raises `OSError`."""
    files_in(folder, "")
    # its nearest existing parent, if it is not made yet
    existing = next(place for place in (folder, *folder.parents) if place.exists())
    if refusal := refusal_to_write(existing):
        raise refusal
    if not has_locks(existing):
        cause = f"The disk of {existing} has no file locks, as some network disks."
        # no fault: SQLite has other means on some systems
        return [FOLDER(Grade.WARNING, cause, "Set LMCHAT_HOME to a folder on this machine")]
    return [FOLDER(Grade.OK, f"{folder} can be read and written.")]


def store_findings(path: Path) -> list[Finding]:
    """Check every page of `sessions.db`: this blocks as long as reading it takes.

    Raises `StoreUnavailable`, and `OSError` if it cannot be seen.
    """
    if status_of(path) is None:
        return [STORE(Grade.OK, "No session is saved yet.")]
    with suppress(FileNotFoundError):  # another lmchat, which writes, has removed its log
        if foreign_logs(path) and foreign_logs(path):  # between two looks, it ends its change
            step = "lmchat sessions opens the file without it, and keeps both"
            return [STORE(Grade.WARNING, "A log beside the file is of another file.", step)]
    file_format, fault = check_file(path)
    if fault:
        step = "lmchat sessions recover keeps it, and puts a daily backup in its place"
        return [STORE(Grade.FAULT, f"The file is damaged: {fault}.", step)]
    size = units.breakable(units.size_text(path.stat().st_size))
    return [STORE(Grade.OK, f"Undamaged and writable: {size}, format {file_format}.")]


def left_findings(paths: Paths) -> list[Finding]:
    """Return no row without such files."""
    return [LEFT(Grade.WARNING, sentence) for sentence in left_files(paths)]


def locale_findings(environ: Mapping[str, str]) -> list[Finding]:
    if os.name == "nt":  # its terminals have no variable for it
        return []
    values = (environ.get(name, "") for name in ("LC_ALL", "LC_CTYPE", "LANG"))
    locale = next(filter(None, values), "")  # the first that is set counts
    if "utf8" in locale.lower().replace("-", ""):
        return [LOCALE(Grade.OK, "Unicode.")]
    step = "export LC_ALL=C.UTF-8, or set `ascii = true` under [ui] in the configuration"
    cause = "The locale is not UTF-8: non-ASCII characters may look wrong."
    return [LOCALE(Grade.WARNING, cause, step)]


def engine_findings(install_command: str) -> list[Finding]:
    if not install_command:
        return [ENGINE(Grade.OK, f"Installed: {START_ENGINE} starts it.")]
    cause = "Not installed; needed only if you have no model server."
    return [ENGINE(Grade.ABSENT, cause, install_command)]


def kept_prompt_findings(folder: Path) -> list[Finding]:
    """Return no row without kept prompts."""
    kept = kept_prompts(folder)
    if not kept:
        return []
    size = f"{sum(one.size_bytes for one in kept) / 1e6:.1f} MB"
    sessions = units.counted(len({one.message_id for one in kept}), "session")
    return [KEPT_PROMPTS(Grade.OK, f"{size} of {sessions}, in {folder}.")]


def version_findings(log_file: Path) -> list[Finding]:
    """Name the versions of lmchat and Python, and the place of the log."""
    python = platform.python_version()
    # `platform.platform` starts `uname` of any folder in PATH
    system = f"{platform.system()} {platform.release()}"
    cause = (
        f"lmchat {__version__}, Python {python}, Textual {version('textual')}, {system}; "
        f"its log is {log_file}."
    )
    return [VERSION(Grade.OK, cause)]
