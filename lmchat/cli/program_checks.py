"""The doctor's checks of lmchat itself: configuration, engine, tool servers, version and log.

A finding is a row of the report, with a grade, a cause and the next step.
"""

from __future__ import annotations

import asyncio
import platform
import re
import shlex
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path

from lmchat import __version__
from lmchat.cli.context import Context
from lmchat.cli.tools import how_to_correct, make_tool_host, state_sentence
from lmchat.cli.wiring import make_engine
from lmchat.doctor.examination import Findings
from lmchat.doctor.report import CheckResult, Grade, Group, Subject
from lmchat.errors import EngineUnavailable
from lmchat.files.disk import read_plain
from lmchat.servers.engine.download import install_command, is_engine_installed
from lmchat.tools.tool import ServerState, ToolServer

TOOLS_S = 8.0  # a tool server that needs longer may be downloading itself, or hang
START_ENGINE = "lmchat --local"
# {"time": "2026-11-01T09:30:00.000+00:00", …, "message": "unexpected error, id 1a2b3c4d", …}
_LOGGED_ERROR = re.compile(
    r'"time": "(\d{4}-\d\d-\d\dT[\d:.]+\+00:00)".*"unexpected error, id ([0-9a-f]{8})"'
)
_RECENT = timedelta(days=1)  # a younger error is a warning


def config_findings(context: Context) -> Findings:
    """Return a row for each problem of the configuration.

    Without problems, return one row, which says whether there is a configuration file.
    """
    loaded = context.loaded
    subject = Subject(Group.FILES, "config", "Configuration")
    if not context.problems and not loaded.has_file:
        cause = f"{loaded.file} does not exist; the defaults apply."
        return [subject.ok(cause, "lmchat config init")]
    if not context.problems:
        return [subject.ok(f"{loaded.file} has no problems.")]
    rows: list[CheckResult] = []
    for problem in context.problems:
        cause = f"{problem.sentence}."
        step = "lmchat config check"
        if problem.suggestion:
            cause = problem.sentence  # it ends with "did you mean …?"
            step = f"Change it to {problem.suggestion}, then {step}"
        rows.append(subject.graded(Grade.FAULT, cause, step))
    return rows


async def engine_findings(context: Context) -> Findings:
    """Return the row about the built-in engine: whether it works here, and how many models it has.

    The engine is tried in a child process that loads no model.
    """
    subject = Subject(Group.ENGINE, "engine.installed", "Engine")
    if not is_engine_installed():
        cause = "Not installed; needed only if you have no model server."
        return [subject.graded(Grade.ABSENT, cause, install_command())]
    engine = make_engine(context, context.loaded.settings)
    try:
        await engine.check()
    except EngineUnavailable as error:
        return [subject.warning(error.message, error.hint)]
    files = await engine.files()
    models = "It offers to download a demo model."
    if files:
        models = f"{len(files)} model files are on this disk."
    cause = f"It works here: {START_ENGINE} starts it. {models}"
    return [subject.ok(cause)]


async def tools_findings(context: Context) -> Findings:
    """Start the tool servers, wait up to `TOOLS_S`, return a row for each, and stop them.

    Return no row if no tools are configured.
    """
    if not context.has_tools:
        return []
    async with aclosing(make_tool_host(context, context.loaded.settings)) as host:
        with suppress(TimeoutError):
            async with asyncio.timeout(TOOLS_S):
                await host.list_servers()
        return [_tool_server_finding(server, context) for server in host.servers]


def _tool_server_finding(server: ToolServer, context: Context) -> CheckResult:
    """Return the row about a tool server that has had `TOOLS_S` to start.

    One that still starts, or works with an error, is a warning; one that failed is a fault.
    """
    subject = Subject(Group.TOOLS, "tools", server.name)
    if server.state is ServerState.STARTING:
        cause = f"No answer within {TOOLS_S:g} s."
        step = "Run lmchat tools, which waits longer; then check the server"
        return subject.warning(cause, step)
    state = state_sentence(server)
    cause = state[:1].upper() + state[1:]
    if not server.error:
        return subject.ok(cause)
    grade = Grade.WARNING if server.state is ServerState.READY else Grade.FAULT
    return subject.graded(grade, cause, how_to_correct(server, context))


def version_findings() -> Findings:
    """Return the row about the versions of lmchat, Python, Textual and the system."""
    python, system = platform.python_version(), platform.platform(terse=True)
    cause = f"lmchat {__version__}, Python {python}, Textual {version('textual')}, {system}."
    return [Subject(Group.PROGRAM, "lmchat.version", "Version").ok(cause)]


def log_findings(file: Path) -> Findings:
    """Return the row about the log file, which names the last unexpected error in it.

    An error of the last day is a warning. An older one, or none, is no problem, and a missing file
    counts as one without errors.
    """
    subject = Subject(Group.PROGRAM, "lmchat.log", "Log file")
    errors: list[tuple[str, str]] = []  # the time in ISO 8601 and the id of each
    with suppress(FileNotFoundError, NotADirectoryError):
        errors = _LOGGED_ERROR.findall(read_plain(file).decode("utf-8", "replace"))
    if not errors:
        return [subject.ok(f"{file} contains no unexpected error.")]
    logged_at, error_id = errors[-1]
    is_recent = datetime.now(UTC) - datetime.fromisoformat(logged_at) < _RECENT
    grade = Grade.WARNING if is_recent else Grade.OK
    minute = logged_at[:16]  # "2026-11-01T09:30"
    cause = f"The last unexpected error is {error_id} ({minute} UTC), in {file}."
    step = f"grep {error_id} {shlex.quote(str(file))}"
    return [subject.graded(grade, cause, step)]
