"""`lmchat doctor`: the table of checks, and the checks that are on no lower floor."""

from __future__ import annotations

import asyncio
import os
import platform
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from urllib.request import proxy_bypass

from lmchat import __version__
from lmchat.cli.context import Context
from lmchat.cli.local import installed
from lmchat.cli.output import timestamp
from lmchat.domain.finding import Finding, Grade, Group, Subject
from lmchat.domain.server import Endpoint
from lmchat.domain.tool import ServerState, ToolServer
from lmchat.errors import EndpointNotAllowed, EngineUnavailable, ServerUnavailable
from lmchat.files import read_plain
from lmchat.machine.model_servers import port_holders
from lmchat.services.examination import (
    LIMIT_S,
    Check,
    Examination,
    Findings,
    report_json,
    report_text,
    worst,
)
from lmchat.services.ports import ServerClient
from lmchat.services.server_findings import Detected, server_findings
from lmchat.storage import remembered_file
from lmchat.storage.file_checks import (
    files_findings,
    keyring_findings,
    mode_of,
    store_findings,
    whole_findings,
)
from lmchat.terminal.clipboard import Clipboard
from lmchat.terminal.terminal_checks import clipboard_findings, terminal_findings, tried_findings
from lmchat.threads import run_abandonable

_NARROWEST = 60  # columns of a report on a terminal
_WIDEST = 120
_HEADING_CODE = "1"
_CODES = {
    Grade.OK: "32",
    Grade.WARNING: "33",
    Grade.FAULT: "31",
    Grade.ABSENT: "2",
    Grade.NOT_TRIED: "2",
}
_SERVERS_S = 12.0  # detection takes up to 5 s, and longer to begin on a busy machine
_CLIPBOARD_S = 30.0
_TOOLS_S = 8.0  # a tool server that needs longer may be downloading itself, or hang
_START = "lmchat --local"
_ERROR = re.compile(
    r'"time": "(\d{4}-\d\d-\d\dT[\d:.]+\+00:00)".*"unexpected error, id ([0-9a-f]{8})"'
)
_RECENT = timedelta(days=1)


def examination(context: Context, backend: ServerClient, clipboard: Clipboard) -> Examination:
    """Return all checks, in the order of the report."""
    paths = context.paths
    mode = mode_of(paths.credentials_file)  # before loading the keys mends it
    checks = (
        Check(
            "servers",
            Group.SERVERS,
            "Servers",
            partial(_servers, context, backend),
            limit_s=_SERVERS_S,
        ),
        Check("network", Group.NETWORK, "Network", partial(_network, context)),
        Check("keyring", Group.KEYS, "Keyring", keyring_findings),
        Check("config", Group.FILES, "Configuration", partial(_config, context)),
        Check("files", Group.FILES, "Folders", partial(files_findings, paths, mode)),
        Check("store", Group.FILES, "Sessions", partial(store_findings, paths.sessions_file)),
        Check(
            "store.whole",
            Group.FILES,
            "Integrity",
            partial(whole_findings, paths.sessions_file),
            # a large file takes its time
            step_if_late="In its folder: sqlite3 sessions.db 'pragma integrity_check'",
        ),
        Check("terminal", Group.TERMINAL, "Terminal", partial(terminal_findings, context.environ)),
        Check("clipboard", Group.CLIPBOARD, "Clipboard", partial(clipboard_findings, clipboard)),
        Check(
            "engine",
            Group.ENGINE,
            "Engine",
            partial(_engine, context),
            # a slow machine takes long to load the library
            step_if_late=f"{_START} tests it without a time limit",
        ),
        Check("tools", Group.TOOLS, "Tools", partial(_tools, context), limit_s=_TOOLS_S + LIMIT_S),
        Check("program", Group.PROGRAM, "Version", _version),
        Check("lmchat.log", Group.PROGRAM, "Log file", partial(_log, paths.log_file)),
    )
    return Examination(
        checks=checks, note_error=context.note_error, home=context.environ.get("HOME", "")
    )


async def doctor(context: Context) -> int:
    """Run every check; exit 1 if a problem was found."""
    from lmchat.cli.wiring import make_backend

    remembered, _ = await run_abandonable(
        partial(remembered_file.load, context.paths.remembered_file)
    )
    backend, _ = make_backend(context, context.loaded.settings, remembered)
    async with aclosing(backend):
        return await _report(context, examination(context, backend, _clipboard(context)))


