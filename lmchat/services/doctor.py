"""The doctor: its checks, which run all at once, and the report of what they found."""

from __future__ import annotations

import asyncio
import re
import textwrap
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence

from msgspec import Struct, field
from rich.cells import cell_len

from lmchat.domain.candidate import (
    Arrival,
    Finding,
    FindingRows,
    Grade,
    Group,
    Installed,
    Need,
    PortHolder,
    Remembered,
    choose,
    is_forbidden,
)
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, Verdict
from lmchat.errors import LMChatError
from lmchat.text import safe_line

LIMIT_S = 5.0
"""Of each check that does not limit itself: as long as looking for servers may take."""
STEP_IS_TOLD = (Grade.FAULT, Grade.WARNING, Grade.NOT_TRIED)
Paint = Callable[[str, Grade | None], str]
"""Gives a word the colour of a grade; None makes a heading of it."""
_LEAST = 24
"""Columns below which nothing is wrapped any more."""


class Check(Struct, frozen=True, kw_only=True):
    """One check; a check that fails or hangs is a row of the report and stops none of the others."""

    check: str
    """Its name for scripts."""
    group: Group
    name: str
    """Its name for people, until and unless it tells more."""
    run: Callable[[], Awaitable[Sequence[Finding]]]
    """Looks, and changes nothing that it does not put back."""
    step_if_late: str = "Look at what it waits for: a disk, a network folder or a program that hangs"
    grade_if_late: Grade = Grade.FAULT
    limit_s: float | None = None
    """How long it may take, where that is not as for all."""


class Examination(Struct, frozen=True, kw_only=True):
    """All checks of a run, and what a report of them needs."""

    checks: tuple[Check, ...]
    note_error: Callable[[BaseException], str]
    """Logs an unexpected error; returns its id in the log."""
    home: str = ""
    """The user's folder, which a report does not name."""

    async def run(
        self, *, limit_s: float = LIMIT_S
    ) -> AsyncGenerator[tuple[Check, tuple[Finding, ...]], None]:
        """Run all checks at once and yield each with its rows as it ends; close it with `aclosing`."""
        tasks = [
            asyncio.create_task(self._run(check, limit_s), name=f"check {check.check}")
            for check in self.checks
        ]
        try:
            for task in asyncio.as_completed(tasks):
                yield await task
        finally:
            for started in tasks:
                started.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, check: Check, limit_s: float) -> tuple[Check, tuple[Finding, ...]]:
        limit_s = limit_s if check.limit_s is None else check.limit_s
        row = FindingRows(check.group)
        try:
            async with asyncio.timeout(limit_s):
                return check, tuple(await check.run())
        except TimeoutError:
            words = f"The check did not end within {limit_s:g} s."
            found = row(check.check, check.name, check.grade_if_late, words, check.step_if_late)
        except LMChatError as error:
            found = row(check.check, check.name, Grade.FAULT, error.message, error.hint)
        except Exception as error:  # noqa: BLE001 - a report with one row less is better than none
            words = f"The check itself failed ({type(error).__name__}, error {self.note_error(error)})."
            step = "The log file has the details under this id"
            found = row(check.check, check.name, Grade.FAULT, words, step)
        return check, (found,)

    def in_order(self, found: Mapping[str, Sequence[Finding]]) -> list[Finding]:
        """Return all rows in the order of the headings, and below a heading in that of the checks."""
        rows = [row for check in self.checks for row in found.get(check.check, ())]
        groups = list(Group)
        return sorted(rows, key=lambda row: groups.index(row.group))


def worst(findings: Sequence[Finding]) -> Grade:
    """Return how well all is together: a fault, else a warning, else ok."""
    grades = {finding.grade for finding in findings}
    return next((grade for grade in (Grade.FAULT, Grade.WARNING) if grade in grades), Grade.OK)


