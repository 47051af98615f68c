"""`lmchat doctor`: the table of checks, and the report on a terminal or in a pipe."""

from __future__ import annotations

import asyncio
import os
import platform
import sys
from contextlib import aclosing, suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path

from lmchat import __version__
from lmchat.chat.ports import ServerClient
from lmchat.cli.context import Context
from lmchat.cli.local import find_installed
from lmchat.cli.target import own_endpoints
from lmchat.cli.tools import how_to_correct, make_tool_host, state_sentence
from lmchat.cli.wiring import keys_of, make_backend
from lmchat.config.state import read_state
from lmchat.doctor.machine_checks import files_findings, mode_of, store_findings, terminal_findings
from lmchat.doctor.report import (
    Check,
    CheckResult,
    Examination,
    Findings,
    Grade,
    Group,
    report_json,
    report_text,
    worst,
)
from lmchat.doctor.server_checks import Detected, server_findings
from lmchat.processes.threads import run_abandonable
from lmchat.servers.engine.download import install_command, is_engine_installed
from lmchat.terminal.output import timestamp
from lmchat.tools.tool import ServerState, ToolServer

_MIN_COLUMNS = 60  # of a report on a terminal
_MAX_COLUMNS = 120
# parameters of the escape sequence that sets colours
_HEADING_CODE = "1"
_GRADE_CODES = {
    Grade.OK: "32",
    Grade.WARNING: "33",
    Grade.FAULT: "31",
    Grade.ABSENT: "2",
    Grade.NOT_TRIED: "2",
}
_TOOLS_S = 8.0  # a tool server that needs longer may be downloading itself, or hang
_START_ENGINE = "lmchat --local"


def examination(context: Context, backend: ServerClient) -> Examination:
    """Return an examination with all checks; it does not run yet."""
    paths = context.paths
    # read now: the check of the servers loads the keys, and that corrects the mode of their file
    mode = mode_of(paths.credentials_file)
    checks = (
        Check("servers", Group.SERVERS, "Servers", partial(_detect_servers, context, backend)),
        Check("config", Group.FILES, "Configuration", partial(_config_findings, context)),
        Check("files", Group.FILES, "Folders", partial(files_findings, paths, mode)),
        Check("store", Group.FILES, "Sessions", partial(store_findings, paths.sessions_file)),
        Check("terminal", Group.TERMINAL, "Terminal", partial(terminal_findings, context.environ)),
        Check("engine", Group.ENGINE, "Engine", _engine_findings),
        Check("tools", Group.TOOLS, "Tools", partial(_tools_findings, context)),
        Check("program", Group.PROGRAM, "Version", partial(_version_findings, paths.log_file)),
    )
    home = context.environ.get("HOME", "")
    return Examination(checks=checks, note_error=context.note_error, home=home)


async def doctor(context: Context) -> int:
    """Run every check and print the report; return 1 if one has the grade `FAULT`, else 0."""
    state, _ = await run_abandonable(partial(read_state, context.paths.state_file))
    backend, _ = make_backend(context, context.loaded.settings, state)
    async with aclosing(backend):
        examined = examination(context, backend)
        findings = await examined.run()
    if context.output.is_json:
        context.output.print_json(report_json(findings, timestamp()))
    else:
        context.output.print_safe(_report_text(context, findings, examined.home))
    return 1 if worst(findings) is Grade.FAULT else 0


def _report_text(context: Context, findings: Findings, home: str) -> str:
    """Return the report: wrapped and coloured for a terminal, as it is for a pipe."""
    if sys.stdout is None or not sys.stdout.isatty():
        return report_text(findings, home=home)
    # some terminals, such as those of containers, report 0 columns
    columns = os.get_terminal_size(sys.stdout.fileno()).columns or _MAX_COLUMNS
    width = min(max(columns, _MIN_COLUMNS), _MAX_COLUMNS)
    if context.environ.get("NO_COLOR") or context.environ.get("TERM") == "dumb":
        return report_text(findings, home=home, width=width)
    return report_text(findings, home=home, width=width, paint=_painted)


def _painted(text: str, grade: Grade | None) -> str:
    code = _HEADING_CODE if grade is None else _GRADE_CODES[grade]
    return f"\x1b[{code}m{text}\x1b[0m"


async def _detect_servers(context: Context, backend: ServerClient) -> Findings:
    """Look for servers as the chat does, and return the rows about them."""
    settings = context.loaded.settings
    keys = keys_of(context)
    await run_abandonable(keys.load)  # before a server is asked with them
    results, installed, (state, _) = await asyncio.gather(
        backend.detect(expected=own_endpoints(settings)),
        run_abandonable(partial(find_installed, context)),
        run_abandonable(partial(read_state, context.paths.state_file)),
    )
    detected = Detected(
        results=results,
        installed=installed,
        model=settings.model,
        state=state,
        is_named=bool(settings.endpoint),
        engine_step=_START_ENGINE if is_engine_installed() else "",
        sources={probed.endpoint.origin: keys.source_of(probed.endpoint) for probed in results},
        stored=keys.stored_origins(),
        warnings=keys.warnings,
    )
    return server_findings(detected)


def _config_findings(context: Context) -> Findings:
    row = partial(CheckResult, Group.FILES, "config", "Configuration")
    file = context.loaded.file
    rows: list[CheckResult] = []
    for problem in context.problems:
        # a suggestion is in the sentence, which then ends with "did you mean …?"
        cause = problem.sentence if problem.suggestion else f"{problem.sentence}."
        rows.append(row(Grade.FAULT, cause, "Correct it, then lmchat config check"))
    if rows:
        return rows
    if context.loaded.has_file:
        return [row(Grade.OK, f"{file} has no problems.")]
    return [row(Grade.OK, f"{file} does not exist; the defaults apply.", "lmchat config init")]


async def _engine_findings() -> Findings:
    row = partial(CheckResult, Group.ENGINE, "engine.installed", "Engine")
    if not is_engine_installed():
        cause = "Not installed; needed only if you have no model server."
        return [row(Grade.ABSENT, cause, install_command())]
    return [row(Grade.OK, f"Installed: {_START_ENGINE} starts it.")]


async def _tools_findings(context: Context) -> Findings:
    """Start the tool servers, wait up to `_TOOLS_S`, return a row for each, and stop them."""
    if not context.has_tools:
        return []
    async with aclosing(make_tool_host(context, context.loaded.settings)) as host:
        with suppress(TimeoutError):
            async with asyncio.timeout(_TOOLS_S):
                await host.list_servers()
        return [_tool_server_finding(server, context) for server in host.servers]


def _tool_server_finding(server: ToolServer, context: Context) -> CheckResult:
    row = partial(CheckResult, Group.TOOLS, "tools", server.name)
    if server.state is ServerState.STARTING:
        step = "Run lmchat tools, which waits longer; then check the server"
        return row(Grade.WARNING, f"No answer within {_TOOLS_S:g} s.", step)
    state = state_sentence(server)
    cause = state[:1].upper() + state[1:]
    if not server.error:
        return row(Grade.OK, cause)
    grade = Grade.WARNING if server.state is ServerState.READY else Grade.FAULT
    return row(grade, cause, how_to_correct(server, context))


def _version_findings(log_file: Path) -> Findings:
    python, system = platform.python_version(), platform.platform(terse=True)
    cause = (
        f"lmchat {__version__}, Python {python}, Textual {version('textual')}, {system}; "
        f"its log is {log_file}."
    )
    return [CheckResult(Group.PROGRAM, "lmchat.version", "Version", Grade.OK, cause)]
