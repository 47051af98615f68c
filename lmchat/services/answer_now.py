"""Answer now: the end of the running thought of a session, at the wish of the user."""

from __future__ import annotations

from lmchat.services.conversation import Conversation

NOT_THINKING = "The model is not thinking now."
_CANNOT = "cannot end a thought: wait, or press Esc and choose a lower /effort."
"""What follows the name of a server that can neither end a thought nor continue behind it."""


def can_answer_now(conversation: Conversation) -> bool:
    """Whether the server of the running answer can end a thought that has not been ended."""
    stream = conversation.stream
    return conversation.is_running and stream is not None and stream.can_answer_now


def answer_now(conversation: Conversation) -> str:
    """End the thought of the running answer, or the first one that comes; the text follows.

    Return an empty text, also if that was asked for before. If the model does not think, or the
    server cannot end a thought, nothing changes, and a sentence that says so is returned.
    """
    turn = conversation.turn
    stream = conversation.stream
    if turn is None or stream is None or not turn.may_think:
        return NOT_THINKING
    product = stream.settings.target.product
    if not product.facts.can_prefill_thought:
        return f"{product.subject} {_CANNOT}"
    stream.answer_now()
    return ""
