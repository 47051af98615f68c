"""Which server and model to begin with, out of all that were found; pure."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from msgspec import Struct

from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Candidate, LoadState, ModelInfo, Target, Verdict, place_of
from lmchat.errors import LMChatError, NoServerFound, RequestInvalid, ServerRejected, ServerUnavailable

NOTHING_FOUND = "No LMStudio server detected"
_NO_SERVER = (Verdict.REFUSED, Verdict.TIMED_OUT, Verdict.SERVER_OFF)
_KINDS = {
    Verdict.NEEDS_KEY: "auth",
    Verdict.KEY_REJECTED: "auth",
    Verdict.HOST_BLOCKED: "host_blocked",
    Verdict.NOT_AN_LLM: "not_an_llm",
    Verdict.SERVER_ERROR: "server_error",
}
_NOT_ALLOWED = "Endpoint not allowed"
"""What every refusal by the allow-list begins with."""
_NAME_A_SERVER = "Start a model server, or name one with --endpoint URL."


class Need(Enum):
    """What has to happen before a chat can begin."""

    NOTHING = auto()
    """The chat can begin."""
    MODEL = auto()
    """A model has to be chosen."""
    KEY = auto()
    """The server wants a key."""
    SERVER = auto()
    """There is no server."""


class Arrival(Struct, frozen=True, kw_only=True):
    """The choice."""

    need: Need
    """What is missing."""
    candidate: Candidate | None = None
    """The chosen server."""
    target: Target | None = None
    """Server and model, as far as they are known."""


def choose(
    candidates: Sequence[Candidate], *, model: str, remembered: Remembered, is_named: bool = False
) -> Arrival:
    """Choose by: the user's own, the last used, the first ready one in the order of the list (product order).

    `model` is the configured one; it is taken as it stands, because a server may load it on demand. Where
    the user has named a server (`is_named`), no other one is taken in its place.
    """
    if is_named:
        candidates = [candidate for candidate in candidates if candidate.is_own]
    usable = [candidate for candidate in candidates if candidate.verdict.is_usable]
    for candidate in sorted(usable, key=lambda one: _rank(one, remembered)):
        return arrive_at(candidate, model=model, remembered=remembered)
    for candidate in candidates:
        if candidate.verdict in (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED):
            return Arrival(need=Need.KEY, candidate=candidate)
    return Arrival(need=Need.SERVER)


def arrive_at(candidate: Candidate, *, model: str, remembered: Remembered) -> Arrival:
    """Choose the model on a given server."""
    info = choose_model(candidate, model=model, remembered=remembered)
    is_loading = info is None and candidate.verdict is Verdict.LOADING
    target = Target(endpoint=candidate.endpoint, product=candidate.product, model=info, is_loading=is_loading)
    need = Need.NOTHING if info is not None or is_loading else Need.MODEL
    return Arrival(need=need, candidate=candidate, target=target)


def has_model(candidate: Candidate) -> bool:
    """Whether a server has, or soon has, any model to talk to, in memory or not."""
    return candidate.verdict in (Verdict.READY, Verdict.LOADING) or any(
        not info.is_embedding for info in candidate.models
    )


def is_forbidden(candidate: Candidate) -> bool:
    """Whether the allow-list kept lmchat from asking there."""
    return candidate.detail.startswith(_NOT_ALLOWED)


def can_be_allowed(candidate: Candidate) -> bool:
    """Whether nothing but the user's word is missing for it to be asked."""
    return is_forbidden(candidate) and "--allow-host" in candidate.detail


def choose_model(candidate: Candidate, *, model: str, remembered: Remembered) -> ModelInfo | None:
    """Choose the configured model, else the last used one, else a loaded one; None where there is none."""
    if model:
        known = _by_id(candidate, model)
        return known or ModelInfo(model_id=model, endpoint=candidate.endpoint, product=candidate.product)
    place = place_of(candidate.endpoint, candidate.product)
    last = _by_id(candidate, remembered.model) if remembered.endpoint == place else None
    if last is not None and last.state is not LoadState.NOT_LOADED:
        return last
    talking = [info for info in candidate.models if not info.is_embedding]
    wanted = (LoadState.LOADED, LoadState.LOADING, LoadState.UNKNOWN)
    for state in wanted:
        for info in talking:
            if info.state is state:
                return info
    return None


def arrive(candidates: Sequence[Candidate], *, model: str, remembered: Remembered) -> Arrival:
    """Choose without anybody to ask; the only model of a server is taken even if it is not in memory.

    Raises:
        NoServerFound: no server answers.
        ServerRejected: the best one cannot be used.
    """
    arrival = choose(candidates, model=model, remembered=remembered)
    if arrival.need in (Need.SERVER, Need.KEY):
        raise why_unusable(candidates)
    talking = [info for info in _models(arrival) if not info.is_embedding]
    if arrival.need is Need.MODEL and len(talking) == 1 and arrival.target is not None:
        target = Target(endpoint=arrival.target.endpoint, product=arrival.target.product, model=talking[0])
        return Arrival(need=Need.NOTHING, candidate=arrival.candidate, target=target)
    return arrival


def why_unusable(candidates: Sequence[Candidate]) -> LMChatError:
    """Return why none of these servers can be used: that of the best one that is there at all."""
    there = [one for one in candidates if one.verdict not in _NO_SERVER]
    named = [one for one in candidates if one.is_own]
    best = next((one for one in there if one.verdict.is_server or one in named), None)
    best = best or next(iter(there if len(candidates) == 1 else ()), None)
    if best is not None and best.kind == "certificate":
        return ServerUnavailable(best.detail, kind=best.kind, hint=best.next_step)
    if best is not None:
        return ServerRejected(
            f"{best.product} at {best.endpoint.url}: {best.verdict}.",
            kind=_KINDS.get(best.verdict, "server_error"),
            hint=best.next_step,
            details=best.detail,
        )
    if len(candidates) == 1:
        only = candidates[0]
        return NoServerFound(
            f"{NOTHING_FOUND}: {only.endpoint.url}: {only.verdict}.", hint=only.next_step or _NAME_A_SERVER
        )
    return NoServerFound(f"{NOTHING_FOUND}: no model server answers on this machine.", hint=_NAME_A_SERVER)


def why_no_model(arrival: Arrival) -> RequestInvalid:
    """Return what to say where a server has no model that could be meant."""
    names = ", ".join(model.model_id for model in _models(arrival) if not model.is_embedding)
    hint = f"Name one with -m MODEL: {names}." if names else "The server has none; download one there first."
    return RequestInvalid("No LM Studio model selected", hint=hint, kind="model_missing")


def _models(arrival: Arrival) -> tuple[ModelInfo, ...]:
    return arrival.candidate.models if arrival.candidate else ()


def _by_id(candidate: Candidate, model_id: str) -> ModelInfo | None:
    return next(
        (info for info in candidate.models if info.model_id == model_id and not info.is_embedding), None
    )


def _rank(candidate: Candidate, remembered: Remembered) -> tuple[bool, bool, bool]:
    """Sort key; the sort is stable, so the order of the list decides among equals."""
    return (
        not candidate.is_own,
        candidate.endpoint.url != remembered.endpoint,
        candidate.verdict is not Verdict.READY,
    )
