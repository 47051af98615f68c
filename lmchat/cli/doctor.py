"""`lmchat doctor`: every check with verdict, cause and next step, as text or as one JSON document."""

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
from functools import cached_property, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TextIO

from msgspec import Struct

from lmchat import __version__
from lmchat.cli.context import Context
from lmchat.cli.local import installed
from lmchat.cli.output import timestamp
from lmchat.config.load import Problem
from lmchat.config.settings import Settings
from lmchat.domain.candidate import Finding, Grade, Group, Need, Remembered, Rows
from lmchat.domain.engine import ModelFile
from lmchat.domain.server import Candidate, Endpoint
from lmchat.errors import EngineUnavailable, LMChatError
from lmchat.files import read_plain
from lmchat.machine.processes import port_holders, tool_to_see
from lmchat.services.candidates import Look, key_findings, server_findings
from lmchat.services.doctor import (
    Check,
    Examination,
    Paint,
    examine,
    in_order,
    report_json,
    report_text,
    worst,
)
from lmchat.services.ports import Backend
from lmchat.storage import state as remembered_file
from lmchat.storage.checks import (
    Modes,
    files_findings,
    keyring_findings,
    modes_of,
    sqlite_command,
    store_findings,
    whole_findings,
)
from lmchat.terminal.checks import clipboard_findings, terminal_findings, tried_findings
from lmchat.terminal.clipboard import Clipboard
from lmchat.threads import apart

_row = Rows(Group.FILES)
_NAME = "Configuration"


def config_findings(context: Context) -> list[Finding]:
    """Return a row a problem, else one that says that there is none; blocks on the disk."""
    loaded, problems = context.loaded, context.problems
    if problems:
        return [_problem(one) for one in problems]
    if not loaded.has_file:
        cause, step = f"{loaded.file} is not there; the defaults hold.", "lmchat config init"
        return [_row("config", _NAME, Grade.OK, cause, step, path=str(loaded.file), line=None)]
    cause = f"{loaded.file} has no problems."
    return [_row("config", _NAME, Grade.OK, cause, path=str(loaded.file), line=None)]


def _problem(one: Problem) -> Finding:
    step = "lmchat config check"
    if one.suggestion:
        step = f"Write {one.suggestion} there, then lmchat config check"
    end = "" if one.sentence.endswith("?") else "."
    facts: dict[str, object] = {"path": one.source, "line": one.line, "key": one.key or None}
    return _row("config", _NAME, Grade.FAULT, f"{one.sentence}{end}", step, **facts)


_engine_row = Rows(Group.ENGINE, "engine.")
_MOST_NAMES = 3
_GB = 1e9
_START = "lmchat --local"
_PATIENCE_S = 3.0
"""How long after the begin what is said of servers waits for the engine, where no server can be used."""


