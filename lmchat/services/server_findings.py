"""Rows of the doctor's report about servers, the chat that would begin, and API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field
from msgspec.structs import asdict

from lmchat.domain.finding import Finding, Grade, Group, Subject
from lmchat.domain.program import Installed, PortHolder
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Candidate, LoadState, ModelInfo, Verdict
from lmchat.domain.target_choice import Missing, TargetChoice, choose
from lmchat.text import safe_line

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
    def choice(self) -> TargetChoice:
        return choose(
            self.candidates,
            model=self.model,
            remembered=self.remembered,
            is_named=self.is_named,
        )

    @property
    def has_chat(self) -> bool:
        return self.choice.missing in (Missing.NOTHING, Missing.MODEL)

    def holder_of(self, candidate: Candidate) -> PortHolder | None:
        """Return the program at a port of this machine."""
        endpoint = candidate.endpoint
        return self.holders.get(endpoint.port) if endpoint.is_loopback else None

    def installed_as(self, candidate: Candidate) -> Installed | None:
        """Return the installed product that a candidate is, unless the user named an address."""
        if candidate.is_own:
            return None
        for known in self.installed:
            if known.product is candidate.product:
                return known
        return None


def server_findings(detected: Detected) -> list[Finding]:
    """Return a row about a chat, one for each server, and those about keys."""
    servers = [_server(candidate, detected) for candidate in detected.candidates]
    return [_chat(detected), *servers, *_keys(detected)]


def _chat(detected: Detected) -> Finding:
    row = Subject(Group.SERVERS, "chat", "Chat")
    can_use_engine = bool(detected.engine_step) and not detected.is_named
    bad = Grade.WARNING if can_use_engine else Grade.FAULT
    nothing = {"endpoint": None, "model": None}

    candidate = detected.choice.candidate
    if candidate is None:
        cause = "No server is ready for a chat."
        if detected.is_named:
            cause = "The server you named cannot be used."
        return row.graded(bad, cause, _first_step(detected), facts=nothing)

    place = f"{candidate.product} at {candidate.endpoint.url}"
    if not detected.has_chat:
        cause = f"{place} needs a valid API key."
        return row.graded(bad, cause, _first_step(detected), facts=nothing)

    target = detected.choice.target
    model = "" if target is None else _short(target.model_id)
    facts = {"endpoint": candidate.endpoint.url, "model": model or None}
    if model and candidate.verdict is Verdict.READY:
        return row.ok(f"A chat would use {model} on {place}.", facts=facts)
    cause = f"A chat would use {model or 'a model, when one is ready,'} on {place}."
    step = candidate.next_step or "Choose a model with Ctrl+O or -m"
    return row.warning(cause, step, facts=facts)


def _first_step(detected: Detected) -> str:
    """Return the step that is nearest to a chat."""
    near = [candidate for candidate in detected.candidates if _is_near(candidate, detected)]
    if detected.is_named and not near:
        return "Correct its address"
    if detected.choice.candidate is not None:
        return _step_at(detected.choice.candidate)
    if near:
        return _step_at(near[0])
    if detected.engine_step:
        return detected.engine_step
    return detected.installed[0].start_words if detected.installed else _NAME_A_SERVER


def _is_near(candidate: Candidate, detected: Detected) -> bool:
    if detected.is_named:
        return candidate.is_own
    return candidate.verdict in (*_UNEASY, Verdict.SERVER_OFF)


def _step_at(candidate: Candidate) -> str:
    """Return the next step, which says where it is done, unless it is a command."""
    step = candidate.next_step or _NAME_A_SERVER
    is_sentence = step[:1].isupper()
    return f"{candidate.product}: {step}" if is_sentence and candidate.product not in step else step


def _server(candidate: Candidate, detected: Detected) -> Finding:
    endpoint = candidate.endpoint
    installed = detected.installed_as(candidate)
    holder = detected.holder_of(candidate)

    step = candidate.next_step
    if candidate.verdict is Verdict.REFUSED and installed is not None:
        step = installed.start_words
    is_known_place = endpoint.is_loopback and not candidate.is_own
    name = candidate.product.value if is_known_place else endpoint.netloc
    latency_ms = candidate.latency_ms
    facts = {
        "url": endpoint.url,
        "product": candidate.product,
        "verdict": candidate.verdict,
        "latency_ms": None if latency_ms is None else round(latency_ms, 1),
        "port_held_by": None if holder is None else asdict(holder),
    }
    row = Subject(Group.SERVERS, "server", name)
    grade = _grade(candidate, detected, is_installed=installed is not None)
    cause = _cause(candidate, holder, is_installed=installed is not None)
    return row.graded(grade, cause, step, facts=facts)


def _cause(candidate: Candidate, holder: PortHolder | None, *, is_installed: bool) -> str:
    url = candidate.endpoint.url
    others = "".join(f" or at port {port}" for port in candidate.other_ports)
    detail = _short(candidate.detail, _LONGEST_WORDS)
    if candidate.verdict is Verdict.REFUSED and is_installed:
        return f"It is installed, but nothing answers at {url}{others}."
    if candidate.kind == "certificate":
        return detail
    if candidate.is_forbidden:
        return f"It was not checked: {detail}."

    latency_ms = candidate.latency_ms
    cause = _CAUSES[candidate.verdict].format(
        place=f"{url}{others}",
        latency="" if latency_ms is None else f" in {max(latency_ms, 1):.0f} ms",
        models=_models(candidate),
        host=candidate.endpoint.host,
        words=detail.rstrip(".") or "no message",
        seen=f": {_short(candidate.seen, _LONGEST_WORDS)}" if candidate.seen else "",
    )
    if candidate.verdict in _IN_THE_WAY and holder is not None:
        user = f"{_short(holder.program)} (process {holder.pid})"
        return f"{cause} Port {candidate.endpoint.port} is used by {user}."
    if candidate.key_withheld and not candidate.verdict.is_usable:
        return f"It answers at {url} and needs an API key; the one that is set was not sent."
    return cause


def _grade(candidate: Candidate, detected: Detected, *, is_installed: bool) -> Grade:
    verdict = candidate.verdict
    if verdict is Verdict.READY:
        return Grade.OK
    if verdict.is_usable:
        is_wanted = candidate.is_own or detected.choice.candidate is candidate
        return Grade.WARNING if is_wanted else Grade.OK
    if candidate.is_own or verdict in _UNEASY:
        return Grade.WARNING if detected.has_chat else Grade.FAULT
    is_there = verdict is not Verdict.REFUSED or is_installed
    return Grade.WARNING if is_there and not detected.has_chat else Grade.ABSENT


def _models(candidate: Candidate) -> str:
    talking = candidate.chat_models
    for state in (LoadState.LOADED, LoadState.ASLEEP):
        ready = [model for model in talking if model.state is state]
        if ready:
            return f"{_names(ready)} {'are' if len(ready) > 1 else 'is'} {state}"
    if candidate.models and not talking:
        return f"it has no model that can chat, only {_names(candidate.models)}"
    return f"it has {_names(talking)}"


def _names(models: Sequence[ModelInfo]) -> str:
    names = [_short(model.model_id) for model in models]
    words = ", ".join(names[:_MOST_NAMES]) or "no model"
    more = len(names) - _MOST_NAMES
    return f"{words} and {more} more" if more > 0 else words


def _short(words: str, limit: int = _LONGEST_NAME) -> str:
    """Return what a server calls itself or says, at a length that leaves a report readable."""
    return safe_line(words, limit=limit)


def _keys(detected: Detected) -> list[Finding]:
    keys = [_key(candidate, detected) for candidate in detected.candidates]
    rows = [row for row in keys if row is not None]
    unread = Subject(Group.KEYS, "key", "Keys")
    rows += [unread.warning(words, facts={"state": "warning"}) for words in detected.warnings]
    cause = "No API key is stored."
    if detected.stored:
        cause = f"Stored for {', '.join(detected.stored)}."
    facts = {"state": "stored", "origins": list(detected.stored)}
    return [*rows, Subject(Group.KEYS, "key", "Stored").ok(cause, facts=facts)]


def _key(candidate: Candidate, detected: Detected) -> Finding | None:
    """Return the row about the key of a server; None where none is needed or set."""
    url = candidate.endpoint.url
    source = detected.sources.get(candidate.endpoint.origin, "")
    bad = Grade.WARNING if detected.has_chat else Grade.FAULT

    def row(state: str, grade: Grade, cause: str, step: str = "") -> Finding:
        facts = {"url": url, "source": source or None, "state": state}
        key = Subject(Group.KEYS, "key", candidate.product.value)
        return key.graded(grade, cause, step, facts=facts)

    if candidate.verdict is Verdict.KEY_REJECTED:
        cause = f"{url} rejects the API key from {source}."
        return row("rejected", bad, cause, candidate.next_step)
    if candidate.verdict is Verdict.NEEDS_KEY:
        reason = "none is set for it"
        if candidate.key_withheld:
            reason = "the one that is set was not sent"
        cause = f"{url} needs an API key, and {reason}."
        return row("missing", bad, cause, candidate.next_step)
    if not candidate.verdict.is_usable:
        return None
    if candidate.key_withheld:
        return row("withheld", Grade.WARNING, candidate.key_withheld)
    if source:
        return row("works", Grade.OK, f"{url} accepts the API key from {source}.")
    return None
