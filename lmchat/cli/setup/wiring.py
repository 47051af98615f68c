"""Assembly of what commands share: API keys, servers, engine, store and sessions.

`open_runtime` closes what it opens; callers of the others close what they return. Imports httpx and
SQLite.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from functools import cache, partial

from msgspec import Struct
from msgspec.structs import replace

from lmchat.attachments.web_page import WebPages
from lmchat.chat.service import ChatService
from lmchat.chat.settings import SamplingLayers
from lmchat.cli.context import Context
from lmchat.cli.setup.api_keys import ApiKeys
from lmchat.cli.setup.make_toolbox import make_toolbox
from lmchat.cli.setup.open_store import open_stores
from lmchat.config.credentials import Credentials
from lmchat.config.settings import Level, SamplingSettings, Settings
from lmchat.config.state import State, read_state
from lmchat.errors import LMChatError, WrongUse
from lmchat.library.library import export_unsaved
from lmchat.metrics import Metrics
from lmchat.processes.background import run_abandonable
from lmchat.processes.environment import command_line
from lmchat.servers.client import HttpServerClient
from lmchat.servers.discovery.choose import endpoints_of
from lmchat.servers.discovery.finder import ServerFinder
from lmchat.servers.endpoint import Endpoint, is_address
from lmchat.servers.local.engine import Engine
from lmchat.servers.local.kept_slot import KeptSlot
from lmchat.servers.products import named_endpoints
from lmchat.servers.protocols import ServerClient
from lmchat.servers.sampling_options import checked_option, parsed_value
from lmchat.storage.stats_store import StatsStore
from lmchat.storage.store import Store

_logger = logging.getLogger(__name__)


class Runtime(Struct, frozen=True, kw_only=True):
    """What a command that talks to servers needs."""

    settings: Settings
    backend: ServerClient
    engine: Engine
    store: Store
    saved: Store  # the same, or that in the file if `store` is in memory
    stats_store: StatsStore
    state: State

    def finder(self) -> ServerFinder:
        return ServerFinder(self.backend.models, self.settings, self.state)


@asynccontextmanager
async def open_runtime(
    context: Context,
    *,
    is_saved: bool = True,
    reads_per_second: float | None = None,
    warn: Callable[[str], object] | None = None,
) -> AsyncIterator[Runtime]:
    """Open all that a command needs to talk to servers, and close it after the block.

    At the end, the counters of requests are saved. `is_saved` is False for a command that saves no
    session.
    """
    settings = context.settings
    if warning := await run_abandonable(api_keys_of(context).load):
        if warn is None:
            context.output.note(f"lmchat: {warning}")
        else:
            warn(warning)
    state = await saved_state(context)
    backend, engine = make_backend(context, settings, state, reads_per_second=reads_per_second)
    opening = open_stores(context, is_saved=is_saved, is_noted=warn is None)
    async with opening as stores:
        if is_saved and not context.options.temporary:
            engine.slot = KeptSlot(
                context.paths.kept_prompts_dir,
                most_mb=settings.local.kept_prompts_mb,
                are_saved=stores.saved.are_visible,
            )
        try:
            async with aclosing(backend):
                yield Runtime(
                    settings=settings,
                    backend=backend,
                    engine=engine,
                    store=stores.store,
                    saved=stores.saved,
                    stats_store=stores.stats_store,
                    state=state,
                )
        finally:  # when no request runs any more, before the store is closed
            counted = backend.metrics()
            if counted != Metrics():
                try:
                    await stores.stats_store.count(counted)
                except LMChatError as error:
                    _logger.warning("the counters could not be saved: %s", error.kind)


async def saved_state(context: Context) -> State:
    """Return the defaults if it cannot be read."""
    state, _ = await run_abandonable(partial(read_state, context.paths.state_file))
    return state


def make_chat(context: Context, runtime: Runtime, *, with_titles: bool = False) -> ChatService:
    """Make the service of a chat or `ask`, with the configured tools: for `ask` if it is wanted."""
    options, chat_settings = context.options, runtime.settings.chat
    is_chat = not options.handler  # else `ask`
    if not is_chat:
        chat_settings = replace(chat_settings, auto_compact=False)
    if not with_titles:
        chat_settings = replace(chat_settings, auto_title=False)
    toolbox = None
    if context.has_tools and (is_chat or options.tools):
        servers = context.loaded.servers
        toolbox = make_toolbox(context, runtime.settings, servers, runtime.state)
    return ChatService(
        chat=chat_settings,
        backend=runtime.backend,
        store=runtime.store,
        stats_store=runtime.stats_store,
        profile_name=options.profile or "",
        layers=sampling_layers(context),
        toolbox=toolbox,
    )


async def keep_unsaved(context: Context, chat: ChatService) -> None:
    """Write what cannot be saved into files, and name them."""
    unsaved = [] if context.options.temporary else chat.unsaved()
    try:
        files = await asyncio.to_thread(export_unsaved, context.paths.state_dir, unsaved)
    except LMChatError as error:
        context.output.note(f"The end of the chat could not be saved: {error.message}")
    else:
        for file in files:
            command = command_line(["lmchat", "import", str(file)])
            context.output.note(f"The end of the chat could not be saved. {command} adds it.")


def sampling_layers(context: Context) -> SamplingLayers:
    """Return sampling options by the place that sets them; raise `WrongUse` for a wrong `--set`."""
    loaded = context.loaded
    chat: dict[str, object] = {}
    profile: dict[str, object] = {}
    command_line: dict[str, object] = {}
    layers = {Level.PROFILE: profile, Level.COMMAND_LINE: command_line}
    for name in SamplingSettings.__struct_fields__:
        layer = layers.get(loaded.origin(f"chat.{name}").level, chat)
        layer[name] = getattr(loaded.settings.chat, name)
    for text in context.options.sampling:
        name, equals_sign, value = text.partition("=")
        if not name.strip() or not equals_sign:
            raise WrongUse(
                f"--set needs NAME=VALUE, not “{text}”.", next_step="Example: --set top_k=40"
            )
        command_line[name.strip()] = checked_option(name.strip(), parsed_value(value.strip()))
    return SamplingLayers(
        command_line=command_line,
        profile_name=context.options.profile or "",
        profile=profile,
        models=loaded.settings.models,
        chat=chat,
    )


@cache
def api_keys_of(context: Context) -> ApiKeys:
    """Return one object for a run, as it remembers typed keys.

    Call its `load`, which blocks, before they are used.
    """
    return ApiKeys(context.loaded, context.environ, Credentials(context.paths.credentials_file))


def make_backend(
    context: Context,
    settings: Settings,
    state: State,
    *,
    reads_per_second: float | None = None,
) -> tuple[ServerClient, Engine]:
    """Make the client of all servers, and the built-in engine, which the client starts and ends.

    The API keys must be loaded. The screen passes its frame rate as `reads_per_second`: more reads
    of a stream show nothing sooner. By default, streams are read as bytes arrive.
    """
    keys = api_keys_of(context)
    engine = make_engine(context, settings)
    client = HttpServerClient(
        settings,
        keys=keys,
        cache_file=context.paths.models_file,
        reads_per_second=reads_per_second,
        engine=engine,
    )
    urls = (entry.url for entry in settings.endpoints)
    configured = [Endpoint.parse(url) for url in urls if is_address(url)]
    client.models.scan_also(
        named_endpoints(context.environ), used=(*configured, *endpoints_of(state))
    )
    return client, engine


def make_pages(settings: Settings) -> WebPages:
    return WebPages(settings.allowed_hosts, settings.ca_file)


def make_engine(context: Context, settings: Settings) -> Engine:
    return Engine(
        settings.local,
        folder=context.paths.demo_dir,
        log_file=context.paths.engine_log_file,
        environ=context.environ_of_programs,
        # it has its own API key, which the client has to send
        on_address=api_keys_of(context).accept,
    )