def report_text(
    findings: Sequence[Finding],
    *,
    home: str = "",
    width: int | None = None,
    paint: Paint = lambda text, _grade: text,
) -> str:
    """Return the rows below their headings and a last line that sums up.

    `home` is written as `~`; a `width` of None leaves each row on one line.
    """
    grades = max((len(one.grade) for one in findings), default=0)
    names = max((cell_len(safe_line(one.name)) for one in findings), default=0)
    indent = 2 + grades + 2 + names + 2
    lines: list[str] = []
    for group in Group:
        rows = [one for one in findings if one.group is group]
        if rows:
            lines += ["", paint(group.value, None)] if lines else [paint(group.value, None)]
        for one in rows:
            name, cause = safe_line(one.name), without_home(safe_line(one.cause), home)
            words = _wrapped(cause, indent, width)
            if one.next_step and one.grade in STEP_IS_TOLD:
                words += _wrapped(f"next: {without_home(safe_line(one.next_step), home)}", indent, width)
            grade = paint(one.grade.value, one.grade) + " " * (grades - len(one.grade))
            lines.append(f"  {grade}  {name}{' ' * (names - cell_len(name))}  {words[0]}")
            lines += [" " * indent + line for line in words[1:]]
    return "\n".join([*lines, "", summary(findings)])


def _wrapped(text: str, indent: int, width: int | None) -> list[str]:
    room = 0 if width is None else width - indent
    if room < _LEAST:
        return [text]
    return textwrap.wrap(text, room, break_long_words=False, break_on_hyphens=False) or [""]


def summary(findings: Sequence[Finding]) -> str:
    """Return how many faults and warnings there are."""
    counts = _counts(findings)
    told = [
        f"{counts[grade]} {word}{'' if counts[grade] == 1 else 's'}"
        for grade, word in ((Grade.FAULT, "fault"), (Grade.WARNING, "warning"))
        if counts[grade]
    ]
    return f"{', '.join(told) or 'no faults, no warnings'} in {len(findings)} checks"


def report_json(findings: Sequence[Finding], timestamp: str) -> dict[str, object]:
    """Return the document of `--json`; its keys are stable."""
    grade = worst(findings)
    return {
        "healthy": grade is not Grade.FAULT,
        "verdict": grade,
        "counts": {one.replace(" ", "_"): count for one, count in _counts(findings).items()},
        "checks": [
            {
                "check": one.check,
                "group": one.group,
                "name": one.name,
                "verdict": one.grade,
                "cause": one.cause,
                "next_step": one.next_step or None,
                "facts": dict(one.facts),
            }
            for one in findings
        ],
        "timestamp": timestamp,
    }


def _counts(findings: Sequence[Finding]) -> dict[Grade, int]:
    return {grade: sum(one.grade is grade for one in findings) for grade in Grade}


def without_home(text: str, home: str) -> str:
    """Write the user's folder as `~`, which a shell takes too; its name need not be told to others."""
    home = home.rstrip("/")
    if not home:
        return text
    quoted = text.replace(f"'{home}/", "~/'")
    return re.sub(rf"(?<![\w./-]){re.escape(home)}(?![\w.-])", "~", quoted)


_row = FindingRows(Group.SERVERS)
_UNEASY = (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED, Verdict.HOST_BLOCKED, Verdict.SERVER_ERROR)
_IN_THE_WAY = (Verdict.NOT_AN_LLM, Verdict.TIMED_OUT, Verdict.SERVER_ERROR)
_CAUSES = {
    Verdict.READY: "It answers at {place}{latency}; {models}.",
    Verdict.LOADING: "It answers at {place}{latency} and loads a model.",
    Verdict.NO_MODEL: "It answers at {place}{latency}; no model is loaded, {downloaded}.",
    Verdict.NEEDS_KEY: "It answers at {place} and wants a key; none is known.",
    Verdict.KEY_REJECTED: "It answers at {place} and rejects the key.",
    Verdict.HOST_BLOCKED: "It answers at {place} and does not accept the host name {host}.",
    Verdict.SERVER_OFF: "The program runs, but its server is off: nothing answers at {place}.",
    Verdict.SERVER_ERROR: "It answers at {place} with an error: {words}.",
    Verdict.NOT_AN_LLM: "What answers at {place} is no model server{seen}.",
    Verdict.TIMED_OUT: "Something takes connections at {place} and does not answer in time.",
}
_MOST_NAMES = 3
_LONGEST_NAME = 60
_LONGEST_WORDS = 200
_MOST_MODELS = 1000
"""Most that the JSON form lists of one server."""