async def clipboard(context: Context) -> int:
    """Try every way to the clipboard; exit 1 if none is left."""
    run = partial(tried_findings, _clipboard(context))
    check = Check("clipboard", Group.CLIPBOARD, "Clipboard", run, limit_s=_CLIPBOARD_S)
    return await _report(context, Examination(checks=(check,), note_error=context.note_error))


async def _report(context: Context, examination: Examination) -> int:
    async with aclosing(examination.run()) as examined:
        found = {check.check: findings async for check, findings in examined}
    findings = examination.in_order(found)
    if context.output.is_json:
        context.output.document(report_json(findings, timestamp()))
    else:
        context.output.raw(_text(context, findings, examination.home))
    return 1 if worst(findings) is Grade.FAULT else 0


def _text(context: Context, findings: Findings, home: str) -> str:
    """Return the report for a terminal, or for a pipe without a width."""
    if sys.stdout is None or not sys.stdout.isatty():
        return report_text(findings, home=home)
    columns = os.get_terminal_size(sys.stdout.fileno()).columns or _WIDEST
    width = min(max(columns, _NARROWEST), _WIDEST)
    if context.environ.get("NO_COLOR") or context.environ.get("TERM") == "dumb":
        return report_text(findings, home=home, width=width)
    return report_text(findings, home=home, width=width, paint=_painted)


def _painted(text: str, grade: Grade | None) -> str:
    code = _HEADING_CODE if grade is None else _CODES[grade]
    return f"\x1b[{code}m{text}\x1b[0m"


def _clipboard(context: Context) -> Clipboard:
    return Clipboard(
        environ=context.environ_of_programs, write=lambda _: False, file=context.copied_file
    )


def _own(context: Context) -> tuple[list[Endpoint], Findings]:
    """Return the servers that the user named, and a row for each address that cannot be used."""
    settings = context.loaded.settings
    named = [("--endpoint, LMCHAT_ENDPOINT or endpoint", settings.endpoint)]
    named += [(f"[[endpoints]] {entry.name!r}", entry.url) for entry in settings.endpoints]
    row = Subject(Group.SERVERS, "server", "Address")
    step = "Write it as http://HOST:PORT, and set the API key beside it: api_key or LMCHAT_API_KEY"
    own: list[Endpoint] = []
    wrong: list[Finding] = []
    for place, url in named:
        if not url:
            continue
        try:
            own.append(Endpoint.parse(url))
        except EndpointNotAllowed as error:  # the address is not shown: it may hold a password
            reason = error.message.removeprefix("Endpoint not allowed: ")
            cause = f"The address in {place} cannot be used: {reason}"
            wrong.append(row.graded(Grade.FAULT, cause, step, facts={"url": None}))
    return own, wrong


async def _servers(context: Context, backend: ServerClient) -> Findings:
    from lmchat.cli.wiring import keys_of
    from lmchat.engine.download import is_engine_installed

    own, wrong = _own(context)
    keys = keys_of(context)
    await run_abandonable(keys.load)  # before a server is asked with them
    candidates, here, (remembered, _) = await asyncio.gather(
        backend.detect(expected=own),
        run_abandonable(partial(installed, context)),
        run_abandonable(partial(remembered_file.load, context.paths.remembered_file)),
    )
    endpoints = [candidate.endpoint for candidate in candidates]
    ports = {endpoint.port for endpoint in endpoints if endpoint.is_loopback}
    detected = Detected(
        candidates=candidates,
        holders=await run_abandonable(partial(port_holders, ports)),
        installed=here,
        model=context.loaded.settings.model,
        remembered=remembered,
        is_named=bool(context.loaded.settings.endpoint),
        engine_step=_START if is_engine_installed() else "",
        sources={endpoint.origin: keys.source_of(endpoint) for endpoint in endpoints},
        stored=keys.stored_origins(),
        warnings=keys.warnings,
    )
    return [*server_findings(detected), *wrong]


def _network(context: Context) -> Findings:
    own, _ = _own(context)
    remote = [endpoint.host for endpoint in own if _is_behind_proxy(endpoint)]
    certificates = certificates_findings(
        context.environ,
        context.loaded.settings.ca_file,
        is_needed=any(endpoint.scheme == "https" for endpoint in own),
    )
    return [proxy_finding(context.environ, remote), *certificates]


