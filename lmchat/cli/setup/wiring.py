"""Assembly of what commands share, as `api/runtime.py` makes it of the options of a run."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import cache

from msgspec.structs import replace

from lmchat.api.api_keys import ApiKeys
from lmchat.api.runtime import Place
from lmchat.api.runtime import Runtime as Runtime  # noqa: PLC0414 - leaves import it from here
from lmchat.attachments.web_page import WebPages
from lmchat.chat.service import ChatService
from lmchat.cli.context import Context
from lmchat.cli.read_prompt import sampling_layers
from lmchat.config.settings import Settings
from lmchat.config.state import State
from lmchat.errors import LMChatError
from lmchat.library.library import export_unsaved
from lmchat.processes.environment import command_line
from lmchat.servers.local.engine import Engine
from lmchat.servers.protocols import ServerClient


@cache
def place_of(context: Context) -> Place:
    """Return one object for a run, as it remembers typed keys."""
    is_temporary = context.options.temporary
    return Place.of(context.paths, context.loaded, context.environ, is_temporary=is_temporary)


def open_runtime(
    context: Context,
    *,
    is_saved: bool = True,
    reads_per_second: float | None = None,
    warn: Callable[[str], object] | None = None,
) -> AbstractAsyncContextManager[Runtime]:
    """Without `warn`, which the screen has, notes are printed."""
    return place_of(context).open(
        note=warn or context.note,
        is_saved=is_saved,
        reads_per_second=reads_per_second,
        is_screen=warn is not None,
    )


def api_keys_of(context: Context) -> ApiKeys:
    """Call its `load`, which blocks, before they are used."""
    return place_of(context).keys


async def saved_state(context: Context) -> State:
    return await place_of(context).saved_state()


def make_backend(context: Context, settings: Settings, state: State) -> tuple[ServerClient, Engine]:
    """The API keys must be loaded."""
    return place_of(context).make_backend(settings, state)


def make_engine(context: Context, settings: Settings) -> Engine:
    return place_of(context).make_engine(settings)


def make_pages(settings: Settings) -> WebPages:
    return WebPages(settings.allowed_hosts, settings.ca_file)


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
        toolbox = place_of(context).make_toolbox(runtime.settings, servers, runtime.state)
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