class Look(Struct, frozen=True, kw_only=True):
    """Result of a look at the servers of this machine."""

    candidates: tuple[Candidate, ...]
    holders: Mapping[int, PortHolder] = field(default_factory=dict)
    installed: tuple[Installed, ...] = ()
    model: str = ""
    remembered: Remembered = field(default_factory=Remembered)
    is_named: bool = False
    """Whether the user named the one server to use."""
    tool_to_see: str = ""
    """The command that shows who holds a port, with `PORT` in its place."""
    engine_step: str = ""
    """How a chat can be had without any server; empty where it cannot."""

    @property
    def arrival(self) -> Arrival:
        """Server and model that lmchat would begin with."""
        return choose(self.candidates, model=self.model, remembered=self.remembered, is_named=self.is_named)


def server_findings(look: Look) -> list[Finding]:
    """Return a row about a chat, one for each server, and one about host names."""
    arrival = look.arrival
    rows = [_chat(look, arrival)]
    rows += [_server(one, look, arrival) for one in look.candidates]
    return [*rows, _host_names(look)]


def _chat(look: Look, arrival: Arrival) -> Finding:
    chosen = arrival.candidate
    if arrival.need in (Need.NOTHING, Need.MODEL) and chosen is not None:
        model = arrival.target.model_id if arrival.target else ""
        place = f"{chosen.product} at {chosen.endpoint.url}"
        is_begun = bool(model) and chosen.verdict is Verdict.READY
        told = f"with {_short(model)} on {place}" if model else f"on {place}, once it has a model"
        return _row(
            "chat",
            "A chat",
            Grade.OK if is_begun else Grade.WARNING,
            f"It would begin {told}.",
            "" if is_begun else chosen.next_step or "Choose a model in lmchat (Ctrl+O)",
            endpoint=chosen.endpoint.url,
            model=_short(model, _LONGEST_WORDS) or None,
        )
    cause = "The server that was named cannot be used." if look.is_named else "No server can be chatted with."
    if arrival.need is Need.KEY and chosen is not None:
        cause = f"{chosen.product} at {chosen.endpoint.url} wants a key that works."
    grade = Grade.WARNING if look.engine_step and not look.is_named else Grade.FAULT
    return _row("chat", "A chat", grade, cause, _first_step(look, arrival), endpoint=None, model=None)


def _first_step(look: Look, arrival: Arrival) -> str:
    """Return the step that is nearest to a chat."""
    if arrival.candidate is not None:
        return _step_at(arrival.candidate)
    named = next((one for one in look.candidates if look.is_named and one.is_own), None)
    if named is not None:
        return named.next_step or "Start the server, or name another one with --endpoint URL"
    uneasy = next((one for one in look.candidates if one.verdict in (*_UNEASY, Verdict.SERVER_OFF)), None)
    if uneasy is not None:
        return _step_at(uneasy)
    if look.engine_step:
        return look.engine_step
    installed = next(iter(look.installed), None)
    return installed.start_words if installed else "Start a model server, or name one with --endpoint URL"


def _step_at(one: Candidate) -> str:
    """Return a step that says where it is done, unless it is a command or says so itself."""
    step = one.next_step
    return f"{one.product}: {step}" if step[:1].isupper() and one.product not in step else step


def _server(one: Candidate, look: Look, arrival: Arrival) -> Finding:
    installed = next((known for known in look.installed if known.product is one.product), None)
    holder = look.holders.get(one.endpoint.port) if one.endpoint.is_loopback else None
    step = one.next_step
    if one.verdict is Verdict.REFUSED and installed is not None and not one.is_own:
        step = installed.start_words
    if _is_in_the_way(one) and holder is not None and holder.pid is None and look.tool_to_see:
        step = f"{look.tool_to_see.replace('PORT', str(one.endpoint.port))} shows what it is"
    grade = _grade(one, arrival, is_installed=installed is not None)
    cause = _cause(one, holder, is_installed=installed is not None)
    return _row("server", _name(one), grade, cause, step, **_facts(one, holder, installed))


