"""Servers that were found: rows and headline of the welcome page, and the list of models."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum, auto

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.engine import DemoOffer, ModelFile
from lmchat.domain.model_names import cannot_chat, find_model, unknown_model
from lmchat.domain.product import Product
from lmchat.domain.program import Installed, ServerStart
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Candidate, Endpoint, ModelInfo, ModelList, Verdict
from lmchat.errors import LMChatError
from lmchat.files import is_runnable
from lmchat.services.backend import Backend
from lmchat.services.ports import ChatStore
from lmchat.services.server_launcher import Program, is_startable, start_of


class Step(Enum):
    """Action of Enter on a row."""

    NOTHING = auto()
    CHOOSE = auto()
    START = auto()
    START_WITH_FILE = auto()
    WAIT = auto()  # a server was started and does not answer yet


class ServerRow(Struct, frozen=True, kw_only=True):
    """A server as the welcome page shows it; its texts may come from outside."""

    candidate: Candidate
    found: str
    next_step: str
    step: Step = Step.NOTHING
    start: ServerStart | None = None
    program: str = ""
    is_here: bool = True  # whether the product is installed on this machine, or may be


class MachineState(Struct, frozen=True, kw_only=True):
    """Servers, model files and programs of this machine that do not answer."""

    installed: tuple[Installed, ...] | None = None
    running: tuple[Program, ...] = ()
    files: tuple[ModelFile, ...] = ()
    offer: DemoOffer | None = None
    engine_command: str = ""  # command that installs the built-in engine, where that is missing
    last_model: str = ""  # model of the built-in engine, where that was used last


def server_rows(candidates: Sequence[Candidate], here: MachineState) -> tuple[ServerRow, ...]:
    """Return the rows, those where something can be done first."""
    near = (Verdict.SERVER_OFF, Verdict.SERVER_ERROR)

    def rank(
        row: ServerRow,
    ) -> int:  # the sort is stable: among equals the order of the candidates decides
        verdict = row.candidate.verdict
        return 0 if verdict.is_server or verdict in near else 1 if row.is_here else 2

    return tuple(sorted((_row(one, here) for one in candidates), key=rank))


def first_step(found: Sequence[ServerRow]) -> ServerRow | None:
    """Return the row where one step on the page is enough to chat, if any."""
    helped = (
        Verdict.NEEDS_KEY,
        Verdict.KEY_REJECTED,
        Verdict.SERVER_OFF,
        Verdict.READY,
        Verdict.LOADING,
    )
    near = (
        one for one in found if one.candidate.verdict in helped and one.step is not Step.NOTHING
    )
    return next(near, None)


def _row(candidate: Candidate, here: MachineState) -> ServerRow:
    found = "not allowed" if candidate.is_forbidden else candidate.finding
    step = Step.CHOOSE if candidate.verdict.is_server or candidate.can_be_allowed else Step.NOTHING
    row = ServerRow(candidate=candidate, found=found, next_step=candidate.next_step, step=step)
    run = next((one for one in here.running if one.start.endpoint == candidate.endpoint), None)
    if run is not None and step is Step.NOTHING:
        words = f"{run.start.short} runs (process {run.pid})"
        return replace(row, found="starting", next_step=words, step=Step.WAIT, start=run.start)
    if here.installed is None or candidate.is_own or not is_startable(candidate):
        return row
    is_off = candidate.verdict is Verdict.SERVER_OFF
    row = replace(row, found=candidate.verdict.value)
    installed = next((one for one in here.installed if one.product is candidate.product), None)
    if installed is None:
        where_to_get = "" if is_off else candidate.product.facts.where_to_get
        words = where_to_get or candidate.next_step
        return replace(row, next_step=words, is_here=is_off)
    row = row if is_off else replace(row, found="not running")
    if (start := start_of(candidate, installed)) is not None:
        return replace(row, next_step=start.short, step=Step.START, start=start)
    if candidate.product is Product.LLAMA_CPP and is_runnable(installed.program) and here.files:
        row = replace(row, next_step="llama-server with a model file", program=installed.program)
        return replace(row, step=Step.START_WITH_FILE)
    return row if is_off else replace(row, next_step=installed.start_words or candidate.next_step)


NOTHING = "No model server answers on this machine yet."
_USABLE = "{} answers."
_OTHER = "The server you named does not answer. {} does."
_WORDS: Mapping[Verdict, str] = {
    Verdict.NEEDS_KEY: "{name} answers, but needs an API key.",
    Verdict.KEY_REJECTED: "{name} answers, but rejected the API key.",
    Verdict.HOST_BLOCKED: "{name} does not accept the host name {host}.",
    Verdict.NO_MODEL: "{name} answers, but has no model yet.",
    Verdict.SERVER_OFF: "{name} runs, but its server is off.",
}


def headline(candidates: Sequence[Candidate]) -> str:
    """Return the state of the servers in one sentence, which may hold words of a server."""
    if near := _waiting(candidates):
        return _WORDS[near.verdict].format(name=_name(near), host=near.endpoint.host)
    usable = next((one for one in candidates if one.verdict.is_usable), None)
    if usable is not None:
        return (_OTHER if any(one.is_own for one in candidates) else _USABLE).format(
            usable.product.value
        )
    named = _named(candidates)
    if named is None:
        return NOTHING
    is_told = named.endpoint.host in named.detail
    return named.detail if is_told else f"{named.endpoint.netloc}: {named.detail}"


def advice(candidates: Sequence[Candidate]) -> str:
    """Return the one step that is missing for a chat; empty where it is more than one."""
    has_usable = any(one.verdict.is_usable for one in candidates)
    near = _waiting(candidates) or (None if has_usable else _named(candidates))
    if near is None or not near.next_step:
        return ""
    if near.can_be_allowed:
        return f"Next: {near.next_step}, or type the address here to allow it for this run"
    if near.kind == "certificate":  # which are trusted is read once a run
        return f"Next: {near.next_step} Then start lmchat again."
    return f"Next: {near.next_step} (this page then continues)"


def _waiting(candidates: Sequence[Candidate]) -> Candidate | None:
    lacking = (one for one in candidates if one.verdict in _WORDS)
    return next((one for one in lacking if not (one.verdict.is_usable and one.has_model)), None)


def _named(candidates: Sequence[Candidate]) -> Candidate | None:
    own = [one for one in candidates if one.is_own]
    return own[0] if len(own) == 1 and own[0].detail else None


def _name(candidate: Candidate) -> str:
    endpoint = candidate.endpoint
    if candidate.product is Product.OPENAI_COMPATIBLE:
        return f"The server at {endpoint.netloc}"
    is_known = endpoint.is_loopback and not candidate.is_own
    return (
        candidate.product.value if is_known else f"{candidate.product.value} at {endpoint.netloc}"
    )


class ModelRow(Struct, frozen=True, kw_only=True):
    """A model as the picker shows it."""

    model: ModelInfo
    tokens_per_second: float | None = None
    recent_index: int | None = None
    server_name: str = ""  # the user's name for its server; empty: its product is shown

    @property
    def key(self) -> tuple[str, str]:
        return self.model.server_id, self.model.model_id


def _order(row: ModelRow) -> tuple[bool, bool, int]:
    """Sort recent models first, and those that cannot chat last."""
    return not row.model.can_chat, row.recent_index is None, row.recent_index or 0


def matching_model(name: str, rows: Sequence[ModelRow]) -> ModelInfo:
    """Return the model of this name, or the only one whose name holds it; raises `WrongUse`."""
    models = [row.model for row in rows if row.model.can_chat]
    holding = [model for model in models if name.casefold() in model.model_id.casefold()]
    found = find_model(name, models) or (holding[0] if len(holding) == 1 else None)
    if found is None:
        mute = find_model(name, [row.model for row in rows])
        error = unknown_model(name, models) if mute is None else cannot_chat(mute)
        error.hint = "Ctrl+O lists the models."
        raise error
    return found


class Catalogue:
    """List of models: at once from the cache, and from the servers on request."""

    def __init__(
        self,
        backend: Backend,
        store: ChatStore,
        *,
        expected: Sequence[Endpoint] = (),
        names: Mapping[str, str] | None = None,
    ) -> None:
        """`names` are the user's names of servers by their origin."""
        self._backend = backend
        self._store = store
        self._expected = tuple(expected)
        self._added: tuple[Endpoint, ...] = ()
        self._names = names or {}
        self._speeds: Mapping[tuple[str, str], float] = {}
        self.candidates: tuple[Candidate, ...] = ()

    def known(self, remembered: Remembered) -> tuple[tuple[ModelRow, ...], float]:
        listed = self._backend.cached_models()
        return self._rows(listed.models, remembered), listed.age_s

    def expect(self, endpoint: Endpoint) -> None:
        """Probe one more address from now on, unless it is probed anyway."""
        if endpoint not in (
            *self._added,
            *self._expected,
            *(one.endpoint for one in self.candidates),
        ):
            self._added = (endpoint, *self._added)

    def forget(self, endpoint: Endpoint) -> None:
        self._added = tuple(one for one in self._added if one != endpoint)

    async def look_around(self) -> tuple[Candidate, ...]:
        self.candidates = await self._backend.detect(expected=(*self._added, *self._expected))
        return self.candidates

    async def refresh(self, remembered: Remembered) -> tuple[tuple[ModelRow, ...], float]:
        """Ask all reachable servers for their models, and return the rows and the age of the oldest list."""
        await self.look_around()
        usable = [
            candidate.endpoint for candidate in self.candidates if candidate.verdict.is_usable
        ]
        lists = await asyncio.gather(*map(self._models, usable))
        try:
            self._speeds = await self._store.speeds()
        except LMChatError:
            self._speeds = {}
        models = [model for listed in lists for model in listed.models]
        return self._rows(models, remembered), max((listed.age_s for listed in lists), default=0.0)

    async def _models(self, endpoint: Endpoint) -> ModelList:
        try:
            return await self._backend.models(endpoint, is_refresh=True)
        except LMChatError:
            return ModelList()

    def _rows(self, models: Sequence[ModelInfo], remembered: Remembered) -> tuple[ModelRow, ...]:
        places = {pair: place for place, pair in enumerate(remembered.recent)}
        rows = [
            ModelRow(
                model=model,
                tokens_per_second=self._speeds.get((model.server_id, model.model_id)),
                recent_index=places.get((model.server_id, model.model_id)),
                server_name=self._names.get(model.endpoint.origin, ""),
            )
            for model in models
        ]
        rows.sort(key=_order)
        return tuple(rows)
