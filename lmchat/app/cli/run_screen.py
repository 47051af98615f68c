"""`lmchat` without a command: runs the chat screen."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

from lmchat.app.cli.context import Context
from lmchat.app.tui.app import LMChatApp
from lmchat.app.tui.quirks.driver import guard_terminal
from lmchat.app.tui.screen import DispatcherProtocol
from lmchat.base.leaf import import_function
from lmchat.core.config.settings import Settings
from lmchat.core.config.state import read_state
from lmchat.core.servers.endpoint import configured_endpoints

_MAKE_DISPATCHER = "lmchat.app.cli.setup.screen_wiring:make_dispatcher"


async def run_chat(settings: Settings, context: Context) -> int:
    """Run the chat screen until the user quits; return its exit code.

    The dispatcher, with all behind the painted widgets, is imported in a thread after the first
    paint. Raises the error that ended the screen.
    """
    configured_endpoints(settings)  # a wrong address is told before the first paint
    # the dispatcher shows the warning
    state, warning = read_state(context.paths.state_file)
    async with AsyncExitStack() as stack:

        async def open_dispatcher(app: LMChatApp) -> DispatcherProtocol:
            make = await asyncio.to_thread(import_function, _MAKE_DISPATCHER)
            opened: DispatcherProtocol = await stack.enter_async_context(
                make(app, context, settings, state, warning)
            )
            return opened

        app = LMChatApp(settings, state, open_dispatcher, is_temporary=context.options.temporary)
        guard_terminal(app, app.stop_and_save)
        await app.run_async(mouse=settings.ui.mouse)
    if app.failure is not None:
        raise app.failure
    return app.return_code or 0