def _is_in_the_way(one: Candidate) -> bool:
    """Whether another program may hold the port of a server; one with a certificate is a server."""
    return one.verdict in _IN_THE_WAY and one.kind != "certificate"


def _name(one: Candidate) -> str:
    is_known = one.endpoint.is_loopback and not one.is_own
    return one.product.value if is_known else one.endpoint.netloc


def _grade(one: Candidate, arrival: Arrival, *, is_installed: bool) -> Grade:
    has_chat = arrival.need in (Need.NOTHING, Need.MODEL)
    is_chosen = arrival.candidate is one
    if one.verdict is Verdict.READY:
        return Grade.OK
    if one.verdict.is_usable:
        return Grade.WARNING if is_chosen or one.is_own else Grade.OK
    if one.is_own or one.verdict in _UNEASY:
        return Grade.WARNING if has_chat else Grade.FAULT
    is_near = one.verdict is not Verdict.REFUSED or is_installed
    return Grade.WARNING if is_near and not has_chat else Grade.ABSENT


def _cause(one: Candidate, holder: PortHolder | None, *, is_installed: bool) -> str:
    if one.verdict is Verdict.REFUSED:
        return _refused(one, is_installed=is_installed)
    if one.kind == "certificate":
        return _short(one.detail, _LONGEST_WORDS)
    words = _CAUSES[one.verdict].format(
        place=one.endpoint.url,
        latency="" if one.latency_ms is None else f" in {max(one.latency_ms, 1):.0f} ms",
        models=_models(one),
        downloaded=_downloaded(one),
        host=one.endpoint.host,
        words=_short(one.detail, _LONGEST_WORDS).rstrip(".") or "no words",
        seen=f": {_short(one.seen, _LONGEST_WORDS)}" if one.seen else "",
    )
    is_held = _is_in_the_way(one) and holder is not None
    return (
        f"{words} Port {one.endpoint.port} is held by {_short(holder.words)}."
        if is_held and holder
        else words
    )


def _refused(one: Candidate, *, is_installed: bool) -> str:
    if is_forbidden(one):
        return f"It was not asked: {_short(one.detail, _LONGEST_WORDS)}."
    if one.endpoint.is_loopback and is_installed and not one.is_own:
        return f"It is installed, but nothing answers at {one.endpoint.url}."
    return f"Nothing answers at {one.endpoint.url}."


def _models(one: Candidate) -> str:
    talking = [model for model in one.models if not model.is_embedding]
    loaded = [model.model_id for model in talking if model.state is LoadState.LOADED]
    if not loaded:
        return f"it has {_listed([model.model_id for model in talking])}"
    return f"{_listed(loaded)} {'is' if len(loaded) == 1 else 'are'} loaded"


def _listed(names: Sequence[str]) -> str:
    rest = len(names) - _MOST_NAMES
    shown = ", ".join(_short(name) for name in names[:_MOST_NAMES])
    return shown + (f" and {rest} more" if rest > 0 else "") or "no model"


def _short(words: str, limit: int = _LONGEST_NAME) -> str:
    """Return what a server calls itself or says, at a length that leaves a report readable."""
    return safe_line(words, limit=limit)


def _downloaded(one: Candidate) -> str:
    count = sum(not model.is_embedding for model in one.models)
    return f"though it has {count}" if count else "and it has none"


