"""Servers that were looked for: rows of the welcome page and of the doctor, and the list of models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum, auto

from msgspec import Struct, field

from lmchat.domain.candidate import (
    Arrival,
    Finding,
    Grade,
    Group,
    Installed,
    Need,
    PortHolder,
    Remembered,
    Rows,
    ServerStart,
    can_be_allowed,
    choose,
    has_model,
    is_forbidden,
)
from lmchat.domain.engine import DemoOffer, ModelFile
from lmchat.domain.server import Candidate, Endpoint, LoadState, ModelInfo, ModelList, Product, Verdict
from lmchat.errors import LMChatError
from lmchat.files import is_runnable
from lmchat.services.ports import Backend, SessionStore
from lmchat.services.server_launcher import Run, is_startable, start_of
from lmchat.text import safe_line

WHERE_TO_GET: Mapping[Product, str] = {
    Product.LM_STUDIO: "Get it at lmstudio.ai",
    Product.JAN: "Get it at jan.ai",
    Product.LLAMA_CPP: "Get it at github.com/ggml-org/llama.cpp",
    Product.OLLAMA: "Get it at ollama.com",
    Product.VLLM: "pip install vllm",
    Product.SGLANG: "pip install sglang",
    Product.LITELLM: "pip install 'litellm[proxy]'",
}
"""For what is not installed."""


class Step(Enum):
    """Action of Enter on a row."""

    NOTHING = auto()
    CHOOSE = auto()
    """Goes on with the server, or asks for what it wants."""
    START = auto()
    """Asks, then starts it."""
    START_WITH_FILE = auto()
    """Asks for a model file first."""
    END = auto()
    """Asks, then ends what was started and does not answer yet."""


class ServerRow(Struct, frozen=True, kw_only=True):
    """A server as the welcome page shows it."""

    candidate: Candidate
    found: str
    next_step: str
    """The one step that helps; it may hold anything."""
    step: Step = Step.NOTHING
    start: ServerStart | None = None
    program: str = ""
    """Path of the program that wants a model file."""
    is_starting: bool = False
    """Whether it was started and does not answer yet."""
    is_here: bool = True
    """Whether the product is known to be on this machine; a place where nobody knows counts as such."""


class MachineState(Struct, frozen=True, kw_only=True):
    """Servers, model files and programs of this machine that do not answer."""

    installed: tuple[Installed, ...] | None = None
    """Installed servers; None before the first look."""
    running: tuple[Run, ...] = ()
    """Programs that were started and have not ended."""
    files: tuple[ModelFile, ...] = ()
    offer: DemoOffer | None = None
    """Demo model of the built-in engine; None where the engine cannot be used, or before the first look."""
    engine_command: str = ""
    """Command that installs the built-in engine; empty where it is installed, or before the first look."""


def server_rows(candidates: Sequence[Candidate], here: MachineState) -> tuple[ServerRow, ...]:
    """Return the rows; those where something can be done come before those where nothing is installed."""
    found = [_place(one, here) for one in candidates]
    return tuple(sorted(found, key=_rank))


def first_step(found: Sequence[ServerRow]) -> ServerRow | None:
    """Return the row that lacks only one thing, which can be given on the page; None where none does."""
    helped = (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED, Verdict.SERVER_OFF, Verdict.READY, Verdict.LOADING)
    near = (one for one in found if one.candidate.verdict in helped and one.step is not Step.NOTHING)
    return next(near, None)


def _rank(place: ServerRow) -> int:
    """Sort key; the sort is stable, so the order of the candidates decides among equals."""
    verdict = place.candidate.verdict
    if verdict.is_server or verdict in (Verdict.SERVER_OFF, Verdict.SERVER_ERROR):
        return 0
    return 1 if place.is_here else 2


def _place(candidate: Candidate, here: MachineState) -> ServerRow:
    run = next((one for one in here.running if one.start.endpoint == candidate.endpoint), None)
    if run is not None and not candidate.verdict.is_server:
        return ServerRow(
            candidate=candidate,
            found="starting",
            next_step=f"{run.start.short} runs (process {run.program.pid})",
            step=Step.END,
            start=run.start,
            is_starting=True,
        )
    if candidate.verdict.is_server:
        return _as_found(candidate, Step.CHOOSE)
    if here.installed is None or candidate.is_own or not is_startable(candidate):
        return _as_found(candidate, Step.NOTHING)
    installed = next((one for one in here.installed if one.product is candidate.product), None)
    return _not_running(candidate, installed, has_files=bool(here.files))


def _as_found(candidate: Candidate, step: Step) -> ServerRow:
    found = "not allowed" if is_forbidden(candidate) else candidate.finding
    return ServerRow(candidate=candidate, found=found, next_step=candidate.next_step, step=step)


def _not_running(candidate: Candidate, installed: Installed | None, *, has_files: bool) -> ServerRow:
    is_off = candidate.verdict is Verdict.SERVER_OFF
    if installed is None:
        words = candidate.next_step if is_off else WHERE_TO_GET.get(candidate.product, candidate.next_step)
        return ServerRow(candidate=candidate, found=candidate.verdict.value, next_step=words, is_here=is_off)
    found = candidate.verdict.value if is_off else "not running"
    start = start_of(candidate, installed)
    if start is not None:
        return ServerRow(
            candidate=candidate, found=found, next_step=start.short, step=Step.START, start=start
        )
    if candidate.product is Product.LLAMA_CPP and is_runnable(installed.program) and has_files:
        return ServerRow(
            candidate=candidate,
            found=found,
            next_step="llama-server with a model file",
            step=Step.START_WITH_FILE,
            program=installed.program,
        )
    words = candidate.next_step if is_off else installed.start_words or candidate.next_step
    return ServerRow(candidate=candidate, found=found, next_step=words)


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
    """Every server that was looked for."""
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


NOTHING = "No model server answers on this machine yet."
_USABLE = "{} answers."
_OTHER = "The server that you named does not answer. {} does."
_WORDS: Mapping[Verdict, str] = {
    Verdict.NEEDS_KEY: "{name} answers, but wants a key.",
    Verdict.KEY_REJECTED: "{name} answers, but refused the key.",
    Verdict.HOST_BLOCKED: "{name} answers, but not to the host name {host}.",
    Verdict.NO_MODEL: "{name} answers, but has no model yet.",
    Verdict.SERVER_OFF: "{name} runs, but its server is off.",
}


def headline(candidates: Sequence[Candidate]) -> str:
    """Return the state of the servers in one sentence; it may hold anything that a server or a user said."""
    waiting = _waiting(candidates)
    if waiting is not None:
        return _WORDS[waiting.verdict].format(name=_headline_name(waiting), host=waiting.endpoint.host)
    usable = next((one for one in candidates if one.verdict.is_usable), None)
    if usable is not None:
        return (_OTHER if any(one.is_own for one in candidates) else _USABLE).format(usable.product.value)
    named = _named(candidates)
    return NOTHING if named is None else _why_away(named)


def advice(candidates: Sequence[Candidate]) -> str:
    """Return the one step that helps where a server is near to a chat; empty where none is."""
    near = _waiting(candidates)
    if near is None and not any(one.verdict.is_usable for one in candidates):
        near = _named(candidates)
    if near is None or not near.next_step:
        return ""
    if can_be_allowed(near):
        return f"Next: {near.next_step}, or type the address here to allow it for this run"
    if near.kind == "certificate":  # which are trusted is read once a run
        return f"Next: {near.next_step} Then start lmchat again."
    return f"Next: {near.next_step} (this page then goes on by itself)"


def _waiting(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the server that is nearest to a chat, and lacks one thing."""
    return next((one for one in candidates if one.verdict in _WORDS and not _is_ready(one)), None)


