"""Which server and model a command talks to, without a screen to ask on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from lmchat.config.settings import Settings
from lmchat.domain.candidate import Need, Remembered, arrive, why_no_model
from lmchat.domain.server import Candidate, Endpoint, Target
from lmchat.services.ports import Backend

_LOOK_EVERY_S = 0.5


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
    arrival = arrive(await look(backend, settings), model=settings.model, remembered=remembered)
    is_told = False
    while arrival.target is not None and arrival.target.model is None and arrival.need is not Need.MODEL:
        if not is_told:
            note(f"{arrival.target.product} is loading its model …")
            is_told = True
        await asyncio.sleep(_LOOK_EVERY_S)
        candidate = await backend.check(arrival.target.endpoint)
        arrival = arrive((candidate,), model=settings.model, remembered=remembered)
    if arrival.target is None or arrival.target.model is None:
        raise why_no_model(arrival)
    return arrival.target
