"""Which messages of a path fit into the context window, and estimates of tokens that learn.

A *raw* estimate depends only on the characters. An *estimate* is the raw one times the *factor* of
the model, plus the tokens of images, tools and chat template. A *count* is the server's.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from functools import partial

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.safe_text import shell_word
from lmchat.base.token_estimate import TEMPLATE_TOKENS, estimate_tokens, raw_tokens
from lmchat.core.servers.products import product_named, sent_thoughts_to
from lmchat.core.servers.products.server_api import ModelMemory
from lmchat.core.servers.request import ChatRequest, Tool, tool_in_request
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import (
    ChatMessage,
    Role,
    SentThoughts,
    answered_calls,
    thoughts_to_send,
)

_MAX_RESERVE = 1000  # tokens for an answer without a limit of its own


def _raw_text_tokens(message: ChatMessage) -> float:
    """Leave out images: no factor applies to their tokens."""
    file_tokens = sum(part.tokens for part in message.files if not part.is_image)  # raw, too
    return raw_tokens(message.sent_text) + file_tokens


def message_tokens(message: ChatMessage, thought: str = "", *, factor: float) -> int:
    """No factor applies to images."""
    raw = _raw_text_tokens(message) + raw_tokens(thought)
    text_tokens = max(1, round(raw * factor)) if raw else 0
    image_tokens = sum(part.tokens for part in message.files if part.is_image)
    return text_tokens + image_tokens + TEMPLATE_TOKENS


def tools_tokens(tools: Sequence[Tool]) -> int:
    """No factor applies to them."""
    return sum(
        estimate_tokens(json.dumps(tool_in_request(tool), ensure_ascii=False)) for tool in tools
    )


def has_images(messages: Sequence[ChatMessage]) -> bool:
    """Only the server knows the tokens of images."""
    return any(part.is_image for message in messages for part in message.files)


class ContextSelection(Struct, frozen=True, kw_only=True):
    """The messages of a path that will be sent, and their tokens."""

    messages: tuple[ChatMessage, ...]
    left_out: int  # messages that do not fit
    tokens: int  # estimate for `messages` and tools, with the factor
    limit: int | None  # tokens
    reserve: int  # tokens for the answer
    raw_text: float  # with text files
    raw_thoughts: float  # of the sent thoughts

    @property
    def fits(self) -> bool:
        """Whether all messages fit, with room for the answer."""
        has_room = self.limit is None or self.tokens + self.reserve <= self.limit
        return has_room and not self.left_out


def reserve_of(limit: int | None, max_tokens: int | None) -> int:
    """Return the tokens that are kept free for an answer.

    Without `max_tokens`, these are 1000, but at most a quarter of the window.
    """
    return min(_MAX_RESERVE, (limit or 0) // 4) if max_tokens is None else max_tokens


def select_context(
    messages: Sequence[ChatMessage],
    *,
    limit: int | None,
    max_tokens: int | None = None,
    factor: float = 1.0,
    tool_tokens: int = 0,
    sent_thoughts: SentThoughts = SentThoughts.NONE,
    is_continued: bool = False,
    may_leave_out: bool = True,
) -> ContextSelection:
    """Choose the system prompt and the last messages that fit.

    Chat templates take only prompts and answers in turn, so whole exchanges are left out, the
    oldest first. The last prompt and all after it are sent even if they do not fit; without
    `may_leave_out`, all messages are.

    No factor applies to `tool_tokens`. Tools that are larger than the limit take none of it: they
    are left out if the server refuses them.
    """
    system = _system_prompt(messages)
    dialogue = dialogue_of(messages, is_continued=is_continued)
    thoughts = thoughts_to_send(dialogue, sent_thoughts)
    reserve = reserve_of(limit, max_tokens)
    room = math.inf if limit is None else limit - reserve
    room += tool_tokens if tool_tokens > room else 0
    tokens = tool_tokens + sum(message_tokens(message, factor=factor) for message in system)
    # from the end: of a long session, only what fits is estimated
    left_out = len(dialogue)
    for index in reversed(range(len(dialogue))):
        if index and dialogue[index].role is not Role.USER:
            continue
        exchange = zip(dialogue[index:left_out], thoughts[index:left_out], strict=True)
        exchange_tokens = sum(
            message_tokens(message, thought, factor=factor) for message, thought in exchange
        )
        has_room = tokens + exchange_tokens <= room
        if may_leave_out and not has_room and left_out < len(dialogue):
            break
        left_out = index
        tokens += exchange_tokens
    sent = (*system, *dialogue[left_out:])
    return ContextSelection(
        messages=sent,
        left_out=left_out,
        tokens=tokens,
        limit=limit,
        reserve=reserve,
        raw_text=sum(map(_raw_text_tokens, sent)),
        raw_thoughts=sum(map(raw_tokens, thoughts[left_out:])),
    )


def selection_of(
    request: ChatRequest, *, limit: int | None = None, factor: float = 1.0
) -> ContextSelection:
    """Choose from the messages of a request, without room for the answer."""
    return select_context(
        request.messages,
        limit=limit,
        max_tokens=0,
        factor=factor,
        tool_tokens=tools_tokens(request.tools),
        sent_thoughts=sent_thoughts_to(request.target),
        is_continued=request.messages[-1].role is Role.ASSISTANT,
    )


def _system_prompt(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """An empty system message removes the prompt."""
    for message in reversed(messages):
        if message.role is Role.SYSTEM and not message.is_excluded:
            return [message] if message.text else []
    return []


def dialogue_of(
    messages: Sequence[ChatMessage], *, is_continued: bool = False
) -> list[ChatMessage]:
    """Return the messages that can be sent, without system messages; a prompt is first.

    The results of calls go with their answer. Chat templates refuse answers before the first
    prompt, as in some imported chats. The server continues even a thought alone (`is_continued`).
    """
    dialogue: list[ChatMessage] = []
    is_answer_excluded = False
    for index, message in enumerate(messages):
        if message.role is not Role.TOOL:
            is_answer_excluded = message.is_excluded
        is_excluded = message.is_excluded or is_answer_excluded
        has_prompt = bool(dialogue) or message.role is Role.USER
        if has_prompt and not is_excluded and _has_content(messages, index):
            dialogue.append(message)
    if is_continued and messages[-1] not in dialogue[-1:]:
        dialogue.append(messages[-1])
    return dialogue


def _has_content(messages: Sequence[ChatMessage], index: int) -> bool:
    message = messages[index]
    match message.role:
        case Role.SYSTEM:
            return False
        case Role.USER:
            return bool(message.text or message.files)
        case Role.TOOL:  # a call without a name called nothing
            return any(call.name for call in message.tool_calls)
        case Role.ASSISTANT:
            has_words = bool(message.text.strip() or message.files)
            return has_words or bool(answered_calls(messages, index))


def cut_note(
    target: Target, *, tokens: int, window: int | None = None, read_tokens: int = 0
) -> str:
    """Say what the server may do with a too long prompt, or has done, and what to do.

    `read_tokens` is for a prompt that was cut.
    """
    size, effect = f"the context window {window}", "may refuse the prompt or drop a part of it"
    if read_tokens:
        size, effect = f"of which {read_tokens} were read", "has left out a part"
    step = larger_window_step(target, tokens)
    return f"The prompt has about {tokens} tokens, {size}: {target.server_name} {effect}. {step}"


def larger_window_step(target: Target, tokens: int) -> str:
    """Say how to get a window for so many tokens."""
    enough_tokens = 1 << (tokens + _MAX_RESERVE).bit_length()
    name = shell_word(target.model_id)
    step = product_named(target.product).window_step(name, target.model, enough_tokens)
    return f"{step or 'Shorten it, or use a larger context window'}."


# the system prompt of many chat templates distorts a smaller count
_SMALL_TOKENS = 200
_MAX_FACTOR = 4.0  # the lowest is a quarter


class ContextUse(Struct, frozen=True, kw_only=True):
    """Part of the window that a session takes."""

    tokens: int
    limit: int | None  # None if unknown
    is_estimated: bool  # at least partly

    @property
    def fraction(self) -> float | None:
        return self.tokens / self.limit if self.limit else None


class TokenEstimator:
    """The factors of the models, and the estimates made with them.

    A factor is the server's count of texts, divided by their raw estimate. The tokens of tools are
    not in `counted`.
    """

    def __init__(self, memory_of: Callable[[Target], ModelMemory]) -> None:
        self.memory_of = memory_of
        self._factors: dict[tuple[str, str], float] = {}
        self._last_use: tuple[Sequence[ChatMessage], object, ContextUse] | None = None

    def factor(self, target: Target | None) -> float:
        """1 before the first count."""
        return 1.0 if target is None else self._factors.get(_model_key(target), 1.0)

    def window(self, target: Target | None) -> int | None:
        """In tokens, as a refusal has named it, or else the list (R-13)."""
        return None if target is None else self.memory_of(target).window or target.context

    def room(self, target: Target) -> float:
        """Return the raw tokens that a request may have, as far as refusals have shown."""
        memory = self.memory_of(target)
        return max(memory.room, memory.taken)

    def window_room(self, target: Target, max_tokens: int | None) -> float:
        """Return the raw tokens that the window has for a request."""
        if (window := self.window(target)) is None:
            return math.inf
        return (window - reserve_of(window, max_tokens)) / self.factor(target)

    def select(
        self,
        messages: Sequence[ChatMessage],
        target: Target,
        *,
        max_tokens: int | None,
        tool_tokens: int = 0,
        sent_thoughts: SentThoughts,
        is_continued: bool = False,
        may_leave_out: bool = True,
    ) -> ContextSelection:
        """Choose what fits into the window, and into what refusals have left of it."""
        choose = partial(
            select_context,
            tool_tokens=tool_tokens,
            sent_thoughts=sent_thoughts,
            is_continued=is_continued,
            may_leave_out=may_leave_out,
        )
        room = self.room(target)
        left_out = 0
        if may_leave_out and room < math.inf:
            taken = choose(messages, limit=int(room), max_tokens=0)
            messages = taken.messages
            left_out = taken.left_out
        window = self.window(target)
        factor = self.factor(target)
        selection = choose(messages, limit=window, max_tokens=max_tokens, factor=factor)
        return replace(selection, left_out=left_out + selection.left_out)

    def tokens(self, request: ChatRequest) -> int:
        return selection_of(request, factor=self.factor(request.target)).tokens

    def learn(self, target: Target, selection: ContextSelection, counted: int) -> None:
        """Learn the factor, but not from counts with images or little text."""
        raw = selection.raw_text + selection.raw_thoughts
        # below 0 if the estimate for the tools was too high
        if has_images(selection.messages) or counted <= 0 or raw < _SMALL_TOKENS:
            return
        if selection.raw_thoughts > 0 and sent_thoughts_to(target) is not SentThoughts.ALL:
            return  # the template may leave them out
        factor = (counted - TEMPLATE_TOKENS * len(selection.messages)) / raw
        key = _model_key(target)
        learned = (self._factors.get(key, factor) + 2 * factor) / 3
        # a server that counts wrongly must not make all messages seem to fit, or none
        self._factors[key] = min(max(learned, 1 / _MAX_FACTOR), _MAX_FACTOR)

    def use(
        self,
        target: Target | None,
        messages: Sequence[ChatMessage],
        *,
        end: int | None = None,
        tool_tokens: int = 0,
    ) -> ContextUse:
        """Return the last count of the model's server, plus an estimate for later messages.

        Messages from index `end` on are left out. A count includes the tools.
        """
        factor = self.factor(target)
        limit = self.window(target)
        sent_thoughts = sent_thoughts_to(target)
        model_id = target.model_id if target else ""
        key = (model_id, factor, limit, sent_thoughts, end, tool_tokens)
        if self._last_use is not None:  # the screen asks often
            last_messages, last_key, last_use = self._last_use
            if last_messages is messages and last_key == key:
                return last_use

        tokens = 0
        uncounted: Sequence[ChatMessage] = []
        used = messages[:end]
        # a count may include messages that are excluded now
        if any(message.is_excluded for message in used):
            uncounted = [*_system_prompt(used), *dialogue_of(used)]  # what is sent if all fit
        else:
            tokens, uncounted = _last_count(used, model_id)
        tokens = tokens or tool_tokens
        thoughts = thoughts_to_send(uncounted, sent_thoughts)
        for message, thought in zip(uncounted, thoughts, strict=True):
            known = _tokens_of_receipt(message)
            tokens += known or message_tokens(message, thought, factor=factor)
        use = ContextUse(tokens=tokens, limit=limit, is_estimated=bool(uncounted))
        self._last_use = (messages, key, use)
        return use


def _counted_tokens(message: ChatMessage) -> int:
    """Return the count of prompt and answer, or 0."""
    stats = message.stats
    if message.role is not Role.ASSISTANT or stats is None or stats.is_estimated:
        return 0
    if stats.is_prompt_cut or stats.prompt_tokens is None:
        return 0
    return stats.prompt_tokens + (stats.completion_tokens or 0)


def _tokens_of_receipt(message: ChatMessage) -> int:
    """Return the tokens of an answer that was stopped, as the row below it tells them, or 0.

    Not if a thought is among them, or what the user has written is not.
    """
    stats = message.stats
    if stats is None or not stats.is_estimated or stats.is_edited or message.reasoning:
        return 0
    return stats.completion_tokens + TEMPLATE_TOKENS if stats.completion_tokens else 0


def _last_count(
    messages: Sequence[ChatMessage], model_id: str
) -> tuple[int, Sequence[ChatMessage]]:
    """Another model has other tokens; with "", any count is used."""
    for index in reversed(range(len(messages))):
        answer = messages[index]
        tokens = _counted_tokens(answer) if model_id in ("", answer.model) else 0
        if tokens:
            return tokens, messages[index + 1 :]
    return 0, messages


def _model_key(target: Target) -> tuple[str, str]:
    """Other servers may have a model of this name."""
    return target.endpoint.url, target.model_id
