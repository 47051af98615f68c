"""Tries servers and API keys that the user names.

Each function returns the server if it can be used, otherwise a text that says why not.
"""

from __future__ import annotations

from lmchat.errors import EndpointNotAllowed, LMChatError
from lmchat.safe_text import header_value
from lmchat.servers.discovery.probe_result import WANTS_KEY, ProbeResult, Verdict
from lmchat.servers.endpoint import Endpoint
from lmchat.tui.chat_view import Chat
from lmchat.tui.dialogs.ask_dialog import host_question


async def try_server(chat: Chat, endpoint: Endpoint) -> ProbeResult | str:
    """Check a server; before anything is sent to another machine, ask whether that is allowed.

    Return the server if it is usable and has models, or if it needs an API key. Otherwise return
    why it cannot be used; an empty text if the user does not allow its host.
    """
    backend, catalogue = chat.workspace.backend, chat.workspace.catalogue
    try:
        probed = await backend.check(endpoint)
    except EndpointNotAllowed:
        question = host_question(endpoint, allowed=chat.workspace.settings.allowed_hosts)
        if not await chat.ask(question):
            return ""
        backend.allow(endpoint.netloc)
        return await try_server(chat, endpoint)
    except LMChatError as error:
        return error.message_with_hint
    if probed.verdict.is_server:
        catalogue.expect(endpoint)  # searches probe it, too, from now on
    is_usable = probed.verdict.is_usable and probed.has_model
    if is_usable or probed.verdict in WANTS_KEY:
        return probed
    return f"{endpoint.netloc}: {probed.finding}. {probed.next_step}"


async def try_key(chat: Chat, endpoint: Endpoint, key: str) -> ProbeResult | str:
    """Try an API key; if the server accepts it and is usable, keep the key.

    Return the server then, otherwise why the key or the server cannot be used.
    """
    try:
        header_value(key)
    except ValueError as error:  # says which characters the key has that no header can have
        return f"What you typed {error}. Type the API key without them."
    try:
        probed = await chat.workspace.backend.check(endpoint, key=key)
    except LMChatError as error:
        return error.message_with_hint
    if probed.verdict is Verdict.KEY_REJECTED:
        return "The server rejects this API key."
    if not probed.verdict.is_usable:
        return probed.next_step or str(probed.verdict)
    try:
        await chat.workspace.platform.keep_key(endpoint, key)
    except LMChatError as error:  # the key holds until the end of this run
        chat.show_error(error)
    else:
        chat.notify("The API key is saved in credentials.toml.")
    return probed
