"""Assembly of what commands share, as `api/runtime.py` makes it of the options of a run."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from functools import cache

from msgspec.structs import replace

from lmchat.api.runtime import Runtime, Setup
from lmchat.app.cli.context import Context
from lmchat.app.cli.read_prompt import sampling_layers
from lmchat.core.chat.service import ChatService


@cache
def setup_of(context: Context) -> Setup:
    """Return one object for a run, as it remembers typed keys."""
    return Setup.of(
        context.paths, context.loaded, context.environ, is_temporary=context.options.temporary
    )


def open_runtime(
    context: Context,
    *,
    is_saved: bool = True,
    reads_per_second: float | None = None,
    warn: Callable[[str], object] | None = None,
) -> AbstractAsyncContextManager[Runtime]:
    """Without `warn`, which the screen has, notes are printed."""
    return setup_of(context).open(
        note=warn or context.note,
        is_saved=is_saved,
        reads_per_second=reads_per_second,
        is_screen=warn is not None,
        is_local=context.is_local,
    )


def make_chat(context: Context, runtime: Runtime, *, with_titles: bool = False) -> ChatService:
    """Make the service of a chat, with the configured tools."""
    chat_settings = runtime.settings.chat
    if not with_titles:
        chat_settings = replace(chat_settings, auto_title=False)
    toolbox = None
    if context.has_tools:
        toolbox = setup_of(context).make_toolbox(
            runtime.settings, context.loaded.servers, runtime.state
        )
    return ChatService(
        chat=chat_settings,
        backend=runtime.backend,
        store=runtime.store,
        stats_store=runtime.stats_store,
        layers=sampling_layers(context),
        toolbox=toolbox,
    )
