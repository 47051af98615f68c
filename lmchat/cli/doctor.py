"""`lmchat doctor`: the table of checks, and the report on a terminal or in a pipe.

A check returns findings, which are the rows of the report; each has a grade, such as `WARNING`.
"""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import aclosing
from functools import partial

from lmchat.chat.ports import ServerClient
from lmchat.cli.context import Context
from lmchat.cli.local import find_installed
from lmchat.cli.program_checks import (
    START_ENGINE,
    TOOLS_S,
    config_findings,
    engine_findings,
    log_findings,
    tools_findings,
    version_findings,
)
from lmchat.cli.wiring import keys_of, make_backend
from lmchat.config.state import read_state
from lmchat.doctor.examination import (
    LIMIT_S,
    Check,
    Examination,
    Findings,
    report_json,
    report_text,
    worst,
)
from lmchat.doctor.report import CheckResult, Grade, Group, Subject
from lmchat.doctor.server_checks import Detected, server_findings
from lmchat.doctor.storage_checks import files_findings, integrity_findings, mode_of, store_findings
from lmchat.doctor.terminal_checks import terminal_findings
from lmchat.errors import EndpointNotAllowed
from lmchat.processes.threads import run_abandonable
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.engine.download import is_engine_installed
from lmchat.terminal.output import timestamp

_MIN_COLUMNS = 60  # of a report on a terminal
_MAX_COLUMNS = 120
# parameters of the escape sequence that sets colours: bold, and a colour a grade
_HEADING_CODE = "1"
_GRADE_CODES = {
    Grade.OK: "32",
    Grade.WARNING: "33",
    Grade.FAULT: "31",
    Grade.ABSENT: "2",
    Grade.NOT_TRIED: "2",
}
# time limits of checks
_SERVERS_S = 12.0  # detection takes up to 5 s, and longer to begin on a busy machine


def examination(context: Context, backend: ServerClient) -> Examination:
    """Return an examination with all checks, in the order of the report; it does not run yet."""
    paths = context.paths
    # read now: the check of the servers loads the keys, and that corrects the mode of their file
    credentials_mode = mode_of(paths.credentials_file)
    checks = (
        Check(
            "servers",
            Group.SERVERS,
            "Servers",
            partial(_detect_servers, context, backend),
            limit_s=_SERVERS_S,
        ),
        Check("config", Group.FILES, "Configuration", partial(config_findings, context)),
        Check("files", Group.FILES, "Folders", partial(files_findings, paths, credentials_mode)),
        Check("store", Group.FILES, "Sessions", partial(store_findings, paths.sessions_file)),
        Check(
            "store.whole",
            Group.FILES,
            "Integrity",
            partial(integrity_findings, paths.sessions_file),
            # to read a large file takes longer than the time limit
            step_if_late="In its folder: sqlite3 sessions.db 'pragma integrity_check'",
        ),
        Check("terminal", Group.TERMINAL, "Terminal", partial(terminal_findings, context.environ)),
        Check(
            "engine",
            Group.ENGINE,
            "Engine",
            partial(engine_findings, context),
            # a slow machine takes long to load the library
            step_if_late=f"{START_ENGINE} tests it without a time limit",
        ),
        Check(
            "tools",
            Group.TOOLS,
            "Tools",
            partial(tools_findings, context),
            limit_s=TOOLS_S + LIMIT_S,  # starting the servers may take TOOLS_S, then they stop
        ),
        Check("program", Group.PROGRAM, "Version", version_findings),
        Check("lmchat.log", Group.PROGRAM, "Log file", partial(log_findings, paths.log_file)),
    )
    return Examination(
        checks=checks, note_error=context.note_error, home=context.environ.get("HOME", "")
    )


async def doctor(context: Context) -> int:
    """Run every check and print the report; return 1 if one has the grade `FAULT`, else 0."""
    state, _ = await run_abandonable(partial(read_state, context.paths.state_file))
    backend, _ = make_backend(context, context.loaded.settings, state)
    async with aclosing(backend):
        return await _report(context, examination(context, backend))