def _host_names(look: Look) -> Finding:
    blocked = [one for one in look.candidates if one.verdict is Verdict.HOST_BLOCKED]
    answering = [one for one in look.candidates if one.verdict.is_server]
    has_chat = look.arrival.need in (Need.NOTHING, Need.MODEL)
    grade, cause, step = Grade.OK, "No server refuses the name that it is called by.", ""
    if not answering:
        grade, cause = Grade.NOT_TRIED, "No model server answers that could refuse a name."
    if blocked:
        grade = Grade.WARNING if has_chat else Grade.FAULT
        names = ", ".join(f"{one.product}: {one.endpoint.host}" for one in blocked)
        cause, step = (
            f"A server does not accept the host name it is called by ({names}).",
            blocked[0].next_step,
        )
    urls = [one.endpoint.url for one in blocked]
    return FindingRows(Group.NETWORK, "network.")(
        "host_names", "Host names", grade, cause, step, blocked=urls
    )


def _ids(models: Sequence[ModelInfo]) -> list[str]:
    return [_short(model.model_id, _LONGEST_WORDS) for model in models[:_MOST_MODELS]]


def _facts(one: Candidate, holder: PortHolder | None, installed: Installed | None) -> dict[str, object]:
    held = None
    if holder is not None:
        held = {"program": holder.program or None, "pid": holder.pid, "user": holder.user or None}
    return {
        "url": one.endpoint.url,
        "product": one.product,
        "verdict": one.verdict,
        "latency_ms": None if one.latency_ms is None else round(one.latency_ms, 1),
        "models": _ids(one.models),
        "loaded": _ids([model for model in one.models if model.state is LoadState.LOADED]),
        "is_own": one.is_own,
        "installed": (installed.program or installed.folder) if installed else None,
        "port_held_by": held,
    }


_key_row = FindingRows(Group.KEYS)


def key_findings(
    candidates: Sequence[Candidate],
    sources: Mapping[str, str],
    stored: Sequence[str],
    warnings: Sequence[str],
    *,
    has_chat: bool,
) -> list[Finding]:
    """Return a row for each server that wants or gets a key, and one about stored keys.

    `sources` says where the key of an origin comes from; `has_chat` whether a chat works without one.
    """
    rows = [
        _key_finding(one, sources.get(one.endpoint.origin, ""), stored, has_chat=has_chat)
        for one in candidates
    ]
    found = [row for row in rows if row is not None]
    found += [_key_row("key", "Keys", Grade.WARNING, words, state="warning") for words in warnings]
    return [*found, _stored(stored, is_alone=not found)]


def _key_finding(one: Candidate, source: str, stored: Sequence[str], *, has_chat: bool) -> Finding | None:
    name, bad = one.product.value, Grade.WARNING if has_chat else Grade.FAULT
    facts = {"url": one.endpoint.url, "source": source or None}
    if one.verdict is Verdict.KEY_REJECTED:
        cause = f"{one.endpoint.url} rejects the key from {source}."
        return _key_row("key", name, bad, cause, one.next_step, state="rejected", **facts)
    if one.verdict is Verdict.NEEDS_KEY:
        others = _near(one.endpoint, stored)
        told = f" One is stored for {', '.join(others)}, which is another address." if others else ""
        cause = f"{one.endpoint.url} wants a key, and none is known for it.{told}"
        return _key_row("key", name, bad, cause, one.next_step, state="missing", **facts)
    if source and one.verdict.is_usable:
        cause = f"{one.endpoint.url} takes the key from {source}."
        return _key_row("key", name, Grade.OK, cause, state="works", **facts)
    return None


def _stored(stored: Sequence[str], *, is_alone: bool) -> Finding:
    told = f"Stored for {', '.join(stored)}." if stored else "None is stored."
    if is_alone and not stored:
        told = "None is stored, and no server asks for one."
    return _key_row("key", "Stored", Grade.OK, told, state="stored", origins=list(stored))


def _near(endpoint: Endpoint, stored: Sequence[str]) -> list[str]:
    """Return other addresses of the same host that a key is stored for: a port that was changed."""
    return [origin for origin in stored if origin != endpoint.origin and _is_same_host(origin, endpoint)]


def _is_same_host(origin: str, endpoint: Endpoint) -> bool:
    try:
        other = Endpoint.parse(origin)
    except LMChatError:
        return False
    return other.host == endpoint.host or (other.is_loopback and endpoint.is_loopback)
