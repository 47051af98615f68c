"""`lmchat doctor`: the table of checks, and the report on a terminal or in a pipe."""

from __future__ import annotations

import asyncio
import platform
import shutil
import sys
from contextlib import aclosing, suppress
from functools import partial
from importlib.metadata import version

from lmchat import __version__
from lmchat.chat.ports import ServerClient
from lmchat.cli.context import Context
from lmchat.cli.local import find_installed
from lmchat.cli.target import own_endpoints
from lmchat.cli.tools import how_to_correct, make_toolbox, state_sentence
from lmchat.cli.wiring import api_keys_of, make_backend
from lmchat.config.state import State, read_state
from lmchat.doctor.machine_checks import folder_findings, locale_findings, store_findings
from lmchat.doctor.report import (
    Check,
    CheckResult,
    Findings,
    Grade,
    Group,
    report_json,
    report_text,
    run_checks,
    worst,
)
from lmchat.doctor.server_checks import key_findings, server_findings
from lmchat.processes.threads import in_thread, run_abandonable
from lmchat.servers.discovery.choose_model import choose
from lmchat.servers.engine.download import install_command, is_engine_installed
from lmchat.terminal.output import timestamp
from lmchat.tools.tool import ServerState

_MAX_COLUMNS = 120  # of a report on a terminal
_TOOLS_S = 8.0  # a tool server that needs longer may be downloading itself, or hang
_START_ENGINE = "lmchat --local"


async def doctor(context: Context) -> int:
    """Run every check and print the report; return 1 if one has the grade `FAULT`, else 0."""
    state, _ = await run_abandonable(partial(read_state, context.paths.state_file))
    backend, _ = make_backend(context, context.loaded.settings, state)
    async with aclosing(backend):
        findings = await examine(context, backend)
    if context.output.is_json:
        context.output.print_json(report_json(findings, timestamp()))
    elif sys.stdout is not None and sys.stdout.isatty():
        width = min(shutil.get_terminal_size().columns, _MAX_COLUMNS)
        context.output.print_safe(report_text(findings, width=width))
    else:
        context.output.print_safe(report_text(findings))
    return 1 if worst(findings) is Grade.FAULT else 0


async def examine(context: Context, backend: ServerClient) -> list[CheckResult]:
    """Run all checks side by side and return their rows."""
    paths = context.paths

    checks = (
        Check("servers", Group.SERVERS, "Servers", partial(_server_findings, context, backend)),
        Check("config", Group.FILES, "Configuration", partial(_config_findings, context)),
        Check(
            "files", Group.FILES, "Folder", partial(in_thread(folder_findings), paths.config_dir)
        ),
        Check(
            "store",
            Group.FILES,
            "Sessions",
            partial(in_thread(store_findings), paths.sessions_file),
        ),
        Check(
            "terminal",
            Group.TERMINAL,
            "Terminal",
            partial(in_thread(locale_findings), context.environ),
        ),
        Check("tools", Group.TOOLS, "Tools", partial(_tool_findings, context)),
        Check("program", Group.PROGRAM, "lmchat", partial(_program_findings, context)),
    )
    return await run_checks(checks, context.note_error)


async def _server_findings(context: Context, backend: ServerClient) -> Findings:
    """Look for servers as the chat does, and return the rows about them and their keys."""
    settings = context.loaded.settings
    keys = api_keys_of(context)
    warning = await run_abandonable(keys.load)  # before a server is asked with them
    results = await backend.detect(expected=own_endpoints(settings))
    state, _ = await run_abandonable(partial(read_state, context.paths.state_file))
    is_named = bool(settings.endpoint)
    rows = server_findings(
        results,
        choose(results, model=settings.model, state=state, is_named=is_named),
        installed=await run_abandonable(partial(find_installed, context)),
        is_named=is_named,
        engine_step=_START_ENGINE if is_engine_installed() else "",
    )
    sources = {probed.endpoint.origin: keys.source_of(probed.endpoint) for probed in results}
    return [*rows, *key_findings(results, sources, [*keys.stored], warning)]


async def _config_findings(context: Context) -> Findings:
    row = partial(CheckResult, Group.FILES, "config", "Configuration")
    file = context.loaded.file
    step = "Correct it, then lmchat config check"
    rows = [row(Grade.FAULT, problem.sentence, step) for problem in context.problems]
    if not rows and context.loaded.has_file:
        rows = [row(Grade.OK, f"{file} has no problems.")]
    return rows or [row(Grade.OK, f"{file} does not exist; the defaults apply.")]


async def _tool_findings(context: Context) -> Findings:
    """Start the tool servers, wait up to `_TOOLS_S`, return a row for each, and stop them."""
    if not context.has_tools:
        return []
    rows: list[CheckResult] = []
    async with aclosing(make_toolbox(context, context.loaded.settings, State()).host) as host:
        with suppress(TimeoutError):
            async with asyncio.timeout(_TOOLS_S):
                await host.list_servers()
        for server in host.servers:
            cause = f"It is {state_sentence(server)}"
            step = how_to_correct(server, context)
            grade = Grade.FAULT
            if server.state is ServerState.STARTING:
                grade = Grade.WARNING
                cause = f"No answer within {_TOOLS_S:g} s."
                step = "Run lmchat tools, which waits longer; then check the server"
            elif server.state is ServerState.READY:
                grade = Grade.WARNING if server.error else Grade.OK
            rows.append(CheckResult(Group.TOOLS, "tools", server.name, grade, cause, step))
    return rows


async def _program_findings(context: Context) -> Findings:
    engine = partial(CheckResult, Group.ENGINE, "engine.installed", "Engine")
    row = engine(Grade.OK, f"Installed: {_START_ENGINE} starts it.")
    if not is_engine_installed():
        cause = "Not installed; needed only if you have no model server."
        row = engine(Grade.ABSENT, cause, install_command())
    python, system = platform.python_version(), platform.platform(terse=True)
    cause = (
        f"lmchat {__version__}, Python {python}, Textual {version('textual')}, {system}; "
        f"its log is {context.paths.log_file}."
    )
    return [row, CheckResult(Group.PROGRAM, "lmchat.version", "Version", Grade.OK, cause)]
