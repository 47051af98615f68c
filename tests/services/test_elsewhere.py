"""Answers of an open session that another lmchat writes: which they are, and what a look takes of them."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.message import AnswerState
from lmchat.domain.session import Session
from lmchat.services.context_meter import ContextMeter
from lmchat.services.conversation import Conversation
from lmchat.services.open_sessions import news, written_elsewhere
from lmchat.services.save_queue import SaveQueue
from tests.support.chats import answer, header, prompt
from tests.support.scripted_backend import ScriptedBackend

ASKED = prompt("Go on.")
THEIRS = answer("it begins", parent=ASKED, state=AnswerState.STREAMING)


class Told:
    """A store that tells what it is given, after something else has happened."""

    def __init__(self, now=None, *, meanwhile=lambda: None):
        self.now = now
        self.meanwhile = meanwhile

    async def answer_now(self, _session_id, _message_id):
        self.meanwhile()
        return self.now


@pytest.fixture
def conversation():
    session = Session(header=header("Elsewhere"), messages=(ASKED, THEIRS))
    return Conversation(
        session, backend=ScriptedBackend(), save_queue=SaveQueue(Told()), meter=ContextMeter()
    )


async def test_what_has_come_takes_its_place_on_the_path_and_is_told_once(conversation):
    more = replace(THEIRS, parts=answer("it begins and goes on", parent=ASKED).parts)
    assert written_elsewhere(conversation) == (THEIRS,)
    assert await news(conversation, Told(more)) == (more,)
    assert list(conversation.messages) == [ASKED, more]
    assert await news(conversation, Told(more)) == ()


async def test_once_it_has_ended_there_is_none_any_more(conversation):
    ended = replace(THEIRS, state=AnswerState.COMPLETE)
    assert await news(conversation, Told(ended)) == (ended,)
    assert written_elsewhere(conversation) == ()


async def test_one_that_is_gone_is_kept_as_far_as_it_was_seen(conversation):
    (gone,) = await news(conversation, Told(None))
    assert (gone.text, gone.state) == ("it begins", AnswerState.STOPPED)


async def test_of_a_path_that_was_left_meanwhile_nothing_is_told(conversation):
    other = Session(header=conversation.header, messages=(ASKED, answer("another", parent=ASKED)))
    store = Told(replace(THEIRS, state=AnswerState.COMPLETE), meanwhile=lambda: conversation.adopt(other))
    assert await news(conversation, store) == ()
    assert [message.text for message in conversation.messages] == ["Go on.", "another"]


async def test_what_has_ended_meanwhile_is_not_begun_again(conversation):
    ended = Session(header=conversation.header, messages=(ASKED, replace(THEIRS, state=AnswerState.COMPLETE)))
    old = replace(THEIRS, parts=answer("it begins and", parent=ASKED).parts)
    assert await news(conversation, Told(old, meanwhile=lambda: conversation.adopt(ended))) == ()
    assert conversation.messages[-1].state is AnswerState.COMPLETE
