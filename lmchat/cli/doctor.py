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
from typing import Any
from urllib.request import proxy_bypass

from lmchat import __version__
from lmchat.cli.context import Context
from lmchat.cli.local import installed
from lmchat.cli.output import timestamp
from lmchat.domain.finding import Finding, Grade, Group
from lmchat.domain.server import Endpoint
from lmchat.domain.tool import ServerState, ToolServer
from lmchat.errors import EndpointNotAllowed, EngineUnavailable, ServerUnavailable
from lmchat.files import read_plain
from lmchat.machine.model_servers import port_holders
from lmchat.services.doctor import (
    LIMIT_S,
    Check,
    Detected,
    Examination,
    Findings,
    report_json,
    report_text,
    server_findings,
    worst,
)
from lmchat.services.ports import ServerClient
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

_NARROWEST, _WIDEST = 60, 120
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
_network_row = partial(Finding, Group.NETWORK)
_engine_row = partial(Finding, Group.ENGINE, "engine.installed", "Engine")


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
        form: dict[str, Any] = {}
        if sys.stdout is not None and sys.stdout.isatty():
            columns = os.get_terminal_size(sys.stdout.fileno()).columns or _WIDEST
            form["width"] = min(max(columns, _NARROWEST), _WIDEST)
            if not context.environ.get("NO_COLOR") and context.environ.get("TERM") != "dumb":
                form["paint"] = _painted
        context.output.raw(report_text(findings, home=examination.home, **form))
    return 1 if worst(findings) is Grade.FAULT else 0


def _painted(text: str, grade: Grade | None) -> str:
    return f"\x1b[{'1' if grade is None else _CODES[grade]}m{text}\x1b[0m"


def _clipboard(context: Context) -> Clipboard:
    return Clipboard(
        environ=context.environ_of_programs, write=lambda _: False, file=context.copied_file
    )


def _own(context: Context) -> tuple[list[Endpoint], Findings]:
    """Return the servers that the user named, and a row for each address that cannot be used."""
    settings = context.loaded.settings
    named = [("--endpoint, LMCHAT_ENDPOINT or endpoint", settings.endpoint)]
    named += [(f"[[endpoints]] {one.name!r}", one.url) for one in settings.endpoints]
    row = partial(Finding, Group.SERVERS, "server", "Address", Grade.FAULT)
    step = "Write it as http://HOST:PORT, and set the API key beside it: api_key or LMCHAT_API_KEY"
    own, wrong = [], []
    for where, url in named:
        try:
            own += [Endpoint.parse(url)] if url else []
        except EndpointNotAllowed as error:  # nothing of it is told: it may hold a password
            reason = error.message.removeprefix("Endpoint not allowed: ")
            wrong.append(
                row(f"The address in {where} cannot be used: {reason}", step, {"url": None})
            )
    return own, wrong


async def _servers(context: Context, backend: ServerClient) -> Findings:
    from lmchat.cli.wiring import keys_of
    from lmchat.engine.download import is_engine_installed

    own, wrong = _own(context)
    keys = keys_of(context)
    await run_abandonable(keys.load)  # before a server is asked with them
    candidates, here, remembered = await asyncio.gather(
        backend.detect(expected=own),
        run_abandonable(partial(installed, context)),
        run_abandonable(partial(remembered_file.load, context.paths.remembered_file)),
    )
    ports = {one.endpoint.port for one in candidates if one.endpoint.is_loopback}
    detected = Detected(
        candidates=candidates,
        holders=await run_abandonable(partial(port_holders, ports)),
        installed=here,
        model=context.loaded.settings.model,
        remembered=remembered[0],
        is_named=bool(context.loaded.settings.endpoint),
        engine_step=_START if is_engine_installed() else "",
        sources={one.endpoint.origin: keys.source_of(one.endpoint) for one in candidates},
        stored=keys.stored_origins(),
        warnings=keys.warnings,
    )
    return [*server_findings(detected), *wrong]


def _network(context: Context) -> Findings:
    own = _own(context)[0]
    remote = [one.host for one in own if not (one.is_local or proxy_bypass(one.host))]
    is_needed = any(one.scheme == "https" for one in own)
    ca_file = context.loaded.settings.ca_file
    certificates = certificates_findings(context.environ, ca_file, is_needed=is_needed)
    return [proxy_finding(context.environ, remote), *certificates]


def proxy_finding(environ: Mapping[str, str], remote: Sequence[str]) -> Finding:
    """Return the row about the proxy variables; `remote` are hosts of other machines that go through one."""
    from lmchat.proxy.errors import host_and_port, proxies_of

    cause, grade, step, shown, bad = "No proxy is set in the environment.", Grade.OK, "", {}, ""
    for name, value in proxies_of(environ).items():
        scheme = value.partition("://")[0] if "://" in value else "http"
        place = host_and_port(value)  # without what may be a password
        shown[name] = f"{scheme}://{place or '(no address)'}"
        is_spoken = scheme in ("http", "https") or (
            scheme.startswith("socks") and find_spec("socksio")
        )
        bad = bad or ("" if place and is_spoken else name)
    if shown:
        use = f"used for {' and '.join(remote)}" if remote else "not used for a server you named"
        variables = ", ".join(f"{name}={place}" for name, place in shown.items())
        cause = f"{variables}: {use}; servers on this machine are reached directly."
    if bad:
        grade, step = (
            Grade.FAULT if remote else Grade.WARNING,
            f"unset {bad}, or set it to an http:// proxy",
        )
        cause = f"lmchat cannot use the proxy in {bad}. {cause}"
    return _network_row(
        "network.proxy", "Proxy variables", grade, cause, step, {"variables": shown}
    )