class EngineChecks:
    """Tries the engine once, in a child that loads no model; it is not imported where it is not installed."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._is_tried = asyncio.Event()
        self._can_run = False
        self._until_s = 0.0

    async def step(self) -> str:
        """Return how a chat can be had without any server; empty where it cannot, or that takes long."""
        try:
            async with asyncio.timeout_at(self._until_s):
                await self._is_tried.wait()
        except TimeoutError:
            return ""
        return _START if self._can_run else ""

    async def look(self) -> list[Finding]:
        """Return the rows about the engine."""
        self._is_tried.clear()
        self._until_s = asyncio.get_running_loop().time() + _PATIENCE_S
        try:
            problem = await self._try()
        finally:
            self._is_tried.set()
        if problem is not None:
            return [problem]
        found = _engine_row("installed", "Engine", Grade.OK, f"It can run here: {_START} starts it.")
        return [found, *await self._models(), await apart(_memory)]

    async def _try(self) -> Finding | None:
        """Return what keeps the engine from running here."""
        from lmchat.engine.download import install_command, is_engine_installed

        self._can_run = False
        if not is_engine_installed():
            cause = "It is not installed; lmchat needs it only where there is no server."
            return _engine_row("installed", "Engine", Grade.ABSENT, cause, install_command())
        try:
            await self._engine().check()
        except EngineUnavailable as error:
            return _engine_row("installed", "Engine", Grade.WARNING, error.message, error.hint)
        self._can_run = True
        return None

    async def _models(self) -> list[Finding]:
        engine = self._engine()
        files = await engine.files()
        is_whole = await engine.has_demo()
        return [_files(files), self._demo(files, is_whole=is_whole)]

    def _demo(self, files: Sequence[ModelFile], *, is_whole: bool) -> Finding:
        folder = self._context.paths.demo_dir
        if is_whole:
            return _engine_row(
                "demo", "Demo model", Grade.OK, f"It is there, whole, in {folder}.", path=str(folder)
            )
        if any(file.is_demo for file in files):
            cause = f"It is in {folder}, but not as it should be; it is fetched again when it is wanted."
            step = f"rm -r {shlex.quote(str(folder))}"
            return _engine_row("demo", "Demo model", Grade.WARNING, cause, step, path=str(folder))
        return _engine_row(
            "demo", "Demo model", Grade.ABSENT, "It was not fetched; lmchat asks before it does.", _START
        )

    def _engine(self) -> Any:
        from lmchat.engine.engine import LocalEngine

        context = self._context
        return LocalEngine(
            context.usable_settings.local,
            folder=context.paths.demo_dir,
            log_file=context.paths.engine_log_file,
            environ=context.environ,
        )


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
    return _engine_row(
        "memory", "Memory", Grade.OK, f"{free / _GB:.1f} GB are free for models.", free_bytes=free
    )


_program_row = Rows(Group.PROGRAM, "lmchat.")
_ERROR = re.compile(r"unexpected error, id ([0-9a-f]{8})$")
_RECENT = timedelta(days=1)


def program_findings(context: Context) -> list[Finding]:
    """Return the rows about the program; blocks on the disk."""
    rows = [_versions(), _log(context.paths.log_file)]
    try:
        context.log_level()
    except LMChatError as error:
        step = "unset LMCHAT_LOG_LEVEL"
        rows.append(_program_row("log_level", "Log level", Grade.FAULT, f"{error.message}", step))
    return rows


def _versions() -> Finding:
    try:
        textual = version("textual")
    except PackageNotFoundError:
        textual = "not installed"
    system = f"{platform.system()} {platform.release()}"
    return _program_row(
        "version",
        "Version",
        Grade.OK,
        f"lmchat {__version__}, Python {platform.python_version()}, Textual {textual}, {system}.",
        lmchat=__version__,
        python=platform.python_version(),
        textual=textual,
        system=system,
    )


def _log(file: Path) -> Finding:
    facts: dict[str, object] = {"path": str(file), "last_error": None, "last_error_at": None}
    try:
        lines = read_plain(file).decode("utf-8", "replace").splitlines()
    except FileNotFoundError:
        return _program_row("log", "Log file", Grade.OK, f"Nothing is logged yet in {file}.", **facts)
    except OSError as error:
        cause = f"{file} cannot be read: {error.strerror or error}."
        return _program_row(
            "log", "Log file", Grade.WARNING, cause, f"ls -l {shlex.quote(str(file))}", **facts
        )
    found = next(_errors(lines), None)
    if found is None:
        return _program_row(
            "log", "Log file", Grade.OK, f"{file} holds no error that nobody expected.", **facts
        )
    error_id, moment = found
    is_recent = moment is not None and datetime.now(UTC) - moment < _RECENT
    told = f" ({moment:%Y-%m-%d %H:%M} UTC)" if moment else ""
    facts |= {"last_error": error_id, "last_error_at": moment.isoformat() if moment else None}
    return _program_row(
        "log",
        "Log file",
        Grade.WARNING if is_recent else Grade.OK,
        f"The last error that nobody expected is {error_id}{told}, in {file}.",
        f"grep {error_id} {shlex.quote(str(file))}",
        **facts,
    )


def _errors(lines: list[str]) -> Iterator[tuple[str, datetime | None]]:
    """Yield id and time of logged errors, newest first; a line that is cut or foreign is passed over."""
    for line in reversed(lines):
        if "unexpected error" not in line:
            continue
        try:
            entry = json.loads(line)
            found = _ERROR.search(str(entry["message"]))
        except (ValueError, TypeError, KeyError, RecursionError):
            continue
        if found:
            yield found[1], _moment(entry.get("time"))


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


class ServerChecks:
    """Looks at everything that could answer a chat; what is wrong in the configuration costs itself alone."""

    def __init__(
        self,
        context: Context,
        backend: Callable[[], Awaitable[Backend]],
        engine_step: Callable[[], Awaitable[str]],
    ) -> None:
        """`engine_step` tells how a chat can be had without any server."""
        self._context = context
        self._backend = backend
        self._engine_step = engine_step

    @cached_property
    def settings(self) -> Settings:
        """What holds of the configuration; the check of the files says what is wrong with it."""
        return self._context.usable_settings

    def own(self) -> tuple[list[Endpoint], list[Finding]]:
        """Return the user's own addresses, and a row for each that is none."""
        named = [("--endpoint, LMCHAT_ENDPOINT or endpoint", self.settings.endpoint)]
        named += [(f"[[endpoints]] {one.name!r}", one.url) for one in self.settings.endpoints]
        found: list[Endpoint] = []
        wrong: list[Finding] = []
        for where, url in named:
            try:
                found += [Endpoint.parse(url)] if url else []
            except LMChatError:
                wrong.append(_wrong_address(where))
        return found, wrong

    async def look(self) -> list[Finding]:
        """Return the rows about servers and their keys."""
        own, wrong = self.own()
        backend = await self._backend()
        sources_of, stored, warnings = await apart(self._keys)  # before a server is asked with them
        candidates, here, remembered = await asyncio.gather(
            backend.detect(expected=own), apart(lambda: installed(self._context)), apart(self._remembered)
        )
        is_enough = any(one.verdict.is_usable for one in candidates)
        ports = {one.endpoint.port for one in candidates if one.endpoint.is_loopback}
        look = Look(
            candidates=candidates,
            holders=await apart(lambda: port_holders(ports)),
            installed=here,
            model=self.settings.model,
            remembered=remembered,
            is_named=bool(self.settings.endpoint),
            tool_to_see=tool_to_see(0).replace("0", "PORT"),
            engine_step="" if is_enough else await self._engine_step(),
        )
        has_chat = look.arrival.need in (Need.NOTHING, Need.MODEL)
        sources = {one.endpoint.origin: sources_of(one) for one in candidates}
        keys = key_findings(candidates, sources, stored, warnings, has_chat=has_chat)
        return [*server_findings(look), *wrong, *keys]

    async def look_at_loopback(self) -> list[Finding]:
        """Return the rows about `localhost` and the two families of addresses."""
        from lmchat.proxy.checks import loopback_findings, see_loopback
        from lmchat.proxy.servers import SERVERS
        from lmchat.proxy.servers.lm_studio import hinted_port

        names = {port: server.product.value for server in SERVERS for port in server.ports}
        hinted = await apart(hinted_port)
        if hinted is not None:
            names.setdefault(hinted, "LM Studio")
        own, _ = self.own()
        ports = [*(one.port for one in own if one.is_loopback), *names]
        return loopback_findings(await see_loopback(ports), names)

    def look_at_environment(self) -> list[Finding]:
        """Return the rows about proxies and certificates."""
        from lmchat.proxy.checks import certificates_findings, proxy_finding

        own, _ = self.own()
        certificates = certificates_findings(
            self._context.environ, self.settings.ca_file, is_needed=any(one.scheme == "https" for one in own)
        )
        return [
            proxy_finding(self._context.environ, [one for one in own if not one.is_local]),
            *certificates,
        ]

    def _remembered(self) -> Remembered:
        try:
            return remembered_file.load(self._context.paths.remembered_file)[0]
        except LMChatError:
            return Remembered()

    def _keys(self) -> tuple[Callable[[Candidate], str], Sequence[str], Sequence[str]]:
        from lmchat.cli.wiring import keys_of

        try:
            keys = keys_of(self._context)
            keys.load()
        except LMChatError as error:
            return lambda _: "", (), (error.words,)
        return lambda one: keys.source_of(one.endpoint), keys.stored_origins(), keys.warnings


