from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager

from textual import events

from lmchat.app.tui.dialogs.ask_dialog import AskDialog
from lmchat.app.tui.quirks.keys import Paste
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.welcome.welcome_screen import WelcomeScreen
from lmchat.base.errors import EndpointNotAllowed, ServerUnavailable
from lmchat.core.servers.endpoint import Endpoint
from tests.support.desktop import desktop, gone, shown
from tests.support.scripted_backend import ScriptedBackend, model, probed

NEAR = Endpoint.parse("http://localhost:9000")
FAR = Endpoint.parse("http://gpu-box:8000")


class Places(ScriptedBackend):
    """Knows what stands at typed addresses; hosts beyond this machine have to be allowed."""

    def __init__(self, reason: str = "", with_key: str = "") -> None:
        super().__init__(results=[probed("offline")])
        self.reason = reason
        self.with_key = with_key  # the reason once it has got the right key
        self.error: Exception | None = None
        self.gate: asyncio.Event | None = None

    async def detect(self, *, named=(), is_counted=True):
        found = [await self.check(one) for one in named if one.is_loopback or self.allowed]
        return (*found, *self.results)

    async def check(self, endpoint, *, key=""):
        if key:
            self.keys.append(key)
            if key != self.good_key:
                return probed("key_rejected", endpoint=endpoint)
            self.reason = self.with_key
            models = (model(),) if not self.reason else ()
            return probed(self.reason, *models, endpoint=endpoint, is_configured=True)
        if not endpoint.is_loopback and not self.allowed:
            raise EndpointNotAllowed("Endpoint not allowed: Endpoint must be localhost")
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        if endpoint not in (NEAR, FAR):
            return probed("offline", endpoint=endpoint, next_step="Start the server")
        models = (model(),) if not self.reason else ()
        return probed(
            self.reason, *models, endpoint=endpoint, is_configured=True, next_step="Its step"
        )


@asynccontextmanager
async def asked_for(folder, backend, address):
    """The app after an address was typed on the page and Enter pressed."""
    async with desktop(folder, backend) as desk:
        desk.workspace.search_pause_s = 0.05
        await desk.on(WelcomeScreen)
        desk.app.screen.post_message(Paste(address))
        await desk.on(AskDialog)
        await desk.press("enter")
        yield desk


async def test_an_address_where_nothing_answers_can_be_mended_and_one_that_answers_is_used(
    tmp_path,
):
    backend = Places()
    backend.error = ServerUnavailable("Nothing answers there.", next_step="Start the server.")
    async with asked_for(tmp_path, backend, "ftp://x") as desk:
        await shown(desk, "! Endpoint not allowed: only http:// and https:// are")
        await desk.press("escape")
        desk.app.post_message(events.Key("enter", None))
        await desk.say("localhost:90")
        await shown(desk, "! Nothing answers there.")
        backend.error = None
        await desk.say("0", sees="! localhost:900: refused.")
        backend.gate = asyncio.Event()
        await desk.type("0")
        await gone(desk, "! ")
        await desk.press("enter", sees="Checking")
        backend.gate.set()
        await desk.on(ChatScreen)
        assert desk.target.endpoint == NEAR


async def test_a_typed_server_that_wants_a_key_gets_it_after_a_wrong_one(tmp_path):
    backend = Places(reason="auth")
    async with asked_for(tmp_path, backend, "localhost:9000") as desk:
        await desk.on(AskDialog)
        await desk.press("escape", leads_to=WelcomeScreen)
        await desk.press("f5", sees="needs key")
        await shown(desk, "localhost:9000")
        await desk.press("enter", leads_to=AskDialog)

        await desk.say("sk-é", sees="! What you typed has control characters or letters beyond")
        assert (backend.keys, desk.kept_keys) == ([], [])
        assert "sk-é" not in desk.text
        await desk.say("wrong", sees="! The server rejects this API key.")
        await desk.type("sk-good")  # takes the place of what was rejected
        await desk.press("enter", leads_to=ChatScreen)
        assert desk.kept_keys == [(NEAR, "sk-good")]
        assert backend.keys == ["wrong", "sk-good"]


async def test_a_key_is_kept_where_only_a_chat_can_tell_that_it_is_right(tmp_path):
    for with_key in ("not_an_llm", "server_error"):  # it has no list, or its list fails
        backend = Places(reason="auth", with_key=with_key)
        async with asked_for(tmp_path / with_key, backend, "localhost:9000") as desk:
            await desk.on(AskDialog)
            await shown(desk, "needs an API key")
            await desk.say("sk-good", sees="Name of the model")
            assert desk.kept_keys == [(NEAR, "sk-good")]
            await desk.say("mine")
            await desk.on(ChatScreen)
            assert desk.target.model_id == "mine"
