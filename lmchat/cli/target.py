"""Choice of server and model for a command, and the counters of what it asks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress

from msgspec.structs import replace

from lmchat.config.settings import Settings
from lmchat.domain.product import Product
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Candidate, Endpoint, Target, is_address
from lmchat.domain.target_choice import Need, choose_unasked, require_model, why_no_model
from lmchat.domain.telemetry import Metrics
from lmchat.errors import LMChatError
from lmchat.services.ports import ServerClient
from lmchat.text import shell_word

log = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.5
_NOT_ASKED = (
    "lmchat: {0} at {1} is not used, although your environment names it: without an option, only this "
    "machine is asked. To use it, add --endpoint {2} --allow-host {3}"
)
_KEEP_EVERY_S = 3.0  # a killed process loses the counters of this time at most


def own_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Return the servers that the user has named; raises `EndpointNotAllowed` for a wrong address."""
    named = (settings.endpoint, *(own.url for own in settings.endpoints))
    return tuple(Endpoint.parse(url) for url in named if url)


def own_names(settings: Settings) -> dict[str, str]:
    """Return the user's server names by origin."""
    return {Endpoint.parse(own.url).origin: own.name for own in settings.endpoints}


async def find_candidates(backend: ServerClient, settings: Settings) -> tuple[Candidate, ...]:
    """Check the named server, else detect servers."""
    if settings.endpoint:
        return (await backend.check(Endpoint.parse(settings.endpoint)),)
    return await backend.detect(expected=own_endpoints(settings))


async def find_target(
    backend: ServerClient, settings: Settings, remembered: Remembered, note: Callable[[str], None]
) -> Target:
    """Return the server and model to ask; waits while a server loads its model.

    Raises `NoServerFound`, `ServerRejected`, `RequestInvalid` if no model is clearly meant, or `WrongUse` if
    the one that is named does not exist.
    """
    candidates = await find_candidates(backend, settings)
    for one in candidates:
        if one.is_hinted and one.can_be_allowed and not settings.endpoints:
            url, host = shell_word(one.endpoint.url), shell_word(one.endpoint.host)
            note(_NOT_ASKED.format(one.product, one.endpoint.netloc, url, host))
    arrival = choose_unasked(candidates, model=settings.model, remembered=remembered)
    if (
        arrival.need is Need.MODEL and arrival.candidate is not None
    ):  # a scan may not tell which models chat
        listed = await backend.models(arrival.candidate.endpoint, is_refresh=True)
        candidate = replace(arrival.candidate, models=listed.models)
        arrival = choose_unasked((candidate,), model=settings.model, remembered=remembered)
    if settings.model:
        require_model(settings.model, arrival.candidate, candidates)
    is_noted = False
    while (
        arrival.target is not None
        and arrival.target.model is None
        and arrival.need is not Need.MODEL
    ):
        if not is_noted:
            note(f"{arrival.target.product} is loading its model …")
            is_noted = True
        await asyncio.sleep(_LOOK_EVERY_S)
        candidate = await backend.check(arrival.target.endpoint)
        arrival = choose_unasked((candidate,), model=settings.model, remembered=remembered)
    if arrival.target is None or arrival.target.model is None:
        raise why_no_model(arrival)
    if arrival.candidate is not None and arrival.candidate.key_withheld:
        note(f"lmchat: {arrival.candidate.key_withheld}")
    return arrival.target


_HERE = "127.0.0.1"
_LLAMA_CPP_PORT = "9931"  # a scan looks at 8080, too, which older versions have
_ANY = ("", "0.0.0.0", "::", "[::]")  # noqa: S104 - read, not bound to


def endpoints_of_variables(environ: Mapping[str, str]) -> dict[Product, Endpoint]:
    """Return local product addresses from environment variables."""
    names = ("LMS_SERVER_HOST", "LLAMA_ARG_HOST", "LLAMA_ARG_PORT")
    lm_studio, host, port = (environ.get(name, "").strip() for name in names)
    named = {
        Product.OLLAMA: ollama_endpoint(environ.get("OLLAMA_HOST", "")),
        Product.LLAMA_CPP: _at(host, port or _LLAMA_CPP_PORT) if host or port else None,
        Product.LM_STUDIO: _at(lm_studio, "1234") if lm_studio else None,
    }
    return {product: endpoint for product, endpoint in named.items() if endpoint is not None}


def ollama_endpoint(host: str) -> Endpoint | None:
    """Return Ollama's address from `HOST`, `HOST:PORT` or `:PORT`; None for its usual one."""
    typed = host.strip().rstrip("/")
    name, _, port = typed.removeprefix("http://").rpartition(":")
    if here := _at(name, port):
        return here
    url = typed if "://" in typed or port.isdecimal() else f"{typed}:11434"
    there = Endpoint.parse(url) if typed and is_address(url) else None
    return None if there is None or there.is_loopback or there.host in _ANY else there


def _at(name: str, port: str) -> Endpoint | None:
    """Return a loopback address; None for other or wrong ones."""
    if not (port.isascii() and port.isdecimal()):
        return None
    host = _HERE if name in _ANY else name
    is_bare_v6 = host.count(":") > 1 and not host.startswith("[")
    url = f"http://[{host}]:{port}" if is_bare_v6 else f"http://{host}:{port}"
    return Endpoint.parse(url) if is_address(url) and Endpoint.parse(url).is_loopback else None


@asynccontextmanager
async def metrics_kept(
    counted: Callable[[], Metrics],
    add: Callable[[Metrics], Awaitable[object]],
    *,
    every_s: float = _KEEP_EVERY_S,
) -> AsyncIterator[None]:
    """Save new counts while the block runs and at its end; failed writes are tried again.

    The task is not cancelled at the end: a cancelled write might be counted twice.
    """
    is_over = asyncio.Event()

    async def keep() -> None:
        kept = Metrics()
        while not is_over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), every_s)
            now = counted()
            try:
                if (new := now.since(kept)) != Metrics():
                    await add(new)
                kept = now
            except LMChatError as error:
                log.warning("the counters could not be saved: %s", error.kind)

    task = asyncio.create_task(keep(), name="counters")
    try:
        yield
    finally:
        is_over.set()
        await task
