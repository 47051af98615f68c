"""Servers that were looked for: rows and headline of the welcome page, and the list of models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum, auto

from msgspec import Struct

from lmchat.domain.candidate import (
    Installed,
    Remembered,
    ServerStart,
    can_be_allowed,
    has_model,
    is_forbidden,
)
from lmchat.domain.engine import DemoOffer, ModelFile
from lmchat.domain.server import Candidate, Endpoint, ModelInfo, ModelList, Product, Verdict
from lmchat.errors import LMChatError
from lmchat.files import is_runnable
from lmchat.services.ports import Backend, ChatStore
from lmchat.services.server_launcher import Run, is_startable, start_of

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
    START = auto()
    START_WITH_FILE = auto()
    END = auto()


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
    is_here: bool = True
    """Whether the product is known to be on this machine; a place where nobody knows counts as such."""


class MachineState(Struct, frozen=True, kw_only=True):
    """Servers, model files and programs of this machine that do not answer."""

    installed: tuple[Installed, ...] | None = None
    """Installed servers; None before the first look."""
    running: tuple[Run, ...] = ()
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
        return _WORDS[waiting.verdict].format(name=_name(waiting), host=waiting.endpoint.host)
    usable = next((one for one in candidates if one.verdict.is_usable), None)
    if usable is not None:
        return (_OTHER if any(one.is_own for one in candidates) else _USABLE).format(usable.product.value)
    named = _named(candidates)
    if named is None:
        return NOTHING
    is_told = named.endpoint.host in named.detail
    return named.detail if is_told else f"{named.endpoint.netloc}: {named.detail}"


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
    return next(
        (
            one
            for one in candidates
            if one.verdict in _WORDS and not (one.verdict.is_usable and has_model(one))
        ),
        None,
    )


def _named(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the server that the user named, where it is the only one and it is known why it is away."""
    own = [one for one in candidates if one.is_own]
    return own[0] if len(own) == 1 and own[0].detail else None


def _name(candidate: Candidate) -> str:
    endpoint = candidate.endpoint
    if candidate.product is Product.OPENAI_COMPATIBLE:
        return f"The server at {endpoint.netloc}"
    is_known = endpoint.is_loopback and not candidate.is_own
    return candidate.product.value if is_known else f"{candidate.product.value} at {endpoint.netloc}"


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
        return self.model.endpoint.url, self.model.model_id


class Catalogue:
    """List of models: at once from the cache, and again from the servers on request."""

    def __init__(
        self,
        backend: Backend,
        store: ChatStore,
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