async def _report(context: Context, examination: Examination) -> int:
    """Run the checks, print the report as text or JSON, and return the exit code.

    It is 1 if a row has the grade `FAULT`, else 0.
    """
    async with aclosing(examination.run()) as ended_checks:  # in the order in which they end
        findings_by_check = {check.check: rows async for check, rows in ended_checks}
    findings = examination.in_order(findings_by_check)
    if context.output.is_json:
        context.output.print_json(report_json(findings, timestamp()))
    else:
        context.output.print_safe(_report_text(context, findings, examination.home))
    return 1 if worst(findings) is Grade.FAULT else 0


def _report_text(context: Context, findings: Findings, home: str) -> str:
    """Return the text of the report.

    For a pipe, its lines are not wrapped. For a terminal, they are wrapped to its width within
    limits, and coloured unless `NO_COLOR` is set or the terminal is dumb.
    """
    if sys.stdout is None or not sys.stdout.isatty():
        return report_text(findings, home=home)
    # some terminals, such as those of containers, report 0 columns
    columns = os.get_terminal_size(sys.stdout.fileno()).columns or _MAX_COLUMNS
    width = min(max(columns, _MIN_COLUMNS), _MAX_COLUMNS)
    if context.environ.get("NO_COLOR") or context.environ.get("TERM") == "dumb":
        return report_text(findings, home=home, width=width)
    return report_text(findings, home=home, width=width, paint=_painted)


def _painted(text: str, grade: Grade | None) -> str:
    """Return a text in the colour of a grade; without a grade it is a heading."""
    code = _HEADING_CODE if grade is None else _GRADE_CODES[grade]
    return f"\x1b[{code}m{text}\x1b[0m"


async def _detect_servers(context: Context, backend: ServerClient) -> Findings:
    """Load the API keys, look for servers as the chat does, and return the rows about them.

    The last rows are about addresses of the settings that cannot be used. `backend` asks the
    servers.
    """
    named_endpoints, address_findings = _named_servers(context)
    keys = keys_of(context)
    await run_abandonable(keys.load)  # before a server is asked with them
    results, installed, (state, _) = await asyncio.gather(
        backend.detect(expected=named_endpoints),
        run_abandonable(partial(find_installed, context)),
        run_abandonable(partial(read_state, context.paths.state_file)),
    )
    endpoints = [probed.endpoint for probed in results]
    detected = Detected(
        results=results,
        installed=installed,
        model=context.loaded.settings.model,
        state=state,
        is_named=bool(context.loaded.settings.endpoint),
        engine_step=START_ENGINE if is_engine_installed() else "",
        sources={endpoint.origin: keys.source_of(endpoint) for endpoint in endpoints},
        stored=keys.stored_origins(),
        warnings=keys.warnings,
    )
    return [*server_findings(detected), *address_findings]


def _named_servers(context: Context) -> tuple[list[Endpoint], Findings]:
    """Return the addresses of the settings, and a row for each that cannot be used."""
    settings = context.loaded.settings
    places_and_urls = [("--endpoint, LMCHAT_ENDPOINT or endpoint", settings.endpoint)]
    places_and_urls += [
        (f"[[endpoints]] {entry.name!r}", entry.url) for entry in settings.endpoints
    ]
    subject = Subject(Group.SERVERS, "server", "Address")
    step = "Write it as http://HOST:PORT, and set the API key beside it: api_key or LMCHAT_API_KEY"
    endpoints: list[Endpoint] = []
    findings: list[CheckResult] = []
    for place, url in places_and_urls:
        if not url:
            continue
        try:
            endpoints.append(Endpoint.parse(url))
        except EndpointNotAllowed as error:  # the address is not shown: it may hold a password
            reason = error.message.removeprefix("Endpoint not allowed: ")
            cause = f"The address in {place} cannot be used: {reason}"
            findings.append(subject.graded(Grade.FAULT, cause, step))
    return endpoints, findings
