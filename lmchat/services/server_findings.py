"""What a look at all known places means: for a chat, for each server, for the names of hosts; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from lmchat.domain.arrival import Arrival, Need, choose, is_forbidden
from lmchat.domain.finding import Finding, Grade, Group, Rows
from lmchat.domain.machine import Installed, PortHolder
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Candidate, LoadState, ModelInfo, Verdict
from lmchat.safe_text import safe_line

_row = Rows(Group.SERVERS)
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
    Verdict.NOT_AN_LLM: "What answers at {place} is no model server.",
    Verdict.TIMED_OUT: "Something takes connections at {place} and does not answer in time.",
}
_MOST_NAMES = 3
_LONGEST_NAME = 60
_LONGEST_WORDS = 200
_MOST_MODELS = 1000
"""Most that the JSON form lists of one server."""


class Look(Struct, frozen=True, kw_only=True):
    """What was seen of the servers of this machine."""

    candidates: tuple[Candidate, ...]
    """Every place that was looked at."""
    holders: Mapping[int, PortHolder] = field(default_factory=dict)
    """Who listens at a port."""
    installed: tuple[Installed, ...] = ()
    """What is on the disk."""
    model: str = ""
    """The configured model."""
    remembered: Remembered = field(default_factory=Remembered)
    """From earlier runs."""
    is_named: bool = False
    """Whether the user named the one server to use."""
    tool_to_see: str = ""
    """The command that shows who holds a port, with `PORT` in its place."""
    engine_step: str = ""
    """How a chat can be had without any server; empty where it cannot."""

    @property
    def arrival(self) -> Arrival:
        """What lmchat would begin with."""
        return choose(self.candidates, model=self.model, remembered=self.remembered, is_named=self.is_named)


def server_findings(look: Look) -> list[Finding]:
    """Return the row about a chat, one a place, and one about names of hosts."""
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
    """Say which models can be chatted with at once."""
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
    return Rows(Group.NETWORK, "network.")("host_names", "Host names", grade, cause, step, blocked=urls)


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
