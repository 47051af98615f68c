"""Which server and model a command talks to, without a screen to ask on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from lmchat.config.settings import Settings
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Candidate, Endpoint, ModelInfo, Target, Verdict
from lmchat.errors import LMChatError, NoServerFound, RequestInvalid, ServerRejected
from lmchat.services.arrival import Arrival, Need, choose
from lmchat.services.ports import Backend

NOTHING_FOUND = "No LMStudio server detected"
_NO_SERVER = (Verdict.REFUSED, Verdict.TIMED_OUT, Verdict.SERVER_OFF)
_KINDS = {
    Verdict.NEEDS_KEY: "auth",
    Verdict.KEY_REJECTED: "auth",
    Verdict.HOST_BLOCKED: "host_blocked",
    Verdict.NOT_AN_LLM: "not_an_llm",
    Verdict.SERVER_ERROR: "server_error",
}
_LOOK_EVERY_S = 0.5
_NAME_A_SERVER = "Start a model server, or name one with --endpoint URL."


def own_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Return the servers that the user has named.

    Raises:
        EndpointNotAllowed: one of them is no address.
    """
    named = (settings.endpoint, *(own.url for own in settings.endpoints))
    return tuple(Endpoint.parse(url) for url in named if url)


def own_names(settings: Settings) -> dict[str, str]:
    """Return what the user calls their servers, by origin."""
    return {Endpoint.parse(own.url).origin: own.name for own in settings.endpoints}


async def look(backend: Backend, settings: Settings) -> tuple[Candidate, ...]:
    """Look at the server that was named, else at every known place."""
    if settings.endpoint:
        return (await backend.check(Endpoint.parse(settings.endpoint)),)
    return await backend.detect(expected=own_endpoints(settings))


async def find_target(
    backend: Backend, settings: Settings, remembered: Remembered, note: Callable[[str], None]
) -> Target:
    """Return the server and the model to ask; waits while a server loads its model.

    Raises:
        NoServerFound: no server answers.
        ServerRejected: one does, but it cannot be used.
        RequestInvalid: it has no model that could be meant.
    """
    arrival = arrive(await look(backend, settings), settings, remembered)
    is_told = False
    while arrival.target is not None and arrival.target.model is None and arrival.need is not Need.MODEL:
        if not is_told:
            note(f"{arrival.target.product} is loading its model …")
            is_told = True
        await asyncio.sleep(_LOOK_EVERY_S)
        candidate = await backend.check(arrival.target.endpoint)
        arrival = arrive((candidate,), settings, remembered)
    if arrival.target is None or arrival.target.model is None:
        raise _why_not(arrival)
    return arrival.target


def arrive(candidates: Sequence[Candidate], settings: Settings, remembered: Remembered) -> Arrival:
    """Choose among what was found; the only model of a server is taken even if it is not in memory.

    Raises:
        NoServerFound: no server answers.
        ServerRejected: the best one cannot be used.
    """
    arrival = choose(candidates, model=settings.model, remembered=remembered)
    if arrival.need in (Need.SERVER, Need.KEY):
        raise why_unusable(candidates)
    talking = [model for model in _models(arrival) if not model.is_embedding]
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


def _models(arrival: Arrival) -> tuple[ModelInfo, ...]:
    return arrival.candidate.models if arrival.candidate else ()


def _why_not(arrival: Arrival) -> RequestInvalid:
    names = ", ".join(model.model_id for model in _models(arrival) if not model.is_embedding)
    hint = f"Name one with -m MODEL: {names}." if names else "The server has none; download one there first."
    return RequestInvalid("No LM Studio model selected", hint=hint, kind="model_missing")
