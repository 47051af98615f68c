"""Rows of the doctor's report about servers, the chat that would begin, and API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from msgspec import Struct, field

from lmchat.config.state import State
from lmchat.doctor.report import CheckResult, Grade, Group
from lmchat.safe_text import safe_line
from lmchat.servers.discovery.choose_model import Missing, TargetChoice, choose
from lmchat.servers.discovery.launcher import Installed
from lmchat.servers.discovery.probe_result import WANTS_KEY, ProbeResult, Verdict
from lmchat.servers.model import LoadState

_ANSWERS_BUT_REFUSES = (
    Verdict.NEEDS_KEY,
    Verdict.KEY_REJECTED,
    Verdict.HOST_BLOCKED,
    Verdict.SERVER_ERROR,
)
_NAME_A_SERVER = "Start a model server, or name one with --endpoint URL"
_MAX_NAMES = 3  # models that a row names
_NAME_CHARS = 60


class Detected(Struct, frozen=True, kw_only=True):
    """Probed servers, and what else the report needs to know about them."""

    results: tuple[ProbeResult, ...]
    installed: tuple[Installed, ...] = ()
    model: str = ""  # model that the user named
    state: State = field(default_factory=State)
    is_named: bool = False  # whether the user named the one server to use
    engine_step: str = ""  # how to chat without any server; empty where the engine is not installed
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where the API key for a server comes from, by origin, such as http://localhost:1234."""
    stored: Sequence[str] = ()  # origins that a key is stored for
    warnings: Sequence[str] = ()  # sentences about keys that could not be read


def server_findings(detected: Detected) -> list[CheckResult]:
    """Return the row about the chat, one row for each probed address, and the rows about keys.

    A server that cannot be used is less bad where a chat can begin with another one.
    """
    choice = choose(
        detected.results, model=detected.model, state=detected.state, is_named=detected.is_named
    )
    has_chat = choice.missing in (Missing.NOTHING, Missing.MODEL)
    problem = Grade.WARNING if has_chat else Grade.FAULT
    rows = [_chat_row(detected, choice)]
    for probed in detected.results:
        verdict = probed.verdict
        installed = [one for one in detected.installed if one.product == probed.product]
        is_away = verdict is Verdict.REFUSED and (probed.is_own or not installed)
        if verdict.is_usable:
            is_to_be_used = probed.is_own or choice.probed is probed
            is_unready = verdict is not Verdict.READY and is_to_be_used
            grade = Grade.WARNING if is_unready else Grade.OK
        elif probed.is_own or verdict in _ANSWERS_BUT_REFUSES:
            grade = problem
        else:
            grade = Grade.ABSENT if has_chat or is_away else Grade.WARNING

        cause, step = _cause(probed), probed.next_step
        if verdict is Verdict.REFUSED and not is_away:
            cause = f"It is installed, but nothing answers at {probed.endpoint.url}."
            step = installed[0].start_words
        is_usual_address = probed.endpoint.is_loopback and not probed.is_own
        name = probed.product if is_usual_address else probed.endpoint.netloc
        rows.append(CheckResult(Group.SERVERS, "server", name, grade, cause, step))
    return [*rows, *_key_rows(detected, problem)]


def _chat_row(detected: Detected, choice: TargetChoice) -> CheckResult:
    """Return the row about the chat that would begin now, or why no chat can begin.

    It is a fault if no chat can begin, or a warning if the built-in engine could be used instead.
    """
    row = partial(CheckResult, Group.SERVERS, "chat", "Chat")
    probed, target = choice.probed, choice.target
    if probed is not None and choice.missing is not Missing.KEY:
        model = safe_line(target.model_id, limit=_NAME_CHARS) if target else ""
        if model and probed.verdict is Verdict.READY:
            return row(Grade.OK, f"A chat would use {model} on {probed.name}.")
        cause = f"A chat would use {model or 'a model, when one is ready,'} on {probed.name}."
        return row(Grade.WARNING, cause, probed.next_step or "Choose a model with Ctrl+O or -m")

    cause = "No server is ready for a chat."
    if probed is not None:
        cause = f"{probed.name} needs a valid API key."
    elif detected.is_named:
        cause = "The server you named cannot be used."
    grade = Grade.WARNING if detected.engine_step and not detected.is_named else Grade.FAULT
    return row(grade, cause, _first_step(detected))


def _first_step(detected: Detected) -> str:
    """Return the step after which a chat is most likely to begin."""
    for probed in detected.results:
        is_one_step_away = probed.verdict in (*_ANSWERS_BUT_REFUSES, Verdict.SERVER_OFF)
        if detected.is_named:
            is_one_step_away = probed.is_own
        if is_one_step_away:
            step = probed.next_step or _NAME_A_SERVER
            # a command, such as "ollama serve", stays as it is
            needs_name = step[:1].isupper() and probed.product not in step
            return f"{probed.product}: {step}" if needs_name else step
    if detected.is_named:
        return "Correct its address"
    if detected.engine_step:
        return detected.engine_step
    return detected.installed[0].start_words if detected.installed else _NAME_A_SERVER


def _cause(probed: ProbeResult) -> str:
    """Return a sentence about what answers at an address, with latency and models."""
    if probed.is_forbidden:
        return f"It was not checked: {safe_line(probed.detail).rstrip('.')}."
    latency_ms = probed.latency_ms
    latency = "" if latency_ms is None else f" in {max(latency_ms, 1):.0f} ms"
    cause = probed.sentence(probed.name, latency=latency)
    if probed.verdict not in (Verdict.READY, Verdict.NO_MODEL) or not probed.models:
        return cause
    if not probed.chat_models:
        return f"{cause.removesuffix('.')}; none of its models can chat."
    loaded = [model for model in probed.chat_models if model.state is LoadState.LOADED]
    names = [safe_line(model.model_id, limit=_NAME_CHARS) for model in loaded or probed.chat_models]
    listed = ", ".join(names[:_MAX_NAMES])
    more = f" and {len(names) - _MAX_NAMES} more" if len(names) > _MAX_NAMES else ""
    return f"{cause.removesuffix('.')}; {'loaded' if loaded else 'models'}: {listed}{more}."


def _key_rows(detected: Detected, problem: Grade) -> list[CheckResult]:
    """Return the rows about API keys.

    There is one for each server that needs or has a key, one for each warning about keys that could
    not be read, and one about the stored keys.
    """
    row = partial(CheckResult, Group.KEYS, "key")
    rows: list[CheckResult] = []
    for probed in detected.results:
        url, product = probed.endpoint.url, probed.product
        source = detected.sources.get(probed.endpoint.origin, "")
        if probed.verdict in WANTS_KEY:
            verb = "needs an API key"  # the next step says if one was not sent, and why
            if probed.verdict is Verdict.KEY_REJECTED:
                verb = f"rejects the API key from {source}"
            rows.append(row(product, problem, f"{url} {verb}.", probed.next_step))
        elif source and probed.verdict.is_usable:
            rows.append(row(product, Grade.OK, f"{url} accepts the API key from {source}."))
    rows += [row("Keys", Grade.WARNING, words) for words in detected.warnings]
    stored = (
        f"Stored for {', '.join(detected.stored)}." if detected.stored else "No API key is stored."
    )
    return [*rows, row("Stored", Grade.OK, stored)]