def _wrong_address(where: str) -> Finding:
    """Tell where it stands and nothing of it: it may hold a password, and a report is made to be pasted."""
    cause = f"The address in {where} cannot be used."
    step = "Write it as http://HOST:PORT, and a key as api_key or LMCHAT_API_KEY"
    return Rows(Group.SERVERS)("server", "Address", Grade.FAULT, cause, step, url=None)


_SERVERS_S = 12.0
"""Looking for servers ends by itself after 5 s; on a busy machine it takes time to begin and to say so."""


class Around(Struct, frozen=True, kw_only=True):
    """What the checks work with beside the context."""

    backend: Callable[[], Awaitable[Backend]]
    """Returns what looks for servers."""
    clipboard: Clipboard
    """The ways to copy."""
    modes: Modes | None = None
    """How files were set before anything of lmchat read them; None: as they are when they are looked at."""


def doctor_checks(context: Context, around: Around) -> list[Check]:
    """Return all checks, in the order of the report; nothing is looked at yet."""
    engine = EngineChecks(context)
    servers = ServerChecks(context, around.backend, engine.step)
    return [
        Check(
            check="servers",
            group=Group.SERVERS,
            name="Servers",
            run=servers.look,
            limit_s=_SERVERS_S,
        ),
        Check(check="network", group=Group.NETWORK, name="Network", run=servers.look_at_loopback),
        _apart("proxy", Group.NETWORK, "Proxy variables", servers.look_at_environment),
        _apart("keyring", Group.KEYS, "Keyring", keyring_findings),
        _apart("config", Group.FILES, "Configuration", partial(config_findings, context)),
        _apart(
            "files",
            Group.FILES,
            "Folders",
            lambda: files_findings(context.paths, around.modes or modes_of(context.paths)),
        ),
        _apart("store", Group.FILES, "Sessions", lambda: store_findings(context.paths.sessions_file)),
        _whole(context),
        Check(
            check="terminal",
            group=Group.TERMINAL,
            name="Terminal",
            run=lambda: terminal_findings(context.environ, _terminal_files()),
        ),
        _apart("clipboard", Group.CLIPBOARD, "Clipboard", lambda: clipboard_findings(around.clipboard)),
        Check(
            check="engine",
            group=Group.ENGINE,
            name="Engine",
            run=engine.look,
            step_if_late="lmchat --local tries it for as long as it takes",
            grade_if_late=Grade.NOT_TRIED,  # a slow machine takes long to load the library
        ),
        _apart("program", Group.PROGRAM, "lmchat", partial(program_findings, context)),
    ]


