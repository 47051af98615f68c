"""Reading ahead: when a session is read while a prompt is typed, and when not."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.base.errors import ServerUnavailable
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import PromptProgress
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import Role, text_message
from lmchat.core.sessions.prompts import PendingPrompt
from lmchat.core.sessions.session import Session
from tests.support.chat_turns import ChatTurns
from tests.support.scripted_backend import model
from tests.support.scripted_tools import ScriptedHost, toolbox

HERE = Endpoint.parse("http://localhost:9931")
ELSEWHERE = Endpoint.parse("http://workstation.lan:9931")
SENTENCE = "The lettuce grows between the beans. "  # about 9 tokens


def path_of(*texts: str):
    """Return prompts and answers in turn."""
    messages = []
    for index, text in enumerate(texts):
        parent_id = messages[-1].message_id if messages else None
        role = Role.ASSISTANT if index % 2 else Role.USER
        messages.append(text_message(role, text, parent_id=parent_id))
    return tuple(messages)


class Typist(ChatTurns):
    """A user who types into a session that was read from the disk."""

    def __init__(self, store, *, endpoint=HERE, product="llama.cpp", **chat) -> None:
        known = replace(model("tiny", context_loaded=100_000), endpoint=endpoint, product=product)
        target = Target(endpoint=endpoint, product=product, model=known)
        super().__init__(store, target=target, **chat)
        self.server.reading_script = [
            PromptProgress(fraction=1.0, processed_tokens=1, total_tokens=1)
        ]
        self.read_ahead = self.sessions.read_ahead

    def show(self, *texts: str, earlier_id: str | None = None) -> None:
        header = self.sessions.open_sessions.switch_to_new().header
        session = Session(header=header, messages=path_of(*texts), earlier_id=earlier_id)
        self.sessions.open_sessions.switch_to_path(session)

    async def type(self, draft: str) -> int:
        """Type a draft; return how many requests were sent to read ahead, in all."""
        self.read_ahead.follow(draft)
        tasks = [task for task in asyncio.all_tasks() if task.get_name() == "read ahead"]
        await asyncio.gather(*tasks, return_exceptions=True)
        return len(self.server.read_ahead_requests)


LONG = (SENTENCE * 200, SENTENCE * 20)  # a prompt and its answer


@pytest.mark.rule("R-41")
async def test_one_request_reads_the_session_without_the_draft(store):
    typist = Typist(store)
    typist.show(*LONG)
    assert await typist.type("") == 0
    assert await typist.type("Secret") == 1
    (request,) = typist.server.read_ahead_requests
    assert [message.text for message in request.messages] == [*LONG, ""]
    assert await typist.type("Secret plans") == 1, "further letters read nothing more"
    assert await typist.type("") == 1
    assert await typist.type("Other plans") == 2


@pytest.mark.rule("R-41")
async def test_a_session_is_read_again_without_a_message_that_was_taken_out(store):
    typist = Typist(store)
    typist.show(*LONG)
    assert await typist.type("W") == 1
    shown = typist.session
    for message in shown.messages:
        await store.append(shown.header, message)
    await shown.toggle_excluded(shown.messages.leaf_id)
    assert await typist.type("Wh") == 2
    request = typist.server.read_ahead_requests[1]
    assert [message.text for message in request.messages] == [LONG[0], ""]


async def test_after_an_error_nothing_is_read_until_the_draft_is_begun_again(store):
    typist = Typist(store)
    typist.show(*LONG)
    typist.server.reading_script = [ServerUnavailable("It is not in memory.")]
    assert await typist.type("W") == 1
    assert await typist.type("Wh") == 1
    assert typist.read_ahead.fraction is None
    typist.read_ahead.follow("")
    assert await typist.type("W") == 2


async def test_nothing_is_read_before_the_older_messages_are(store):
    typist = Typist(store)
    typist.show(*LONG, earlier_id="0123456789abcdef")
    assert await typist.type("W") == 0


async def test_the_setting_and_the_server_say_whether_it_reads_ahead(store):
    for endpoint, product, setting, is_read in (
        (HERE, "llama.cpp", "local", True),
        (HERE, "llama.cpp", "never", False),
        (ELSEWHERE, "llama.cpp", "local", False),
        (ELSEWHERE, "llama.cpp", "always", True),
        (HERE, "Ollama", "local", False),
        (HERE, "OpenAI-compatible", "always", False),
    ):
        typist = Typist(store, endpoint=endpoint, product=product, read_ahead=setting)
        typist.show(*LONG)
        assert bool(await typist.type("W")) is is_read, (endpoint, product, setting)


async def test_typing_starts_no_server_of_tools(store):
    host = ScriptedHost()
    host.is_starting = True
    typist = Typist(store)
    typist.show(*LONG)
    target = typist.sessions.turn_options.target
    typist.sessions.turn_options.target = replace(target, model=replace(target.model, tools=True))
    typist.sessions.turn_options.toolbox = toolbox(host)
    assert await typist.type("W") == 0
    assert host.starts == 0
    host.is_starting = False
    assert await typist.type("Wo"), "with running servers, the session is read"


async def test_nothing_is_read_while_any_session_is_answered(store):
    typist = Typist(store)
    typist.show(*LONG)
    other = typist.session
    gate = asyncio.Event()
    typist.server.scripts = [[gate]]
    typist.sessions.send(other, PendingPrompt(draft="And?"))
    typist.show(*LONG)
    assert await typist.type("W") == 0
    gate.set()
    await typist.sessions.wait(other)
    assert await typist.type("Wh") > 0


async def test_an_emptied_draft_or_another_session_ends_the_reading(store):
    for follow in ("", "W"):
        typist = Typist(store)
        typist.show(*LONG)
        typist.server.reading_script = [asyncio.Event()]
        fractions = []
        ended = asyncio.Event()

        def note_change(fractions=fractions, ended=ended, typist=typist) -> None:
            fractions.append(typist.read_ahead.fraction)
            if typist.read_ahead.fraction is None:
                ended.set()

        typist.read_ahead.on_change = note_change
        typist.read_ahead.follow("W")
        await typist.server.is_reading.wait()
        if follow:  # a session that cannot be read yet
            typist.show(*LONG, earlier_id="0123456789abcdef")
        typist.read_ahead.follow(follow)
        await ended.wait()
        assert typist.server.cancelled_read_aheads == 1
        assert fractions == [0.0, None]