def certificates_findings(
    environ: Mapping[str, str], ca_file: str, *, is_needed: bool
) -> list[Finding]:
    """Return the row about certificates, if some are named or `is_needed` by an https server of the user."""
    from lmchat.proxy.errors import VARIABLES, trusted

    named = {name: value for name in VARIABLES if (value := environ.get(name, ""))}
    named |= {"ca_file": ca_file} if ca_file else {}
    if not named and not is_needed:
        return []
    sources = " and ".join(f"{name}={value}" for name, value in named.items())
    cause = f"Certificates are checked against {sources or 'the usual certificates'}."
    grade, step = Grade.OK, ""
    try:
        trusted(ca_file)
    except ServerUnavailable as error:
        grade, cause, step = Grade.FAULT if is_needed else Grade.WARNING, error.message, error.hint
    return [_network_row("network.certificates", "Certificates", grade, cause, step, named)]


def _config(context: Context) -> Findings:
    loaded, row = context.loaded, partial(Finding, Group.FILES, "config", "Configuration")
    if not context.problems:
        cause, step = f"{loaded.file} has no problems.", ""
        if not loaded.has_file:
            cause, step = f"{loaded.file} does not exist; the defaults apply.", "lmchat config init"
        return [row(Grade.OK, cause, step, {"path": str(loaded.file), "line": None})]
    return [
        row(
            Grade.FAULT,
            one.sentence + ("" if one.suggestion else "."),
            (f"Change it to {one.suggestion}, then " if one.suggestion else "")
            + "lmchat config check",
            {"path": one.source, "line": one.line, "key": one.key or None},
        )
        for one in context.problems
    ]


async def _engine(context: Context) -> Findings:
    """Try the engine in a child process that loads no model, and list the models for it."""
    from lmchat.cli.wiring import make_engine
    from lmchat.engine.download import install_command, is_engine_installed

    if not is_engine_installed():
        cause = "Not installed; needed only if you have no model server."
        return [_engine_row(Grade.ABSENT, cause, install_command())]
    engine = make_engine(context, context.loaded.settings)
    try:
        await engine.check()
    except EngineUnavailable as error:
        return [_engine_row(Grade.WARNING, error.message, error.hint)]
    files = await engine.files()
    cause = f"It works here: {_START} starts it. "
    cause += (
        f"{len(files)} model files are on this disk."
        if files
        else "It offers to download a demo model."
    )
    return [_engine_row(Grade.OK, cause, "", {"files": [str(one.path) for one in files]})]


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

    facts = {"state": server.state, "tools": len(server.tools), "error": server.error or None}
    row, words = (
        partial(Finding, Group.TOOLS, "tools", server.name, facts=facts),
        state_words(server),
    )
    cause = words[:1].upper() + words[1:]
    if server.state is ServerState.STARTING:
        step = "Run lmchat tools, which waits longer; then check the server"
        return row(Grade.WARNING, f"No answer within {_TOOLS_S:g} s.", step)
    if not server.error:
        return row(Grade.OK, cause)
    is_ready = server.state is ServerState.READY
    return row(Grade.WARNING if is_ready else Grade.FAULT, cause, how_to_correct(server, context))


def _version() -> Findings:
    python, textual, system = (
        platform.python_version(),
        version("textual"),
        platform.platform(terse=True),
    )
    facts = {"lmchat": __version__, "python": python, "textual": textual, "system": system}
    cause = f"lmchat {__version__}, Python {python}, Textual {textual}, {system}."
    return [Finding(Group.PROGRAM, "lmchat.version", "Version", Grade.OK, cause, "", facts)]


def _log(file: Path) -> Findings:
    """Name the last unexpected error in the log."""
    row, facts = partial(Finding, Group.PROGRAM, "lmchat.log", "Log file"), {"path": str(file)}
    found: list[tuple[str, str]] = []
    with suppress(FileNotFoundError, NotADirectoryError):
        found = _ERROR.findall(read_plain(file).decode("utf-8", "replace"))
    if not found:
        return [
            row(Grade.OK, f"{file} contains no unexpected error.", "", facts | {"last_error": None})
        ]
    time, error_id = found[-1]
    is_recent = datetime.now(UTC) - datetime.fromisoformat(time) < _RECENT
    cause = f"The last unexpected error is {error_id} ({time[:16]} UTC), in {file}."
    facts |= {"last_error": error_id, "last_error_at": time}
    step = f"grep {error_id} {shlex.quote(str(file))}"
    return [row(Grade.WARNING if is_recent else Grade.OK, cause, step, facts)]
