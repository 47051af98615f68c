"""Questions on the way to a server: its address, whether its host is allowed, and its API key."""

from __future__ import annotations

from lmchat.errors import EndpointNotAllowed, LMChatError
from lmchat.safe_text import header_value
from lmchat.servers.discovery.probe_result import WANTS_KEY, ProbeResult, Verdict
from lmchat.servers.endpoint import Endpoint
from lmchat.tui.chat_view import Chat
from lmchat.tui.dialogs.ask_dialog import host_question


class ServerQuestions:
    """Tries addresses and API keys that the user types.

    Each `try_…` returns the server if it can be used, otherwise a text that says why not.
    """

    def __init__(self, chat: Chat) -> None:
        self._chat = chat
        self._workspace = chat.workspace

    async def try_address(self, typed: str) -> ProbeResult | str:
        """Check the server at an address, which `AddressDialog` has found to be valid."""
        return await self.try_server(Endpoint.parse(typed))

    async def try_server(self, endpoint: Endpoint) -> ProbeResult | str:
        """Check a server; before anything is sent to another machine, ask whether that is allowed.

        Return the server if it is usable and has models, or if it needs an API key. Otherwise
        return why it cannot be used; an empty text if the user does not allow its host.
        """
        try:
            probed = await self._workspace.backend.check(endpoint)
        except EndpointNotAllowed:
            return await self._try_other_machine(endpoint)
        except LMChatError as error:
            return error.message_with_hint
        if probed.verdict.is_server:
            self._workspace.catalogue.expect(endpoint)  # searches probe it, too, from now on
        is_usable = probed.verdict.is_usable and probed.has_model
        if is_usable or probed.verdict in WANTS_KEY:
            return probed
        return f"{endpoint.netloc}: {probed.finding}. {probed.next_step}"

    async def _try_other_machine(self, endpoint: Endpoint) -> ProbeResult | str:
        """Ask whether a host may be used in this run, then check its server.

        Return what `try_server` returns; an empty text if the host may not be used.
        """
        dialog = host_question(endpoint, allowed=self._workspace.settings.allowed_hosts)
        if not await self._chat.ask(dialog):
            return ""
        self._workspace.backend.allow(endpoint.netloc)
        return await self.try_server(endpoint)

    async def try_key(self, endpoint: Endpoint, key: str) -> ProbeResult | str:
        """Try an API key; if the server accepts it and is usable, keep the key.

        Return the server then, otherwise why the key or the server cannot be used.
        """
        try:
            header_value(key)
        except ValueError as error:  # says which characters the key has that no header can have
            return f"What you typed {error}. Type the API key without them."
        try:
            probed = await self._workspace.backend.try_key(endpoint, key)
        except LMChatError as error:
            return error.message_with_hint
        if probed.verdict is Verdict.KEY_REJECTED:
            return "The server rejects this API key."
        if not probed.verdict.is_usable:
            return probed.next_step or str(probed.verdict)
        await self._keep_key(endpoint, key)
        return probed

    async def _keep_key(self, endpoint: Endpoint, key: str) -> None:
        """Save the API key of a server, and notify the user where it is, or why it is not saved."""
        try:
            await self._workspace.platform.keep_key(endpoint, key)
        except LMChatError as error:  # the key holds until the end of this run
            self._chat.show_error(error)
        else:
            self._chat.notify("The API key is saved in credentials.toml.")
