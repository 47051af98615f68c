"""`lmchat doctor`: the table of checks, and checks of the parts of a run."""

from __future__ import annotations

import asyncio
import json
import os
import platform
import re
import shlex
import sys
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from lmchat import __version__
from lmchat.cli.context import Context
from lmchat.cli.local import installed
from lmchat.cli.output import timestamp
from lmchat.domain.candidate import Finding, FindingRows, Grade, Group, Need, Remembered
from lmchat.domain.engine import ModelFile
from lmchat.domain.server import Endpoint
from lmchat.errors import EngineUnavailable, LMChatError
from lmchat.files import read_plain
from lmchat.machine.programs import port_holders, tool_to_see
from lmchat.services.doctor import (
    Check,
    Examination,
    Look,
    key_findings,
    report_json,
    report_text,
    server_findings,
    worst,
)
from lmchat.services.ports import Backend
from lmchat.storage import state as remembered_file
from lmchat.storage.checks import (
    credentials_mode,
    files_findings,
    keyring_findings,
    sqlite_command,
    store_findings,
    whole_findings,
)
from lmchat.terminal.checks import clipboard_findings, terminal_findings, tried_findings
from lmchat.terminal.clipboard import Clipboard
from lmchat.threads import apart

_NARROWEST, _WIDEST = 60, 120
_CODES = {Grade.OK: "32", Grade.WARNING: "33", Grade.FAULT: "31", Grade.ABSENT: "2", Grade.NOT_TRIED: "2"}
_SERVERS_S = 12.0  # detection takes up to 5 s, and longer to begin on a busy machine
_CLIPBOARD_S = 30.0
_PATIENCE_S = 3.0  # wait for the trial of the engine, where no server can be used
_START = "lmchat --local"
_MOST_NAMES = 3
_GB = 1e9
_ERROR = re.compile(r"unexpected error, id ([0-9a-f]{8})$")
_RECENT = timedelta(days=1)
_config_row = FindingRows(Group.FILES)
_engine_row = FindingRows(Group.ENGINE, "engine.")
_program_row = FindingRows(Group.PROGRAM, "lmchat.")
Found = Sequence[Finding]


async def doctor(context: Context) -> int:
    """Run every check; exit 1 if a fault was found."""
    backends: list[Backend] = []

    async def make() -> Backend:
        backends.append(_backend(context))
        return backends[0]

    try:
        return await _report(context, examination(context, make, _clipboard(context)))
    finally:
        for backend in backends:
            await backend.aclose()


async def clipboard(context: Context) -> int:
    """Try every way to the clipboard; exit 1 if none is left."""
    ways = _clipboard(context)
    check = Check(
        check="clipboard",
        group=Group.CLIPBOARD,
        name="Clipboard",
        run=lambda: tried_findings(ways),
        limit_s=_CLIPBOARD_S,
    )
    return await _report(context, Examination(checks=(check,), note_error=context.note_error, home=_home()))


def examination(
    context: Context, backend: Callable[[], Awaitable[Backend]], clipboard: Clipboard
) -> Examination:
    """Return all checks, in the order of the report; `backend` returns what looks for servers."""
    engine = _EngineChecks(context)
    servers = _ServerChecks(context, backend, engine.step)
    database = _known(lambda: context.paths.sessions_file, Path("sessions.db"))
    mode = _known(lambda: credentials_mode(context.paths), None)  # before keys are read, which mends it

    def row(check: str, group: Group, name: str, run: Callable[[], Awaitable[Found]], **more: Any) -> Check:
        return Check(check=check, group=group, name=name, run=run, **more)

    def disk(check: str, group: Group, name: str, look: Callable[[], Found], **more: Any) -> Check:
        return row(check, group, name, lambda: apart(look), **more)

    checks = (
        row("servers", Group.SERVERS, "Servers", servers.look, limit_s=_SERVERS_S),
        row("network", Group.NETWORK, "Network", servers.look_at_loopback),
        disk("proxy", Group.NETWORK, "Proxy variables", servers.look_at_environment),
        disk("keyring", Group.KEYS, "Keyring", keyring_findings),
        disk("config", Group.FILES, "Configuration", partial(_config, context)),
        disk("files", Group.FILES, "Folders", lambda: files_findings(context.paths, mode)),
        disk("store", Group.FILES, "Sessions", lambda: store_findings(context.paths.sessions_file)),
        disk(
            "store.whole",
            Group.FILES,
            "Integrity",
            lambda: whole_findings(context.paths.sessions_file),
            step_if_late=sqlite_command(database),
            grade_if_late=Grade.NOT_TRIED,  # a large file takes its time
        ),
        disk(
            "terminal",
            Group.TERMINAL,
            "Terminal",
            lambda: terminal_findings(context.environ, [_number(sys.__stdin__), _number(sys.__stderr__)]),
        ),
        disk("clipboard", Group.CLIPBOARD, "Clipboard", lambda: clipboard_findings(clipboard)),
        row(
            "engine",
            Group.ENGINE,
            "Engine",
            engine.look,
            step_if_late=f"{_START} tries it for as long as it takes",
            grade_if_late=Grade.NOT_TRIED,  # a slow machine takes long to load the library
        ),
        disk("program", Group.PROGRAM, "lmchat", partial(_program, context)),
    )
    return Examination(checks=checks, note_error=context.note_error, home=_home())


