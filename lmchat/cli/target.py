"""Choice of server and model for a command.

A result is an address that was probed, with the result of the probe and the models there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from msgspec.structs import replace

from lmchat.chat.ports import ServerClient
from lmchat.config.settings import Settings
from lmchat.config.state import State
from lmchat.safe_text import shell_word
from lmchat.servers.discovery.choose_model import (
    Missing,
    TargetChoice,
    choose_without_asking,
    require_model,
    why_no_model,
)
from lmchat.servers.discovery.probe_result import ProbeResult
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.model import Target
from lmchat.servers.stream.timeouts import first_token_limit

_CHECK_EVERY_S = 0.5  # while a server loads its model
_UNUSED_SERVER = (
    "lmchat: {0} at {1} is not used, although your environment names it: without an option, "
    "only this machine is asked. To use it, add --endpoint {2} --allow-host {3}"
)


def own_endpoints(settings: Settings) -> tuple[Endpoint, ...]:
    """Return the addresses of the servers that the settings name.

    Raises `EndpointNotAllowed` for a wrong address.
    """
    urls = (settings.endpoint, *(entry.url for entry in settings.endpoints))
    return tuple(Endpoint.parse(url) for url in urls if url)


def own_names(settings: Settings) -> dict[str, str]:
    """Return the names of the servers in `[[endpoints]]`, by origin.

    Raises `EndpointNotAllowed` for a wrong address.
    """
    return {Endpoint.parse(entry.url).origin: entry.name for entry in settings.endpoints}


async def find_servers(backend: ServerClient, settings: Settings) -> tuple[ProbeResult, ...]:
    """Check the server at `settings.endpoint` and return it as the only result.

    Without this setting, look for servers and return all results, usable or not.
    """
    if settings.endpoint:
        return (await backend.check(Endpoint.parse(settings.endpoint)),)
    return await backend.detect(expected=own_endpoints(settings))


async def find_target(
    backend: ServerClient, settings: Settings, state: State, note: Callable[[str], None]
) -> Target:
    """Look for servers and return the server and model to ask, chosen without asking the user.

    While the chosen server loads its model, wait for it. `note` prints notes on servers that are
    not used, on this wait, and on an API key that is not sent. Raises `NoServerFound`,
    `ServerRejected` for a server that cannot be used, `RequestInvalid` if the server has no model
    or several equally likely ones, `WrongUse` if the model of the settings does not exist there, or
    `ServerUnavailable` if its model is not loaded within the limit for the first token.
    """

    def choose(*possible: ProbeResult) -> TargetChoice:
        """Return the choice among these results."""
        return choose_without_asking(possible, model=settings.model, state=state)

    results = await find_servers(backend, settings)
    if not settings.endpoints:  # a user with configured servers knows how to name one
        _note_unused(results, note)
    choice = choose(*results)
    if choice.missing is Missing.MODEL and choice.probed is not None:
        # detection asks for no more than names, so it may not know which models can chat
        model_list = await backend.models(choice.probed.endpoint, is_refresh=True)
        choice = choose(replace(choice.probed, models=model_list.models))
    if settings.model:
        require_model(settings.model, choice.probed, results)

    # while a server loads its first model, it does not tell its name
    if choice.target is not None and choice.awaits_model:
        note(f"{choice.target.product} is loading its model …")
    async with first_token_limit(settings.timeouts.first_token_s):
        while choice.target is not None and choice.awaits_model:
            await asyncio.sleep(_CHECK_EVERY_S)
            choice = choose(await backend.check(choice.target.endpoint))

    if choice.target is None or choice.target.model is None:
        raise why_no_model(choice)
    return choice.target


def _note_unused(results: Sequence[ProbeResult], note: Callable[[str], None]) -> None:
    """Note how to use each server on another machine that only an environment variable names.

    Such servers are not asked before the user allows it.
    """
    for probed in results:
        if probed.is_hinted and probed.can_be_allowed:
            endpoint = probed.endpoint
            url, host = shell_word(endpoint.url), shell_word(endpoint.host)
            note(_UNUSED_SERVER.format(probed.product, endpoint.netloc, url, host))
