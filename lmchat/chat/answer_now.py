"""Answer now: the end of the running thought of a session, at the wish of the user."""

from __future__ import annotations

from lmchat.chat.conversation import Conversation
from lmchat.servers.products import product_named

NOT_THINKING = "The model is not thinking now."
_CANNOT = "cannot end a thought: wait, or press Esc and choose a lower /effort."
"""Words behind the name of a server that cannot end a thought."""


def can_answer_now(conversation: Conversation) -> bool:
    """Whether `answer_now` could end a thought of the running answer, for the hint at its key.

    It could if the server can end thoughts, and only once. The model need not be thinking now.
    """
    stream = conversation.stream
    return conversation.is_running and stream is not None and stream.can_answer_now


def answer_now(conversation: Conversation) -> str:
    """End the thought of the running answer, or the first one that comes; the text follows.

    Return an empty text, also if the user has asked for it before. If the model does not think, or
    the server cannot end a thought, nothing changes, and a sentence that says so is returned.
    """
    turn = conversation.turn
    stream = conversation.stream
    if turn is None or stream is None or not turn.may_think:
        return NOT_THINKING
    product = stream.settings.target.product
    # servers that can end a thought are among those that can continue behind one
    if not product_named(product).can_prefill_thought:
        return f"{product_named(product).subject} {_CANNOT}"
    stream.answer_now()
    return ""