def _is_behind_proxy(endpoint: Endpoint) -> bool:
    return not endpoint.is_local and not proxy_bypass(endpoint.host)


def proxy_finding(environ: Mapping[str, str], remote: Sequence[str]) -> Finding:
    """Return the row about the proxy variables; `remote` are hosts that go through a proxy."""
    from lmchat.proxy.network_errors import host_and_port, proxies_of

    row = Subject(Group.NETWORK, "network.proxy", "Proxy variables")
    shown: dict[str, str] = {}
    unusable: list[str] = []
    for name, value in proxies_of(environ).items():
        scheme = value.partition("://")[0] if "://" in value else "http"
        address = host_and_port(value)  # without what may be a password
        shown[name] = f"{scheme}://{address or '(no address)'}"
        if not address or not _is_known_proxy(scheme):
            unusable.append(name)
    facts = {"variables": shown}
    if not shown:
        return row.ok("No proxy is set in the environment.", facts=facts)

    use = f"used for {' and '.join(remote)}" if remote else "not used for a server you named"
    variables = ", ".join(f"{name}={address}" for name, address in shown.items())
    cause = f"{variables}: {use}; servers on this machine are reached directly."
    if not unusable:
        return row.ok(cause, facts=facts)
    grade = Grade.FAULT if remote else Grade.WARNING
    cause = f"lmchat cannot use the proxy in {unusable[0]}. {cause}"
    step = f"unset {unusable[0]}, or set it to an http:// proxy"
    return row.graded(grade, cause, step, facts=facts)


def _is_known_proxy(scheme: str) -> bool:
    if scheme.startswith("socks"):
        return find_spec("socksio") is not None
    return scheme in ("http", "https")


def certificates_findings(
    environ: Mapping[str, str], ca_file: str, *, is_needed: bool
) -> list[Finding]:
    """Return the row about certificates, if some are named or `is_needed` by an https server."""
    from lmchat.proxy.certificates import VARIABLES, trusted

    named = {name: environ[name] for name in VARIABLES if environ.get(name)}
    if ca_file:
        named["ca_file"] = ca_file
    if not named and not is_needed:
        return []
    row = Subject(Group.NETWORK, "network.certificates", "Certificates")
    try:
        trusted(ca_file)
    except ServerUnavailable as error:
        grade = Grade.FAULT if is_needed else Grade.WARNING
        return [row.graded(grade, error.message, error.hint, facts=named)]
    sources = " and ".join(f"{name}={value}" for name, value in named.items())
    cause = f"Certificates are checked against {sources or 'the usual certificates'}."
    return [row.ok(cause, facts=named)]


def _config(context: Context) -> Findings:
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


async def _engine(context: Context) -> Findings:
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
    cause = f"It works here: {_START} starts it. {models}"
    return [row.ok(cause, facts={"files": [str(file.path) for file in files]})]


async def _tools(context: Context) -> Findings:
    """Start the tool servers for this check, and return a row for each."""
    if not context.has_tools:
        return []
    from lmchat.cli.tools import make_tool_host

    async with aclosing(make_tool_host(context, context.loaded.settings)) as host:
        with suppress(TimeoutError):
            async with asyncio.timeout(_TOOLS_S):
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
        cause = f"No answer within {_TOOLS_S:g} s."
        step = "Run lmchat tools, which waits longer; then check the server"
        return row.warning(cause, step, facts=facts)
    words = state_words(server)
    cause = words[:1].upper() + words[1:]
    if not server.error:
        return row.ok(cause, facts=facts)
    grade = Grade.WARNING if server.state is ServerState.READY else Grade.FAULT
    return row.graded(grade, cause, how_to_correct(server, context), facts=facts)


def _version() -> Findings:
    facts = {
        "lmchat": __version__,
        "python": platform.python_version(),
        "textual": version("textual"),
        "system": platform.platform(terse=True),
    }
    cause = "lmchat {lmchat}, Python {python}, Textual {textual}, {system}.".format_map(facts)
    return [Subject(Group.PROGRAM, "lmchat.version", "Version").ok(cause, facts=facts)]


def _log(file: Path) -> Findings:
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
