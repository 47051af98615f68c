"""The doctor's checks of lmchat itself: configuration, engine, tool servers, version and log."""

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
from lmchat.domain.finding import Finding, Grade, Group, Subject
from lmchat.domain.tool import ServerState, ToolServer
from lmchat.errors import EngineUnavailable
from lmchat.files import read_plain
from lmchat.services.examination import Findings

TOOLS_S = 8.0  # a tool server that needs longer may be downloading itself, or hang
START_ENGINE = "lmchat --local"
_ERROR = re.compile(
    r'"time": "(\d{4}-\d\d-\d\dT[\d:.]+\+00:00)".*"unexpected error, id ([0-9a-f]{8})"'
)
_RECENT = timedelta(days=1)


def config_findings(context: Context) -> Findings:
    """Return a row for each problem of the configuration, or one without problems."""
    loaded = context.loaded
    row = Subject(Group.FILES, "config", "Configuration")
    facts: dict[str, object] = {"path": str(loaded.file), "line": None}
    if not context.problems and not loaded.has_file:
        cause = f"{loaded.file} does not exist; the defaults apply."
        return [row.ok(cause, "lmchat config init", facts=facts)]
    if not context.problems:
        return [row.ok(f"{loaded.file} has no problems.", facts=facts)]
    rows: list[Finding] = []
    for problem in context.problems:
        cause = f"{problem.sentence}."
        step = "lmchat config check"
        if problem.suggestion:
            cause = problem.sentence
            step = f"Change it to {problem.suggestion}, then {step}"
        facts = {"path": problem.source, "line": problem.line, "key": problem.key or None}
        rows.append(row.graded(Grade.FAULT, cause, step, facts=facts))
    return rows


async def engine_findings(context: Context) -> Findings:
    """Try the engine in a child process that loads no model, and list the models for it."""
    from lmchat.cli.wiring import make_engine
    from lmchat.engine.download import install_command, is_engine_installed

    row = Subject(Group.ENGINE, "engine.installed", "Engine")
    if not is_engine_installed():
        cause = "Not installed; needed only if you have no model server."
        return [row.graded(Grade.ABSENT, cause, install_command())]
    engine = make_engine(context, context.loaded.settings)
    try:
        await engine.check()
    except EngineUnavailable as error:
        return [row.warning(error.message, error.hint)]
    files = await engine.files()
    models = "It offers to download a demo model."
    if files:
        models = f"{len(files)} model files are on this disk."
    cause = f"It works here: {START_ENGINE} starts it. {models}"
    return [row.ok(cause, facts={"files": [str(file.path) for file in files]})]


async def tools_findings(context: Context) -> Findings:
    """Start the tool servers for this check, and return a row for each."""
    if not context.has_tools:
        return []
    from lmchat.cli.tools import make_tool_host

    async with aclosing(make_tool_host(context, context.loaded.settings)) as host:
        with suppress(TimeoutError):
            async with asyncio.timeout(TOOLS_S):
                await host.list_servers()
        return [_tool_server(server, context) for server in host.servers]


def _tool_server(server: ToolServer, context: Context) -> Finding:
    from lmchat.cli.tools import how_to_correct, state_words

    row = Subject(Group.TOOLS, "tools", server.name)
    facts = {
        "state": server.state,
        "tools": len(server.tools),
        "error": server.error or None,
    }
    if server.state is ServerState.STARTING:
        cause = f"No answer within {TOOLS_S:g} s."
        step = "Run lmchat tools, which waits longer; then check the server"
        return row.warning(cause, step, facts=facts)
    words = state_words(server)
    cause = words[:1].upper() + words[1:]
    if not server.error:
        return row.ok(cause, facts=facts)
    grade = Grade.WARNING if server.state is ServerState.READY else Grade.FAULT
    return row.graded(grade, cause, how_to_correct(server, context), facts=facts)


def version_findings() -> Findings:
    """Return the row about the versions of lmchat, Python, Textual and the system."""
    facts = {
        "lmchat": __version__,
        "python": platform.python_version(),
        "textual": version("textual"),
        "system": platform.platform(terse=True),
    }
    cause = "lmchat {lmchat}, Python {python}, Textual {textual}, {system}.".format_map(facts)
    return [Subject(Group.PROGRAM, "lmchat.version", "Version").ok(cause, facts=facts)]


def log_findings(file: Path) -> Findings:
    """Name the last unexpected error in the log."""
    row = Subject(Group.PROGRAM, "lmchat.log", "Log file")
    errors: list[tuple[str, str]] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        errors = _ERROR.findall(read_plain(file).decode("utf-8", "replace"))
    if not errors:
        facts: dict[str, object] = {"path": str(file), "last_error": None}
        return [row.ok(f"{file} contains no unexpected error.", facts=facts)]
    time, error_id = errors[-1]
    is_recent = datetime.now(UTC) - datetime.fromisoformat(time) < _RECENT
    grade = Grade.WARNING if is_recent else Grade.OK
    cause = f"The last unexpected error is {error_id} ({time[:16]} UTC), in {file}."
    step = f"grep {error_id} {shlex.quote(str(file))}"
    facts = {"path": str(file), "last_error": error_id, "last_error_at": time}
    return [row.graded(grade, cause, step, facts=facts)]
