"""Continuation of an unfinished answer: by prefill, or by a prompt that asks for what follows.

Prefill means that the unfinished answer is the last message of the request, and the server lets
the model write on. Without it, a model may repeat words of the end of the answer.
"""

from __future__ import annotations

from msgspec import Struct

from lmchat.errors import RequestInvalid
from lmchat.servers.model import Target
from lmchat.servers.products import product_named
from lmchat.sessions.message import ChatMessage, Role, text_message

CONTINUE = (
    "Your last answer broke off. Go on with it exactly where it stopped, in the middle of a word "
    "if need be. Its last words are below: do not repeat them, write what follows them. "
    "No greeting, no comment, no code fence that is open already."
)
ANCHOR_CHARS = 60  # at the end of the answer, which the prompt to continue quotes


def can_prefill(product: str, continued: ChatMessage) -> bool:
    """Whether servers of a product write on when `continued` is the last message of a request.

    Some continue a text, but not an answer that has nothing but a thought.
    """
    facts = product_named(product)
    return facts.can_prefill if continued.text else facts.can_prefill_thought


def require_prefill(target: Target, continued: ChatMessage | None = None) -> None:
    """Raise `RequestInvalid` if the server of a target cannot continue words of the user.

    `continued` is the answer that has these words; None for words that are no answer yet. An answer
    may be nothing but a thought, which fewer servers can continue.
    """
    can_continue = product_named(target.product).can_prefill
    if continued is not None:
        can_continue = can_prefill(target.product, continued)
    if not can_continue:
        subject = product_named(target.product).subject
        raise RequestInvalid(
            f"{subject} cannot continue a text that you have written.",
            hint="Use a model of llama.cpp, Jan or the built-in engine.",
            kind="unsupported",
        )


class Beginning(Struct, kw_only=True):
    """The beginning of an answer, which the model is to continue, and how it is sent."""

    message: ChatMessage
    is_prefilled: bool
    """Whether the server gets it as the last message; else a prompt asks the model to go on."""
    is_exact: bool
    """Whether only prefill will do: words of the user are continued exactly, or not at all."""
    ends_thought: bool = False
    """Whether the request closes the thought that it ends with, so that the answer follows."""

    @classmethod
    def of(
        cls, target: Target, continued: ChatMessage | None, first_words: str
    ) -> Beginning | None:
        """Return the beginning of an answer: `first_words` of the user, else `continued`.

        Return None if `first_words` is empty and `continued` is None. Raises `RequestInvalid` if
        the user's words have to be continued, and the server cannot do that.
        """
        message = text_message(Role.ASSISTANT, first_words) if first_words else continued
        if message is None:
            return None
        is_edited = message.stats is not None and message.stats.is_edited
        is_exact = bool(first_words) or is_edited
        if is_exact:
            require_prefill(target, message)
        is_prefilled = can_prefill(target.product, message)
        return cls(message=message, is_prefilled=is_prefilled, is_exact=is_exact)

    @property
    def thought_break(self) -> str:
        """Line ends after which a new thought is a paragraph below that of the old answer.

        Empty if the old answer has no thought, or if the model continues it.
        """
        thought = self.message.reasoning
        continues_thought = self.is_prefilled and not self.message.text
        return "" if continues_thought or not thought else "\n" * (2 - thought[-2:].count("\n"))


def last_words(text: str) -> str:
    """Return the last words of an answer, at most 60 characters, without white space at the end.

    They begin with a whole word, unless that would leave at most 30 characters, as in Chinese.
    """
    whole = text.rstrip()
    end = whole[-ANCHOR_CHARS:]
    if len(whole) <= ANCHOR_CHARS:
        return end
    _cut_word, _, whole_words = end.partition(" ")
    whole_words = whole_words.lstrip()
    return whole_words if len(whole_words) > ANCHOR_CHARS // 2 else end
