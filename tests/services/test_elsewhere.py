"""Answers of an open session that another lmchat writes."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.domain.message import AnswerState
from lmchat.domain.session import Session
from lmchat.services.context_meter import ContextMeter
from lmchat.services.conversation import Conversation
from lmchat.services.open_sessions import written_elsewhere
from lmchat.services.save_queue import SaveQueue
from tests.support.chats import answer, header, prompt
from tests.support.scripted_backend import ScriptedBackend

ASKED = prompt("Go on.")
THEIRS = answer("it begins", parent=ASKED, state=AnswerState.STREAMING)


@pytest.mark.parametrize("state", [AnswerState.STREAMING, AnswerState.COMPLETE])
def test_an_answer_that_streams_and_not_from_here_is_written_elsewhere(state):
    theirs = replace(THEIRS, state=state)
    session = Session(header=header("Elsewhere"), messages=(ASKED, theirs))
    conversation = Conversation(
        session, backend=ScriptedBackend(), save_queue=SaveQueue(None), meter=ContextMeter()
    )
    assert written_elsewhere(conversation) == ((theirs,) if state is AnswerState.STREAMING else ())