async def _report(context: Context, examination: Examination) -> int:
    async with aclosing(examination.run()) as examined:
        found = {check.check: findings async for check, findings in examined}
    findings = examination.in_order(found)
    if context.output.is_json:
        context.output.document(report_json(findings, timestamp()))
    else:
        is_terminal = sys.stdout is not None and sys.stdout.isatty()
        environ = context.environ
        has_colours = is_terminal and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"
        more = {"paint": _painted} if has_colours else {}
        width = min(max(_columns(), _NARROWEST), _WIDEST) if is_terminal else None
        context.output.painted(report_text(findings, home=examination.home, width=width, **more))
    return 1 if worst(findings) is Grade.FAULT else 0


def _painted(text: str, grade: Grade | None) -> str:
    return f"\x1b[{'1' if grade is None else _CODES[grade]}m{text}\x1b[0m"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _WIDEST
    except (OSError, ValueError):
        return _WIDEST


def _number(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None


def _home() -> str:
    try:
        return str(Path.home())
    except RuntimeError:
        return ""


def _known(find: Callable[[], Any], otherwise: Any) -> Any:
    """Return a path, or a substitute where the folders are not known."""
    try:
        return find()
    except LMChatError:
        return otherwise


def _backend(context: Context) -> Backend:
    """Return a backend from the usable part of the configuration."""
    from lmchat.cli.wiring import make_backend
    from lmchat.proxy.client import ProxyClient

    try:
        return make_backend(context, context.loaded.settings)
    except LMChatError:
        return ProxyClient(context.usable_settings, key_for=lambda _: None)


def _clipboard(context: Context) -> Clipboard:
    file = _known(lambda: context.paths.state_dir / "copied.txt", Path("copied.txt"))
    return Clipboard(environ=context.environ, write=lambda _: False, file=file)


class _ServerChecks:
    """Checks of servers and addresses; wrong configuration costs only its own row."""

    def __init__(
        self,
        context: Context,
        backend: Callable[[], Awaitable[Backend]],
        engine_step: Callable[[], Awaitable[str]],
    ) -> None:
        self._context = context
        self._backend = backend
        self._engine_step = engine_step

    def _own(self) -> tuple[list[Endpoint], list[Finding]]:
        settings = self._context.usable_settings
        named = [("--endpoint, LMCHAT_ENDPOINT or endpoint", settings.endpoint)]
        named += [(f"[[endpoints]] {one.name!r}", one.url) for one in settings.endpoints]
        found: list[Endpoint] = []
        wrong: list[Finding] = []
        for where, url in named:
            try:
                found += [Endpoint.parse(url)] if url else []
            except LMChatError:  # nothing of it is told: it may hold a password, and reports are pasted
                cause = f"The address in {where} cannot be used."
                step = "Write it as http://HOST:PORT, and a key as api_key or LMCHAT_API_KEY"
                wrong.append(
                    FindingRows(Group.SERVERS)("server", "Address", Grade.FAULT, cause, step, url=None)
                )
        return found, wrong

    async def look(self) -> Found:
        settings = self._context.usable_settings
        own, wrong = self._own()
        backend = await self._backend()
        keys, warnings = await apart(self._keys)  # before a server is asked with them
        remembered_path = _known(lambda: self._context.paths.remembered_file, None)
        candidates, here, remembered = await asyncio.gather(
            backend.detect(expected=own),
            apart(lambda: installed(self._context)),
            apart(lambda: remembered_file.load(remembered_path)[0] if remembered_path else Remembered()),
        )
        is_enough = any(one.verdict.is_usable for one in candidates)
        ports = {one.endpoint.port for one in candidates if one.endpoint.is_loopback}
        look = Look(
            candidates=candidates,
            holders=await apart(lambda: port_holders(ports)),
            installed=here,
            model=settings.model,
            remembered=remembered,
            is_named=bool(settings.endpoint),
            tool_to_see=tool_to_see(0).replace("0", "PORT"),
            engine_step="" if is_enough else await self._engine_step(),
        )
        return [
            *server_findings(look),
            *wrong,
            *key_findings(
                candidates,
                {one.endpoint.origin: keys.source_of(one.endpoint) for one in candidates} if keys else {},
                keys.stored_origins() if keys else (),
                warnings,
                has_chat=look.arrival.need in (Need.NOTHING, Need.MODEL),
            ),
        ]

    def _keys(self) -> tuple[Any, Sequence[str]]:
        from lmchat.cli.wiring import keys_of

        try:
            keys = keys_of(self._context)
            keys.load()
        except LMChatError as error:
            return None, (error.words,)
        return keys, keys.warnings

    async def look_at_loopback(self) -> Found:
        from lmchat.proxy.checks import loopback_findings, see_loopback
        from lmchat.proxy.servers import SERVERS
        from lmchat.proxy.servers.lm_studio import hinted_port

        names = {port: server.product.value for server in SERVERS for port in server.ports}
        hinted = await apart(hinted_port)
        if hinted is not None:
            names.setdefault(hinted, "LM Studio")
        ports = [*(one.port for one in self._own()[0] if one.is_loopback), *names]
        return loopback_findings(await see_loopback(ports), names)

    def look_at_environment(self) -> Found:
        from lmchat.proxy.checks import certificates_findings, proxy_finding

        environ, own = self._context.environ, self._own()[0]
        ca_file = self._context.usable_settings.ca_file
        is_needed = any(one.scheme == "https" for one in own)
        return [
            proxy_finding(environ, [one for one in own if not one.is_local]),
            *certificates_findings(environ, ca_file, is_needed=is_needed),
        ]


class _EngineChecks:
    """Trial of the engine in a child process that loads no model."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._is_tried = asyncio.Event()
        self._can_run = False
        self._until_s = 0.0

    async def step(self) -> str:
        """Return how to chat without a server; empty if that is impossible or unknown in time."""
        try:
            async with asyncio.timeout_at(self._until_s):
                await self._is_tried.wait()
        except TimeoutError:
            return ""
        return _START if self._can_run else ""

    async def look(self) -> Found:
        from lmchat.engine.download import install_command, is_engine_installed
        from lmchat.engine.engine import LocalEngine

        self._is_tried.clear()
        self._until_s = asyncio.get_running_loop().time() + _PATIENCE_S
        self._can_run = False
        try:
            if not is_engine_installed():
                cause = "It is not installed; lmchat needs it only where there is no server."
                return [_engine_row("installed", "Engine", Grade.ABSENT, cause, install_command())]
            engine = LocalEngine(
                self._context.usable_settings.local,
                folder=self._context.paths.demo_dir,
                log_file=self._context.paths.engine_log_file,
                environ=self._context.environ,
            )
            try:
                await engine.check()
            except EngineUnavailable as error:
                return [_engine_row("installed", "Engine", Grade.WARNING, error.message, error.hint)]
            self._can_run = True
        finally:
            self._is_tried.set()
        files, is_whole = await engine.files(), await engine.has_demo()
        found = _engine_row("installed", "Engine", Grade.OK, f"It can run here: {_START} starts it.")
        return [found, _files(files), self._demo(files, is_whole=is_whole), await apart(_memory)]

    def _demo(self, files: Sequence[ModelFile], *, is_whole: bool) -> Finding:
        folder = self._context.paths.demo_dir
        facts = {"path": str(folder)}
        if is_whole:
            return _engine_row("demo", "Demo model", Grade.OK, f"It is there, whole, in {folder}.", **facts)
        if any(file.is_demo for file in files):
            cause = f"It is in {folder}, but not as it should be; it is fetched again when it is wanted."
            step = f"rm -r {shlex.quote(str(folder))}"
            return _engine_row("demo", "Demo model", Grade.WARNING, cause, step, **facts)
        cause = "It was not fetched; lmchat asks before it does."
        return _engine_row("demo", "Demo model", Grade.ABSENT, cause, _START)


def _files(files: Sequence[ModelFile]) -> Finding:
    facts = {
        "files": [{"name": one.name, "path": str(one.path), "size_bytes": one.size_bytes} for one in files]
    }
    if not files:
        cause = "No model file was found on this disk; the demo model can be fetched."
        return _engine_row("files", "Model files", Grade.ABSENT, cause, _START, **facts)
    names = ", ".join(f"{one.name} ({one.size_bytes / _GB:.1f} GB)" for one in files[:_MOST_NAMES])
    rest = f" and {len(files) - _MOST_NAMES} more" if len(files) > _MOST_NAMES else ""
    return _engine_row("files", "Model files", Grade.OK, f"{len(files)} found: {names}{rest}.", **facts)


def _memory() -> Finding:
    from lmchat.engine.models import available_bytes

    free = available_bytes()
    cause = f"{free / _GB:.1f} GB are free for models."
    return _engine_row("memory", "Memory", Grade.OK, cause, free_bytes=free)


def _config(context: Context) -> Found:
    loaded, problems = context.loaded, context.problems
    if not problems:
        cause, step = f"{loaded.file} has no problems.", ""
        if not loaded.has_file:
            cause, step = f"{loaded.file} is not there; the defaults hold.", "lmchat config init"
        facts = {"path": str(loaded.file), "line": None}
        return [_config_row("config", "Configuration", Grade.OK, cause, step, **facts)]
    return [
        _config_row(
            "config",
            "Configuration",
            Grade.FAULT,
            one.sentence + ("" if one.suggestion else "."),
            (f"Write {one.suggestion} there, then " if one.suggestion else "") + "lmchat config check",
            path=one.source,
            line=one.line,
            key=one.key or None,
        )
        for one in problems
    ]


def _program(context: Context) -> Found:
    rows = [_versions(), _log(context.paths.log_file)]
    try:
        context.log_level()
    except LMChatError as error:
        step = "unset LMCHAT_LOG_LEVEL"
        rows.append(_program_row("log_level", "Log level", Grade.FAULT, error.message, step))
    return rows


def _versions() -> Finding:
    try:
        textual = version("textual")
    except PackageNotFoundError:
        textual = "not installed"
    python, system = platform.python_version(), f"{platform.system()} {platform.release()}"
    facts = {"lmchat": __version__, "python": python, "textual": textual, "system": system}
    cause = f"lmchat {__version__}, Python {python}, Textual {textual}, {system}."
    return _program_row("version", "Version", Grade.OK, cause, **facts)


def _log(file: Path) -> Finding:
    facts: dict[str, object] = {"path": str(file), "last_error": None, "last_error_at": None}
    grade, step = Grade.OK, ""
    try:
        lines = read_plain(file).decode("utf-8", "replace").splitlines()
        found = next(_errors(lines), None)
        cause = f"{file} holds no error that nobody expected."
    except FileNotFoundError:
        found, cause = None, f"Nothing is logged yet in {file}."
    except OSError as error:
        found, cause = None, f"{file} cannot be read: {error.strerror or error}."
        grade, step = Grade.WARNING, f"ls -l {shlex.quote(str(file))}"
    if found is not None:
        error_id, moment = found
        if moment is not None and datetime.now(UTC) - moment < _RECENT:
            grade = Grade.WARNING
        told = f" ({moment:%Y-%m-%d %H:%M} UTC)" if moment else ""
        cause = f"The last error that nobody expected is {error_id}{told}, in {file}."
        step = f"grep {error_id} {shlex.quote(str(file))}"
        facts |= {"last_error": error_id, "last_error_at": moment.isoformat() if moment else None}
    return _program_row("log", "Log file", grade, cause, step, **facts)


def _errors(lines: list[str]) -> Iterator[tuple[str, datetime | None]]:
    """Yield id and time of logged errors, newest first; unreadable lines are skipped."""
    for line in reversed(lines):
        if "unexpected error" not in line:
            continue
        try:
            entry = json.loads(line)
            found = _ERROR.search(str(entry["message"]))
            moment = datetime.fromisoformat(str(entry["time"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if found:
            yield found[1], moment if moment.tzinfo else moment.replace(tzinfo=UTC)
