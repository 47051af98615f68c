"""The doctor: its checks, which run all at once, the report, and the rows about servers and keys."""

from __future__ import annotations

import asyncio
import inspect
import re
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial
from itertools import groupby
from textwrap import TextWrapper
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict
from rich.cells import cell_len

from lmchat.domain.finding import Finding, Grade, Group
from lmchat.domain.program import Installed, PortHolder
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Candidate, LoadState, ModelInfo, Verdict
from lmchat.domain.target_choice import Need, TargetChoice, choose
from lmchat.errors import LMChatError
from lmchat.text import safe_line
from lmchat.threads import run_abandonable

LIMIT_S = 5.0  # of a check, by default
_STEP_IF_LATE = "Check the disk, network folder or program it waits for"
STEP_IS_TOLD = (Grade.FAULT, Grade.WARNING, Grade.NOT_TRIED)
Findings = Sequence[Finding]
Paint = Callable[
    [str, Grade | None], str
]  # gives a word the colour of a grade; None is for headings
_ENDLESS = 1_000_000  # width at which each row stays on one line


class Check(Struct, frozen=True):
    """Row of the table of checks; one that fails or hangs is a row of the report and stops no other."""

    check: str  # name for scripts
    group: Group
    name: str  # name for people, until there are findings
    run: Callable[
        [], Any
    ]  # returns `Findings`: a coroutine function, or one that blocks and gets a thread
    step_if_late: str = ""  # of a check that may take long; any other that is late is a fault
    limit_s: float = LIMIT_S


class Examination(Struct, frozen=True, kw_only=True):
    """All checks of a run, and what a report of them needs."""

    checks: tuple[Check, ...]
    note_error: Callable[[BaseException], str]  # logs an unexpected error and returns its id
    home: str = ""  # the user's folder, which a report writes as `~`

    async def run(self) -> AsyncGenerator[tuple[Check, Findings], None]:
        """Run all checks at once and yield each with its rows as it ends; close it with `aclosing`."""
        tasks = [
            asyncio.create_task(self._run(check), name=f"check {check.check}")
            for check in self.checks
        ]
        try:
            for task in asyncio.as_completed(tasks):
                yield await task
        finally:
            for started in tasks:
                started.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _run(self, check: Check) -> tuple[Check, Findings]:
        grade = Grade.FAULT
        try:
            async with asyncio.timeout(check.limit_s):
                if inspect.iscoroutinefunction(check.run):
                    return check, await check.run()
                return check, await run_abandonable(check.run)
        except TimeoutError:
            grade = Grade.NOT_TRIED if check.step_if_late else Grade.FAULT
            step = check.step_if_late or _STEP_IF_LATE
            cause = f"The check did not finish within {check.limit_s:g} s."
        except LMChatError as error:
            cause, step = error.message, error.hint
        except Exception as error:  # noqa: BLE001 - a report with one row less is better than none
            cause = (
                f"The check itself failed ({type(error).__name__}, error {self.note_error(error)})."
            )
            step = "The log file has details under this id"
        return check, [Finding(check.group, check.check, check.name, grade, cause, step)]

    def in_order(self, found: Mapping[str, Findings]) -> list[Finding]:
        """Return all rows in the order of headings and checks."""
        rows = [row for check in self.checks for row in found.get(check.check, ())]
        return sorted(rows, key=lambda row: list(Group).index(row.group))


def worst(findings: Findings) -> Grade:
    """Return the overall grade: fault, else a warning, else ok."""
    grades = {finding.grade for finding in findings}
    return next((grade for grade in (Grade.FAULT, Grade.WARNING) if grade in grades), Grade.OK)


