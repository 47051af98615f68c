"""What a turn is asked with, and what comes of it before the first token."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct, field

from lmchat.domain.context import ContextPlan, plan_context
from lmchat.domain.event import StreamEvent
from lmchat.domain.message import AnswerState, ChatMessage, Role, new_id, now, text_message
from lmchat.domain.request import AnyText, ChatRequest, Output, Sampling
from lmchat.domain.server import Product, Target
from lmchat.errors import RequestInvalid
from lmchat.services.continuation import anchor

CONTINUE = (
    "Your last answer broke off. Go on with it exactly where it stopped, in the middle of a word if need be: "
    "first repeat its last words, which stand below, then write what follows them. No greeting, no comment, "
    "no code fence that is open already."
)
"""Asked where a server cannot take up an answer by itself; the last words follow."""
_TAKES_UP = frozenset({Product.LLAMA_CPP, Product.JAN, Product.BUILT_IN})
"""Servers that go on writing when the last message is the assistant's."""
_TAKES_UP_THOUGHTS = frozenset({Product.LLAMA_CPP, Product.BUILT_IN})
"""Of these, who goes on thinking where it has only thought so far."""


class HowToAsk(Struct, frozen=True, kw_only=True):
    """What a turn uses; a change holds from the next turn on."""

    target: Target
    """Server and model."""
    sampling: Sampling = field(default_factory=Sampling)
    """How to choose words."""
    is_truncating: bool = True
    """Whether the oldest messages may be left out; else a full window is refused."""
    output: Output = field(default_factory=AnyText)
    """What form the answer is to have."""


class MessageAdded(Struct, frozen=True, kw_only=True):
    """A prompt is on the disk (or, where nothing can be saved, in memory)."""

    message: ChatMessage
    """The prompt."""


class AnswerBegun(Struct, frozen=True, kw_only=True):
    """An answer is about to come."""

    message: ChatMessage
    """Its still growing message."""
    plan: ContextPlan
    """What of the conversation is sent."""


ConversationEvent = MessageAdded | AnswerBegun | StreamEvent


def plan_for(path: Sequence[ChatMessage], how: HowToAsk, factor: float) -> ContextPlan:
    """Return what of a path fits into the window.

    Raises:
        RequestInvalid: it does not fit whole, and the user wants nothing to be left out.
    """
    plan = plan_context(
        path,
        limit=how.target.model.context if how.target.model else None,
        max_tokens=how.sampling.max_tokens,
        factor=factor,
    )
    if not plan.fits and not how.is_truncating:
        raise RequestInvalid(
            f"The conversation needs about {plan.needed_tokens} tokens and {plan.reserve} more for the "
            f"answer; the model has room for {plan.limit}.",
            hint="Begin a new session, choose a model with a larger window, or set auto_truncate = true.",
            kind="context_overflow",
        )
    return plan


def empty_answer(
    path: Sequence[ChatMessage], how: HowToAsk, versions: int, begun: ChatMessage | None
) -> ChatMessage:
    """Return the answer to a path as it begins, the newest of so many versions."""
    return ChatMessage(
        message_id=new_id(),
        role=Role.ASSISTANT,
        parts=begun.parts if begun else (),
        created_at=now(),
        parent_id=path[-1].message_id if path else None,
        state=AnswerState.STREAMING,
        model=how.target.model_id,
        endpoint=how.target.endpoint.url,
        version=versions,
        versions=versions,
    )


def still_answering() -> RequestInvalid:
    """Return the refusal of a second turn in one session."""
    return RequestInvalid("An answer is still on its way.", hint="Stop it with Esc, or wait.")


def takes_up(product: Product, begun: ChatMessage) -> bool:
    """Whether a server goes on writing an answer that it is given as the last message."""
    return product in (_TAKES_UP if begun.text else _TAKES_UP_THOUGHTS)


def request_for(
    how: HowToAsk, plan: ContextPlan, begun: ChatMessage | None, *, is_taken_up: bool = False
) -> ChatRequest:
    """Return the request; `begun` is an unfinished answer to go on with, taken up or told to."""
    messages = plan.messages
    if begun is not None and is_taken_up and not begun.text:
        messages = (*messages, begun)  # without a word it takes no part in what is planned
    elif begun is not None and begun.text and not is_taken_up:
        told = f"{CONTINUE}\n\n{anchor(begun.text)}"
        messages = (*messages, text_message(Role.USER, told))
    return ChatRequest(
        endpoint=how.target.endpoint,
        product=how.target.product,
        model=how.target.model_id,
        messages=messages,
        sampling=how.sampling,
        output=how.output,
    )