def _is_ready(candidate: Candidate) -> bool:
    return candidate.verdict.is_usable and has_model(candidate)


def _named(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the server that the user named, where it is the only one and it is known why it is away."""
    own = [one for one in candidates if one.is_own]
    return own[0] if len(own) == 1 and own[0].detail else None


def _why_away(named: Candidate) -> str:
    is_told = named.endpoint.host in named.detail
    return named.detail if is_told else f"{named.endpoint.netloc}: {named.detail}"


def _headline_name(candidate: Candidate) -> str:
    endpoint = candidate.endpoint
    if candidate.product is Product.OPENAI_COMPATIBLE:
        return f"The server at {endpoint.netloc}"
    is_known = endpoint.is_loopback and not candidate.is_own
    return candidate.product.value if is_known else f"{candidate.product.value} at {endpoint.netloc}"


_key_findings_row = Rows(Group.KEYS)


def key_findings(
    candidates: Sequence[Candidate],
    sources: Mapping[str, str],
    stored: Sequence[str],
    warnings: Sequence[str],
    *,
    has_chat: bool,
) -> list[Finding]:
    """Return a row for each server that wants or gets a key, and one about what is stored.

    Args:
        candidates: What answers.
        sources: Where the key of an origin comes from; an origin without a key is left out.
        stored: Origins that a key is stored for.
        warnings: What could not be read, as sentences.
        has_chat: Whether a chat can be had without what is missing.
    """
    rows = [
        _key_findings_server(one, sources.get(one.endpoint.origin, ""), stored, has_chat=has_chat)
        for one in candidates
    ]
    found = [row for row in rows if row is not None]
    found += [_key_findings_row("key", "Keys", Grade.WARNING, words, state="warning") for words in warnings]
    return [*found, _stored(stored, is_alone=not found)]


def _key_findings_server(
    one: Candidate, source: str, stored: Sequence[str], *, has_chat: bool
) -> Finding | None:
    name, bad = one.product.value, Grade.WARNING if has_chat else Grade.FAULT
    facts = {"url": one.endpoint.url, "source": source or None}
    if one.verdict is Verdict.KEY_REJECTED:
        cause = f"{one.endpoint.url} rejects the key from {source}."
        return _key_findings_row("key", name, bad, cause, one.next_step, state="rejected", **facts)
    if one.verdict is Verdict.NEEDS_KEY:
        others = _near(one.endpoint, stored)
        told = f" One is stored for {', '.join(others)}, which is another address." if others else ""
        cause = f"{one.endpoint.url} wants a key, and none is known for it.{told}"
        return _key_findings_row("key", name, bad, cause, one.next_step, state="missing", **facts)
    if source and one.verdict.is_usable:
        cause = f"{one.endpoint.url} takes the key from {source}."
        return _key_findings_row("key", name, Grade.OK, cause, state="works", **facts)
    return None


def _stored(stored: Sequence[str], *, is_alone: bool) -> Finding:
    told = f"Stored for {', '.join(stored)}." if stored else "None is stored."
    if is_alone and not stored:
        told = "None is stored, and no server asks for one."
    return _key_findings_row("key", "Stored", Grade.OK, told, state="stored", origins=list(stored))


def _near(endpoint: Endpoint, stored: Sequence[str]) -> list[str]:
    """Return other addresses of the same host that a key is stored for: a port that was changed."""
    return [origin for origin in stored if origin != endpoint.origin and _is_same_host(origin, endpoint)]


def _is_same_host(origin: str, endpoint: Endpoint) -> bool:
    try:
        other = Endpoint.parse(origin)
    except LMChatError:
        return False
    return other.host == endpoint.host or (other.is_loopback and endpoint.is_loopback)


class ModelRow(Struct, frozen=True, kw_only=True):
    """A model as the picker shows it."""

    model: ModelInfo
    tokens_per_second: float | None = None
    """Median speed of its earlier answers; None before the first."""
    recent_index: int | None = None
    """Place among the recently used models: the smaller, the more recent; None where it is not one."""
    server_name: str = ""
    """The user's name for its server; empty: its product is shown."""

    @property
    def key(self) -> tuple[str, str]:
        """Address and name."""
        return self.model.endpoint.url, self.model.model_id


class Catalogue:
    """List of models: at once from the cache, and again from the servers on request."""

    def __init__(
        self,
        backend: Backend,
        store: SessionStore,
        *,
        expected: Sequence[Endpoint] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        """`names` are what the user calls servers, by their origin."""
        self._backend = backend
        self._store = store
        self._expected = tuple(expected)
        self._names = names or {}
        self._added: set[Endpoint] = set()
        self._speeds: Mapping[tuple[str, str], float] = {}
        self.candidates: tuple[Candidate, ...] = ()
        """Result of the last look around."""

    def known(self, remembered: Remembered) -> tuple[tuple[ModelRow, ...], float]:
        """Return the rows and the age of the list in seconds, without asking any server."""
        listed = self._backend.cached_models()
        return self._rows(listed, remembered), listed.age_s

    def expect(self, endpoint: Endpoint) -> None:
        """Look at one more place from now on, unless it is looked at anyway."""
        if endpoint not in self._expected and all(one.endpoint != endpoint for one in self.candidates):
            self._expected = (endpoint, *self._expected)
            self._added.add(endpoint)

    def forget(self, endpoint: Endpoint) -> None:
        """Do not look any more at a place that was added by `expect`."""
        if endpoint in self._added:
            self._added.discard(endpoint)
            self._expected = tuple(one for one in self._expected if one != endpoint)

    async def look_around(self) -> tuple[Candidate, ...]:
        """Look at every known place."""
        self.candidates = await self._backend.detect(expected=self._expected)
        return self.candidates

    async def refresh(self, remembered: Remembered) -> tuple[tuple[ModelRow, ...], float]:
        """Ask all reachable servers for their models, and return the rows and the age of the oldest list."""
        await self.look_around()
        usable = [candidate.endpoint for candidate in self.candidates if candidate.verdict.is_usable]
        lists = await asyncio.gather(*(self._models(endpoint) for endpoint in usable))
        try:
            self._speeds = await self._store.speeds()
        except LMChatError:
            self._speeds = {}
        models = tuple(model for listed in lists for model in listed.models)
        age_s = max((listed.age_s for listed in lists), default=0.0)
        return self._rows(ModelList(models=models, age_s=age_s), remembered), age_s

    async def _models(self, endpoint: Endpoint) -> ModelList:
        try:
            return await self._backend.models(endpoint, is_refresh=True)
        except LMChatError:
            return ModelList(models=())

    def _rows(self, listed: ModelList, remembered: Remembered) -> tuple[ModelRow, ...]:
        places = {pair: place for place, pair in enumerate(remembered.recent)}
        rows = [
            ModelRow(
                model=model,
                tokens_per_second=self._speeds.get((model.place, model.model_id)),
                recent_index=places.get((model.place, model.model_id)),
                server_name=self._names.get(model.endpoint.origin, ""),
            )
            for model in listed.models
        ]
        return tuple(sorted(rows, key=_order))


def _order(row: ModelRow) -> tuple[bool, bool, int]:
    """Recent ones first in their order, embedding models last; servers keep their order."""
    return row.model.is_embedding, row.recent_index is None, row.recent_index or 0