def report_text(
    findings: Findings,
    *,
    home: str = "",
    width: int = _ENDLESS,
    paint: Paint = lambda text, _grade: text,
) -> str:
    """Return the rows below their headings and a last line that sums up."""
    grades = max((len(one.grade.label) for one in findings), default=0)
    names = max((cell_len(safe_line(one.name)) for one in findings), default=0)
    blank = " " * (2 + grades + 2 + names + 2)
    wrapper = TextWrapper(
        width, subsequent_indent=blank, break_long_words=False, break_on_hyphens=False
    )
    lines: list[str] = []
    for group, rows in groupby(findings, lambda one: one.group):
        lines += [*([""] if lines else []), paint(group.value, None)]
        for one in rows:
            name = safe_line(one.name)
            wrapper.initial_indent = (
                f"  {one.grade.label:<{grades}}  {name}{' ' * (names - cell_len(name))}  "
            )
            first, *more = wrapper.wrap(without_home(safe_line(one.cause), home)) or [
                wrapper.initial_indent
            ]
            lines += [first.replace(one.grade.label, paint(one.grade.label, one.grade), 1), *more]
            if one.next_step and one.grade in STEP_IS_TOLD:
                wrapper.initial_indent = blank
                lines += wrapper.wrap(without_home(safe_line(f"next: {one.next_step}"), home))
    return "\n".join([*lines, "", summary(findings)])


def summary(findings: Findings) -> str:
    """Return how many problems and warnings there are."""
    counts = _counts(findings)
    words = [
        f"{counts[grade]} {grade.label}{'' if counts[grade] == 1 else 's'}"
        for grade in (Grade.FAULT, Grade.WARNING)
        if counts[grade]
    ]
    return f"{', '.join(words) or 'no problems, no warnings'} in {len(findings)} checks"