def examination(
    context: Context, backend: Callable[[], Awaitable[Backend]], clipboard: Clipboard
) -> Examination:
    """Return all checks for a page that shows them; they look at the run that the page belongs to."""
    around = Around(backend=backend, clipboard=clipboard)
    checks = doctor_checks(context, around)
    return Examination(checks=tuple(checks), note_error=context.note_error, home=home_of_user())


def home_of_user() -> str:
    """Return the user's folder; empty where none is known."""
    try:
        return str(Path.home())
    except RuntimeError:
        return ""


def modes_before(context: Context) -> Modes:
    """Return how files are set; to be called before keys are read, which mends them."""
    return modes_of(context.paths)


def _whole(context: Context) -> Check:
    return Check(
        check="store.whole",
        group=Group.FILES,
        name="Integrity",
        run=lambda: apart(lambda: whole_findings(context.paths.sessions_file)),
        step_if_late=sqlite_command(_shown_file(context)),
        grade_if_late=Grade.NOT_TRIED,  # a large file takes its time
    )


def _shown_file(context: Context) -> Path:
    try:
        return context.paths.sessions_file
    except Exception:  # noqa: BLE001 - the check itself says what is wrong with the folders
        return Path("sessions.db")


def _apart(check: str, group: Group, name: str, look: Callable[[], Sequence[Finding]]) -> Check:
    return Check(check=check, group=group, name=name, run=lambda: apart(look))


