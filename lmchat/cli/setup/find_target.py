"""The server and model of a command."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.api.runtime import Runtime
from lmchat.cli.context import Context
from lmchat.cli.setup.local_servers import start_engine_if_wanted
from lmchat.servers.target import Target


async def target_of_command(context: Context, runtime: Runtime) -> Target:
    """Start the built-in engine, if wanted; choose server and model.

    Raises an `LMChatError` if the engine does not start, or if nothing can be used.
    """
    runtime = replace(runtime, settings=await start_engine_if_wanted(context, runtime))
    return await runtime.finder().ready_target(note=context.output.note)
