"""Answer now: the server ends a thought early."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.core.chat.events import TurnStarted
from lmchat.core.chat.followers import NOT_THINKING
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import (
    ModelNamed,
    ReasoningDelta,
    RequestSent,
    StreamFinished,
    TextDelta,
)
from lmchat.core.servers.target import Target
from tests.support.chat_turns import ChatTurns
from tests.support.scripted_backend import ENDPOINT, ScriptedBackend, model
from tests.support.scripted_server import (
    DONE,
    Gate,
    delta,
    finish,
    json_reply,
    sse,
    text_reply,
)

CHAT = "POST /v1/chat/completions"
CONTROL = "POST /v1/chat/completions/control"
END = StreamFinished(reason="stop")


class Pressing(ChatTurns):
    """A user who presses the key at events of these kinds, one after the other."""

    def __init__(self, store, server, *kinds: type, url: str = ENDPOINT.url) -> None:
        endpoint = Endpoint.parse(url)
        known = replace(model("tiny"), endpoint=endpoint, product="llama.cpp")
        target = Target(endpoint=endpoint, product="llama.cpp", model=known)
        super().__init__(store, server=server, target=target)
        self.kinds = list(kinds)
        self.replies: list[str] = []

    def on_event(self, session, event) -> None:
        super().on_event(session, event)
        if self.kinds and isinstance(event, self.kinds[0]):
            del self.kinds[0]
            self.replies.append(session.turn.answer_now())
            assert not session.turn.can_answer_now


async def test_llama_cpp_is_told_the_id_of_the_answer_and_the_user_if_it_cannot_end_a_thought(
    store, client, server
):
    for reply, notes in (
        (json_reply({"success": True}), []),
        (
            text_reply("File Not Found", status=404),
            ["llama.cpp cannot end a thought: wait, or stop it and choose a lower /effort."],
        ),
    ):
        told = Gate()

        def control(_, told=told, reply=reply):
            told.open()
            return reply

        server.requests.clear()
        server.on(CONTROL, control)
        thoughts = [delta(reasoning_content="Hm. "), told, delta(reasoning_content="So.")]
        server.on(CHAT, sse(*thoughts, "Four.", finish(), DONE))
        chat = Pressing(store, client, ReasoningDelta, url=server.url)
        await chat.send("How many beds?")
        assert (chat.replies, chat.notes) == ([""], notes)
        (asked,) = server.seen(CHAT)
        assert asked.json["reasoning_control"] is True
        assert [order.json for order in server.seen(CONTROL)] == [
            {"model": "tiny", "id": "chatcmpl-1", "action": "reasoning_end"}
        ]
        answer = (await chat.on_disk())[-1]
        assert (answer.reasoning, answer.text) == ("Hm. So.", "Four.")


async def test_a_key_before_the_thought_ends_it_and_further_keys_do_nothing(store):
    hm = ReasoningDelta(text="Hm.")
    well = ReasoningDelta(text="Well.")
    named = ModelNamed(model="tiny", answer_id="chatcmpl-7")
    backend = ScriptedBackend([RequestSent(), named, hm, well, TextDelta(text="Four."), END])
    presses = (TurnStarted, RequestSent, ReasoningDelta, ReasoningDelta, TextDelta)
    chat = Pressing(store, backend, *presses)
    await chat.send("x")
    assert chat.replies == [NOT_THINKING, "", "", "", NOT_THINKING]
    assert chat.session.turn.answer_now() == NOT_THINKING
    assert backend.thoughts_to_end == [(backend.requests[0].target, "chatcmpl-7")]
    assert len(backend.requests) == 1
    backend.scripts = [[RequestSent(), hm, TextDelta(text="Four."), END]]
    chat.kinds = [ReasoningDelta]
    chat.replies = []
    chat.use("LM Studio")
    await chat.send("y")
    way_out = "wait, or stop it and choose a lower /effort."
    assert chat.replies == [f"LM Studio cannot end a thought: {way_out}"]
