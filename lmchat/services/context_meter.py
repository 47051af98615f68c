"""Use of the context window: estimates of tokens, and what of a path fits."""

from __future__ import annotations

import re
from collections.abc import Sequence

from msgspec import Struct

from lmchat.domain.message import ChatMessage, Role, SentThoughts, thoughts_to_send
from lmchat.domain.server import Target
from lmchat.text import shell_word

_TEMPLATE_TOKENS = 4  # about what a chat template adds to a message
_KEPT_MESSAGES = 2  # the last messages, which are sent in any case
_MAX_RESERVE = 1000  # tokens kept free for an answer without a limit of its own
_WIDE = "[^\0-\u2e7f]"  # CJK and emoji
_ASCII = bytes(range(128))
_SMALL_TOKENS = 24  # counts of smaller prompts depend more on the chat template than on the text
_MAX_FACTOR = 4.0
_CUT_SHARE = 0.6  # a server that counts less than this share has left something out
_FULL_SHARE = 0.98
"""A prompt that fills this share of the window, with no room for an answer, was cut."""
_CUT_TOKENS = 1000  # smaller estimates are too rough for that


def raw_tokens(text: str) -> float:
    """Return 4 characters of ASCII, 2 of other letters, 1 of CJK and emoji each as one token."""
    if text.isascii():
        return len(text) / 4
    encoded = text.encode(errors="surrogatepass")
    letters = encoded.translate(None, _ASCII).decode(errors="surrogatepass")
    wide = len(re.findall(_WIDE, letters))
    return (len(text) - len(letters)) / 4 + (len(letters) - wide) / 2 + wide


def estimate_tokens(text: str, *, factor: float = 1.0) -> int:
    """Estimate the tokens of a text; `factor` is the correction for a model."""
    return max(1, round(raw_tokens(text) * factor)) if text else 0


def _raw_of(message: ChatMessage) -> float:
    """Return the tokens of a message with its text files, as `raw_tokens` counts them."""
    files = sum(part.tokens for part in message.files if not part.is_image)
    return raw_tokens(message.sent_text) + files


class MessageSize(Struct, frozen=True, kw_only=True):
    """Parts of a message that take tokens: text and thought as `raw_tokens` counts them."""

    text: float
    thought: float
    image_tokens: int
    has_image: bool

    @classmethod
    def of(cls, message: ChatMessage, thought: str = "") -> MessageSize:
        images = [part for part in message.files if part.is_image]
        return cls(
            text=_raw_of(message),
            thought=raw_tokens(thought),
            image_tokens=sum(part.tokens for part in images),
            has_image=bool(images),
        )

    def tokens(self, factor: float) -> int:
        """Estimate the tokens of the message; the factor of a model is one of its texts."""
        raw = self.text + self.thought
        of_text = max(1, round(raw * factor)) if raw else 0
        return of_text + self.image_tokens + _TEMPLATE_TOKENS


class PromptSize(Struct, frozen=True, kw_only=True):
    """Sums over the messages of a prompt; a long one is measured once, when it is planned."""

    messages: int = 0
    text: float = 0
    thoughts: float = 0
    image_tokens: int = 0
    has_images: bool = False

    @classmethod
    def of_sizes(cls, sizes: Sequence[MessageSize]) -> PromptSize:
        return cls(
            messages=len(sizes),
            text=sum(size.text for size in sizes),
            thoughts=sum(size.thought for size in sizes),
            image_tokens=sum(size.image_tokens for size in sizes),
            has_images=any(size.has_image for size in sizes),
        )

    @classmethod
    def of(cls, messages: Sequence[ChatMessage], sent_thoughts: SentThoughts) -> PromptSize:
        thoughts = thoughts_to_send(messages, sent_thoughts)
        return cls.of_sizes(list(map(MessageSize.of, messages, thoughts)))

    @property
    def raw(self) -> float:
        """Text and sent thoughts, as `raw_tokens` counts them."""
        return self.text + self.thoughts

    def tokens_without_thoughts(self, factor: float) -> float:
        return self.text * factor + self.image_tokens + _TEMPLATE_TOKENS * self.messages


def _estimate(message: ChatMessage, thought: str = "", *, factor: float = 1.0) -> int:
    return MessageSize.of(message, thought).tokens(factor)