def _terminal_files() -> list[int | None]:
    """Return where the screen reads and draws: what Python began with, as a screen replaces them."""
    return [_number(sys.__stdin__), _number(sys.__stderr__)]


def _number(stream: TextIO | None) -> int | None:
    try:
        return None if stream is None else stream.fileno()
    except (OSError, ValueError):
        return None


_NARROWEST, _WIDEST = 60, 120
_CODES = {Grade.OK: "32", Grade.WARNING: "33", Grade.FAULT: "31", Grade.ABSENT: "2", Grade.NOT_TRIED: "2"}


async def doctor(context: Context) -> int:
    """Run every check; exit 1 if a fault was found."""
    backends: list[Backend] = []

    async def make() -> Backend:
        backends.append(_backend(context))
        return backends[0]

    around = Around(backend=make, clipboard=_clipboard(context), modes=_modes(context))
    try:
        return await _report(context, doctor_checks(context, around))
    finally:
        for backend in backends:
            await backend.aclose()


async def clipboard(context: Context) -> int:
    """Try every way to the clipboard; exit 1 if none is left."""
    ways = _clipboard(context)
    check = Check(
        check="clipboard", group=Group.CLIPBOARD, name="Clipboard", run=lambda: tried_findings(ways)
    )
    return await _report(context, [check], limit_s=30.0)


async def _report(context: Context, checks: Sequence[Check], *, limit_s: float | None = None) -> int:
    limits = {} if limit_s is None else {"limit_s": limit_s}
    async with aclosing(examine(checks, note_error=context.note_error, **limits)) as examined:
        findings = in_order([one async for one in examined], checks)
    if context.output.is_json:
        context.output.document(report_json(findings, timestamp()))
    else:
        _print(context, findings)
    return 1 if worst(findings) is Grade.FAULT else 0


def _print(context: Context, findings: Sequence[Finding]) -> None:
    is_terminal = sys.stdout is not None and sys.stdout.isatty()
    width = min(max(_columns(), _NARROWEST), _WIDEST) if is_terminal else None
    has_colours = (
        is_terminal and not context.environ.get("NO_COLOR") and context.environ.get("TERM") != "dumb"
    )
    paint: Paint | None = _painted if has_colours else None
    text = report_text(findings, home=home_of_user(), width=width, paint=paint)
    context.output.painted(text)


def _painted(word: str, grade: Grade | None) -> str:
    return f"\x1b[{_CODES[grade] if grade is not None else '1'}m{word}\x1b[0m"


def _columns() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or _WIDEST
    except (OSError, ValueError):
        return _WIDEST


def _modes(context: Context) -> Modes:
    try:
        return modes_before(context)
    except LMChatError:  # the folders are not known; the check of the files says so
        return Modes()


def _backend(context: Context) -> Backend:
    """Return what looks for servers, as far as configuration and folders can be read."""
    from lmchat.cli.wiring import make_backend
    from lmchat.proxy.client import ProxyClient

    try:
        return make_backend(context, context.loaded.settings)
    except LMChatError:
        return ProxyClient(context.usable_settings, key_for=lambda _: None)


def _clipboard(context: Context) -> Clipboard:
    try:
        file = context.paths.state_dir / "copied.txt"
    except LMChatError:
        file = Path("copied.txt")
    return Clipboard(environ=context.environ, write=lambda _: False, file=file)