def report_json(findings: Findings, timestamp: str) -> dict[str, object]:
    """Return the document of `--json`; its keys are stable."""
    return {
        "healthy": worst(findings) is not Grade.FAULT,
        "verdict": worst(findings),
        "counts": {grade.replace(" ", "_"): count for grade, count in _counts(findings).items()},
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


def _counts(findings: Findings) -> dict[Grade, int]:
    return {grade: sum(one.grade is grade for one in findings) for grade in Grade}


def without_home(text: str, home: str) -> str:
    """Write the user's folder as `~`, which a shell takes too; its name need not be told to others."""
    home = home.rstrip("/")
    if not home:
        return text
    quoted = text.replace(f"'{home}/", "~/'")
    return re.sub(rf"(?<![\w./-]){re.escape(home)}(?![\w.-])", "~", quoted)


_row = partial(Finding, Group.SERVERS)
_UNEASY = (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED, Verdict.HOST_BLOCKED, Verdict.SERVER_ERROR)
_IN_THE_WAY = (Verdict.NOT_AN_LLM, Verdict.TIMED_OUT, Verdict.SERVER_ERROR)
_CAUSES = {
    Verdict.READY: "It answers at {place}{latency}; {models}.",
    Verdict.LOADING: "It answers at {place}{latency} and loads a model.",
    Verdict.NO_MODEL: "It answers at {place}{latency}; no model is loaded, {models}.",
    Verdict.NEEDS_KEY: "It answers at {place} and needs an API key; none is set.",
    Verdict.KEY_REJECTED: "It answers at {place} and rejects the API key.",
    Verdict.HOST_BLOCKED: "It answers at {place} and does not accept the host name {host}.",
    Verdict.SERVER_OFF: "The program runs, but its server is off: nothing answers at {place}.",
    Verdict.SERVER_ERROR: "It answers at {place} with an error: {words}.",
    Verdict.NOT_AN_LLM: "The program at {place} is not a model server{seen}.",
    Verdict.REFUSED: "Nothing answers at {place}.",
    Verdict.TIMED_OUT: "A program accepts connections at {place} but does not answer in time.",
}
_NAME_A_SERVER = "Start a model server, or name one with --endpoint URL"
_MOST_NAMES = 3
_LONGEST_NAME = 60
_LONGEST_WORDS = 200


class Detected(Struct, frozen=True, kw_only=True):
    """Detected servers of this machine, and what the report needs to know beside them."""

    candidates: tuple[Candidate, ...]
    holders: Mapping[int, PortHolder] = field(default_factory=dict)
    installed: tuple[Installed, ...] = ()
    model: str = ""
    remembered: Remembered = field(default_factory=Remembered)
    is_named: bool = False  # whether the user named the one server to use
    engine_step: str = ""  # how to chat without any server; empty where the engine is not installed
    sources: Mapping[str, str] = field(default_factory=dict)  # of keys, by origin
    stored: Sequence[str] = ()  # origins that a key is stored for
    warnings: Sequence[str] = ()  # sentences about keys that could not be read

    @property
    def arrival(self) -> TargetChoice:
        return choose(
            self.candidates, model=self.model, remembered=self.remembered, is_named=self.is_named
        )

    @property
    def has_chat(self) -> bool:
        return self.arrival.need in (Need.NOTHING, Need.MODEL)


def server_findings(detected: Detected) -> list[Finding]:
    """Return a row about a chat, one for each server, and those about keys."""
    return [
        _chat(detected),
        *(_server(one, detected) for one in detected.candidates),
        *_keys(detected),
    ]


def _chat(detected: Detected) -> Finding:
    row, chosen, model = partial(_row, "chat", "Chat"), detected.arrival.candidate, ""
    grade = Grade.WARNING if detected.engine_step and not detected.is_named else Grade.FAULT
    cause = (
        "The server you named cannot be used."
        if detected.is_named
        else "No server is ready for a chat."
    )
    facts: dict[str, object] = {"endpoint": None, "model": None}
    if chosen is None:
        return row(grade, cause, _first_step(detected), facts)
    place = f"{chosen.product} at {chosen.endpoint.url}"
    if not detected.has_chat:
        return row(grade, f"{place} needs a valid API key.", _first_step(detected), facts)
    if detected.arrival.target is not None:
        model = _short(detected.arrival.target.model_id)
    facts = {"endpoint": chosen.endpoint.url, "model": model or None}
    if model and chosen.verdict is Verdict.READY:
        return row(Grade.OK, f"A chat would use {model} on {place}.", "", facts)
    cause = f"A chat would use {model or 'a model, when one is ready,'} on {place}."
    return row(Grade.WARNING, cause, chosen.next_step or "Choose a model with Ctrl+O or -m", facts)


def _first_step(detected: Detected) -> str:
    """Return the step that is nearest to a chat; it says where it is done, unless it is a command."""
    near = [one for one in detected.candidates if one.verdict in (*_UNEASY, Verdict.SERVER_OFF)]
    if detected.is_named:
        near = [one for one in detected.candidates if one.is_own]
        if not near:
            return "Correct its address"
    best = detected.arrival.candidate or next(iter(near), None)
    if best is not None:
        step = best.next_step or _NAME_A_SERVER
        return (
            f"{best.product}: {step}" if step[:1].isupper() and best.product not in step else step
        )
    return detected.engine_step or (
        detected.installed[0].start_words if detected.installed else _NAME_A_SERVER
    )


def _server(one: Candidate, detected: Detected) -> Finding:
    here = (
        known for known in detected.installed if known.product is one.product and not one.is_own
    )
    installed = next(here, None)
    holder = detected.holders.get(one.endpoint.port) if one.endpoint.is_loopback else None
    others = "".join(f" or at port {port}" for port in one.other_ports)
    cause = _CAUSES[one.verdict].format(
        place=f"{one.endpoint.url}{others}",
        latency="" if one.latency_ms is None else f" in {max(one.latency_ms, 1):.0f} ms",
        models=_models(one),
        host=one.endpoint.host,
        words=_short(one.detail, _LONGEST_WORDS).rstrip(".") or "no message",
        seen=f": {_short(one.seen, _LONGEST_WORDS)}" if one.seen else "",
    )
    if one.kind == "certificate":
        cause = _short(one.detail, _LONGEST_WORDS)
    elif one.is_forbidden:
        cause = f"It was not checked: {_short(one.detail, _LONGEST_WORDS)}."
    elif one.verdict in _IN_THE_WAY and holder is not None:
        cause += (
            f" Port {one.endpoint.port} is used by {_short(holder.program)} (process {holder.pid})."
        )
    elif one.key_withheld and not one.verdict.is_usable:
        cause = f"It answers at {one.endpoint.url} and needs an API key; the one that is set was not sent."
    step, grade = one.next_step, _grade(one, detected, is_installed=installed is not None)
    if one.verdict is Verdict.REFUSED and installed is not None:
        cause = f"It is installed, but nothing answers at {one.endpoint.url}{others}."
        step = installed.start_words
    name = one.product.value if one.endpoint.is_loopback and not one.is_own else one.endpoint.netloc
    facts = {
        "url": one.endpoint.url,
        "product": one.product,
        "verdict": one.verdict,
        "latency_ms": None if one.latency_ms is None else round(one.latency_ms, 1),
        "port_held_by": holder and asdict(holder),
    }
    return _row("server", name, grade, cause, step, facts)


def _grade(one: Candidate, detected: Detected, *, is_installed: bool) -> Grade:
    if one.verdict is Verdict.READY:
        return Grade.OK
    if one.verdict.is_usable:
        return Grade.WARNING if one.is_own or detected.arrival.candidate is one else Grade.OK
    if one.is_own or one.verdict in _UNEASY:
        return Grade.WARNING if detected.has_chat else Grade.FAULT
    is_near = one.verdict is not Verdict.REFUSED or is_installed
    return Grade.WARNING if is_near and not detected.has_chat else Grade.ABSENT


def _models(one: Candidate) -> str:
    talking = one.chat_models
    for state in (LoadState.LOADED, LoadState.ASLEEP):
        if ready := [model for model in talking if model.state is state]:
            return f"{_names(ready)} {'are' if ready[1:] else 'is'} {state}"
    if one.models and not talking:
        return f"it has no model that can chat, only {_names(one.models)}"
    return f"it has {_names(talking)}"


def _names(models: Sequence[ModelInfo]) -> str:
    names = [_short(model.model_id) for model in models]
    words = ", ".join(names[:_MOST_NAMES]) or "no model"
    return words + (f" and {len(names) - _MOST_NAMES} more" if names[_MOST_NAMES:] else "")


def _short(words: str, limit: int = _LONGEST_NAME) -> str:
    """Return what a server calls itself or says, at a length that leaves a report readable."""
    return safe_line(words, limit=limit)


def _keys(detected: Detected) -> list[Finding]:
    row, rows = partial(Finding, Group.KEYS, "key"), []
    for one in detected.candidates:
        url, source = one.endpoint.url, detected.sources.get(one.endpoint.origin, "")
        grade, step = Grade.WARNING if detected.has_chat else Grade.FAULT, one.next_step
        if one.verdict is Verdict.KEY_REJECTED:
            state, cause = "rejected", f"{url} rejects the API key from {source}."
        elif one.verdict is Verdict.NEEDS_KEY:
            lacking = (
                "the one that is set was not sent" if one.key_withheld else "none is set for it"
            )
            state, cause = "missing", f"{url} needs an API key, and {lacking}."
        elif one.key_withheld and one.verdict.is_usable:
            state, cause, grade, step = "withheld", one.key_withheld, Grade.WARNING, ""
        elif source and one.verdict.is_usable:
            state, cause, grade, step = (
                "works",
                f"{url} accepts the API key from {source}.",
                Grade.OK,
                "",
            )
        else:
            continue
        facts = {"url": url, "source": source or None, "state": state}
        rows.append(row(one.product.value, grade, cause, step, facts))
    rows += [
        row("Keys", Grade.WARNING, words, "", {"state": "warning"}) for words in detected.warnings
    ]
    cause = (
        f"Stored for {', '.join(detected.stored)}." if detected.stored else "No API key is stored."
    )
    return [
        *rows,
        row("Stored", Grade.OK, cause, "", {"state": "stored", "origins": list(detected.stored)}),
    ]