def has_images(messages: Sequence[ChatMessage]) -> bool:
    """Whether some message has an image; only the server knows how many tokens that takes."""
    return any(part.is_image for message in messages for part in message.files)


def _counted(message: ChatMessage) -> int:
    """Return the tokens up to an answer's end, as the server counted them; 0 where it did not."""
    receipt = message.receipt
    if message.role is not Role.ASSISTANT or receipt is None or receipt.is_estimated:
        return 0
    if receipt.prompt_tokens is None or receipt.completion_tokens is None:
        return 0
    return max(receipt.prompt_tokens + receipt.completion_tokens, 0)


class ContextPlan(Struct, frozen=True, kw_only=True):
    """Part of a conversation that will be sent; tokens are estimates."""

    messages: tuple[ChatMessage, ...]
    size: PromptSize
    left_out: int
    tokens: int
    needed_tokens: int  # for the whole conversation
    limit: int | None
    reserve: int

    @property
    def fits(self) -> bool:
        return self.limit is None or self.needed_tokens + self.reserve <= self.limit


def plan_context(
    messages: Sequence[ChatMessage],
    *,
    limit: int | None,
    max_tokens: int | None = None,
    factor: float = 1.0,
    tool_tokens: int = 0,
    sent_thoughts: SentThoughts = SentThoughts.NONE,
    is_continued: bool = False,
) -> ContextPlan:
    """Choose what to send: the system prompt and the last messages; older ones are left out whole.

    `max_tokens` are kept free for the answer, or else 1000 or a quarter of the window.
    `tool_tokens` are for the tools that are offered. What follows the last prompt stays, and
    results are left out with their calls. With `is_continued`, the last answer is sent even if it
    holds nothing but a thought.
    """
    opening = _system_prompt(messages)
    talk = _sent_messages(messages, is_continued=is_continued)
    sizes = list(map(MessageSize.of, talk, thoughts_to_send(talk, sent_thoughts)))
    tokens = [size.tokens(factor) for size in sizes]
    opening_sizes = list(map(MessageSize.of, opening))
    opening_tokens = sum(size.tokens(factor) for size in opening_sizes)
    needed = tool_tokens + sum(tokens) + opening_tokens

    reserve = max_tokens or 0
    if not reserve and limit is not None:
        reserve = min(_MAX_RESERVE, limit // 4)
    first = 0
    kept = needed
    for index in range(_first_kept(talk)):
        is_too_long = limit is not None and kept + reserve > limit
        if not is_too_long and talk[index].role is not Role.TOOL:
            break
        kept -= tokens[index]
        first = index + 1
    return ContextPlan(
        messages=(*opening, *talk[first:]),
        size=PromptSize.of_sizes([*opening_sizes, *sizes[first:]]),
        left_out=first,
        tokens=kept,
        needed_tokens=needed,
        limit=limit,
        reserve=reserve,
    )


def _system_prompt(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the last system message, unless it is empty."""
    systems = [message for message in messages if message.role is Role.SYSTEM]
    return [message for message in systems[-1:] if message.text]


def _sent_messages(messages: Sequence[ChatMessage], *, is_continued: bool) -> list[ChatMessage]:
    """Return the messages with content, without system messages."""
    sent: list[ChatMessage] = []
    for message in messages:
        has_content = message.sent_text or message.files
        if has_content and message.role is not Role.SYSTEM:
            sent.append(message)
    if is_continued and messages and not messages[-1].sent_text:
        sent.append(messages[-1])
    return sent


def _first_kept(talk: Sequence[ChatMessage]) -> int:
    """Return the index of the first message that is sent in any case."""
    for index in range(len(talk) - 1, -1, -1):
        if talk[index].role is Role.USER:
            return min(index, len(talk) - _KEPT_MESSAGES)
    return len(talk) - _KEPT_MESSAGES


def cut_note(target: Target, tokens: int, window: int) -> str:
    """Return that a prompt is longer than the window, what the server does then, and what helps."""
    fate = "may refuse the prompt or drop a part of it"
    if target.product.facts.cuts_prompts:
        fate = "drops its beginning"
    step = target.product.facts.larger_window or "Shorten it, or use a larger context window"
    context = 1 << (tokens + _MAX_RESERVE).bit_length()
    step = step.format(context=context, model=shell_word(target.model_id))
    return (
        f"The prompt has about {tokens} tokens, the context window {window}: "
        f"{target.product} {fate}. {step}."
    )


class ContextUse(Struct, frozen=True, kw_only=True):
    """Part of the window that the next request takes."""

    tokens: int
    limit: int | None
    is_estimated: bool

    @property
    def fraction(self) -> float | None:
        return self.tokens / self.limit if self.limit else None


class ContextMeter:
    """Correction factors by model: what the server counted over the estimate."""

    def __init__(self) -> None:
        self._factors: dict[tuple[str, str], float] = {}
        self._last: tuple[object, ContextUse] | None = None

    def factor(self, target: Target | None) -> float:
        return 1.0 if target is None else self._factors.get(_key(target), 1.0)

    def learn(
        self, target: Target, prompt: PromptSize, counted: int, *, is_exact: bool = False
    ) -> None:
        """Learn from a count of a prompt; `is_exact` is one that was asked for.

        A template may leave out thoughts, unless the server says that it keeps them: a count of
        such a prompt tells nothing about later prompts.
        """
        if prompt.has_images or counted <= 0 or prompt.raw < _SMALL_TOKENS:
            return
        is_unsure = prompt.thoughts > 0 and target.sent_thoughts is not SentThoughts.ALL
        if not is_exact and (is_unsure or self.is_cut(target, prompt, counted)):
            return
        factor = (counted - _TEMPLATE_TOKENS * prompt.messages) / prompt.raw
        earlier = self._factors.get(_key(target))
        if earlier is not None and not is_exact:
            factor = (earlier + 2 * factor) / 3
        self._set(target, factor)

    def learn_refusal(self, target: Target, sent: Sequence[ChatMessage], least: int) -> None:
        if sent:
            thoughts = thoughts_to_send(sent, target.sent_thoughts)
            estimate = sum(map(_estimate, sent, thoughts))
            self._set(target, max(self.factor(target), least / estimate))

    def is_cut(self, target: Target, prompt: PromptSize, counted: int) -> bool:
        """Whether a server seems to have left out part of the prompt (Ollama does so silently).

        Thoughts do not count: templates may leave them out.
        """
        if target.context is not None and _FULL_SHARE * target.context <= counted <= target.context:
            return True
        if prompt.has_images:
            return False
        estimate = prompt.tokens_without_thoughts(self.factor(target))
        return estimate >= _CUT_TOKENS and counted < _CUT_SHARE * estimate

    def use(self, target: Target | None, messages: Sequence[ChatMessage]) -> ContextUse:
        """Return the server's last count with an estimate of what came after."""
        factor = self.factor(target)
        limit = target.context if target else None
        sent_thoughts = target.sent_thoughts if target else SentThoughts.NONE
        last = (messages[-1].message_id, messages[-1].state) if messages else ()
        model_id = target.model_id if target else ""
        key = (model_id, factor, limit, sent_thoughts, len(messages), last)
        if self._last is not None and self._last[0] == key:  # called several times a second
            return self._last[1]
        tokens, uncounted = _split(messages, model_id)
        thoughts = thoughts_to_send(uncounted, sent_thoughts)
        for message, thought in zip(uncounted, thoughts, strict=True):
            tokens += _estimate(message, thought, factor=factor)
        use = ContextUse(tokens=tokens, limit=limit, is_estimated=bool(uncounted))
        self._last = (key, use)
        return use

    def draft_tokens(self, target: Target | None, text: str) -> int:
        return estimate_tokens(text, factor=self.factor(target))

    def _set(self, target: Target, factor: float) -> None:
        self._factors[_key(target)] = min(max(factor, 1 / _MAX_FACTOR), _MAX_FACTOR)


def _split(messages: Sequence[ChatMessage], model_id: str) -> tuple[int, Sequence[ChatMessage]]:
    """Return the last count of the server, and the messages after it.

    The counts of another model are of no use; without `model_id`, any count is taken.
    """
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        counted = _counted(message)
        if counted and model_id in ("", message.model):
            return counted, messages[index + 1 :]
    return 0, messages


def _key(target: Target) -> tuple[str, str]:
    return target.endpoint.url, target.model_id
