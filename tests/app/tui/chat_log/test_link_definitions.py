"""Link definitions that are complete only when the answer is."""

from __future__ import annotations

from lmchat.core.sessions.message import AnswerState
from tests.support.chat_log_app import answer, pour, screen_text, streaming

TEXT = "Ask [the guild][g] for seeds.\n\nAnd wait.\n\n[g]: https://example.org/guild"


async def test_a_definition_in_a_last_line_without_an_end_makes_links_when_the_answer_ends(log):
    for state in (AnswerState.COMPLETE, AnswerState.STOPPED, AnswerState.INTERRUPTED):
        log.show([])
        log.start_answer(streaming())
        for start in range(0, len(TEXT), 7):
            await pour(log, TEXT[start : start + 7])
        assert "Ask [the guild][g] for seeds." in screen_text(log)
        log.end_answer(answer(TEXT, state=state))
        assert "Ask the guild for seeds." in screen_text(log)
        assert "And wait." in screen_text(log)
