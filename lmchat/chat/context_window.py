"""Use of the context window: estimates of tokens, and which messages of a path fit.

A *raw* estimate is made of characters alone. For each model it is multiplied by a *factor*, which
`ContextMeter` learns from the counts of the server.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

from lmchat.safe_text import shell_word
from lmchat.servers.model import Target
from lmchat.servers.products import product_named, sent_thoughts_to
from lmchat.servers.request import ChatRequest, tool_in_request
from lmchat.sessions.message import (
    NOT_SENT,
    ChatMessage,
    Role,
    SentThoughts,
    thoughts_to_send,
    tool_calls_text,
)
from lmchat.token_estimate import estimate_tokens, raw_tokens

LEFT_OUT = "left out"

TEMPLATE_TOKENS = 4  # about what a chat template adds to a message
_KEPT_MESSAGES = 2  # number of last messages, which are always sent
_MAX_RESERVE = 1000  # tokens kept free for an answer without a limit of its own
_SMALL_TOKENS = 24  # counts of smaller prompts depend more on the chat template than on the text
_MAX_FACTOR = 4.0  # highest factor; the lowest is a quarter
_CUT_SHARE = 0.6
"""A server that counts less than this share of the estimate has left out a part of the prompt."""
_CUT_TOKENS = 1000  # smaller estimates are too rough for that conclusion
_FULL_SHARE = 0.98
"""A prompt that fills this share of the window, with no room for an answer, was cut."""
_SHOWN_CHARS = 300  # of the words of an item
_AUTHORS = {Role.SYSTEM: "system", Role.USER: "you", Role.TOOL: "tool"}


def _raw_tokens(message: ChatMessage) -> float:
    """Return the raw estimate for the text of a message and its text files.

    Images are left out: no factor applies to their tokens.
    """
    file_tokens = sum(part.tokens for part in message.files if not part.is_image)
    return raw_tokens(message.sent_text) + file_tokens


def message_tokens(message: ChatMessage, thought: str = "", *, factor: float = 1.0) -> int:
    """Estimate the tokens of a message, with the thought that is sent with it, if any.

    The factor applies to texts, not to images.
    """
    raw = _raw_tokens(message) + raw_tokens(thought)
    text_tokens = max(1, round(raw * factor)) if raw else 0
    image_tokens = sum(part.tokens for part in message.files if part.is_image)
    return text_tokens + image_tokens + TEMPLATE_TOKENS


def has_images(messages: Sequence[ChatMessage]) -> bool:
    """Whether some message has an image; only the server knows how many tokens that takes."""
    return any(part.is_image for message in messages for part in message.files)


def _counted_tokens(message: ChatMessage) -> int:
    """Return the tokens of the session up to the end of this answer, as the server counted them.

    The sum is the server's count of the prompt, which has all earlier messages, and that of the
    answer. Return 0 for other messages, and if the server has not counted both.
    """
    stats = message.stats
    if message.role is not Role.ASSISTANT or stats is None or stats.is_estimated:
        return 0
    if stats.prompt_tokens is None or stats.completion_tokens is None:
        return 0
    return max(stats.prompt_tokens + stats.completion_tokens, 0)


def _last_count(
    messages: Sequence[ChatMessage], model_id: str
) -> tuple[int, Sequence[ChatMessage]]:
    """Return the tokens up to the last answer with a count, and the messages after it.

    Only counts of this model are used, as another one has other tokens; if `model_id` is empty, any
    count is. Without a count, return 0 and all messages.
    """
    for index in reversed(range(len(messages))):
        answer = messages[index]
        tokens = _counted_tokens(answer) if model_id in ("", answer.model) else 0
        if tokens:
            return tokens, messages[index + 1 :]
    return 0, messages


class ContextPlan(Struct, frozen=True, kw_only=True):
    """The messages of a path that will be sent; tokens are estimates."""

    messages: tuple[ChatMessage, ...]
    left_out: int  # number of older messages that are not sent
    tokens: int  # of `messages` and of the offered tools
    needed_tokens: int  # the same if no message were left out
    limit: int | None  # tokens of the context window; None if unknown
    reserve: int  # tokens that are kept free for the answer
    raw_text: float  # raw estimate for the texts of `messages`
    raw_thoughts: float  # the same for the thoughts that are sent with them
    has_images: bool

    @property
    def fits(self) -> bool:
        """Whether the request would fit, with room for the answer, if nothing were left out."""
        return self.limit is None or self.needed_tokens + self.reserve <= self.limit


class LeftOutNotes:
    """Notes to the user about messages that the plans of a session leave out.

    In a long session, each turn leaves out a few more messages. To keep notes rare, the next one
    comes when more than twice as many messages are left out as the last note has reported.
    """

    def __init__(self) -> None:
        self._reported = 0  # number of left-out messages in the last note

    def take(self, left_out: int) -> list[str]:
        """Return the note for a plan that leaves out so many messages, or an empty list."""
        if left_out <= 2 * self._reported:
            return []
        self._reported = left_out
        oldest = "message is" if left_out == 1 else f"{left_out} messages are"
        return [f"The context window is full: the oldest {oldest} left out."]


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
    """Return the plan of a request: the system prompt and the last messages that fit.

    The oldest messages are left out, one after the other, until the others and the reserve for the
    answer fit into the window. A message is never cut. The last two messages, and all from the last
    prompt on, are sent even if they do not fit. Messages that the user has taken out of requests do
    not count at all.

    Args:
        messages: The path.
        limit: Tokens of the context window; None if unknown, then all messages are sent.
        max_tokens: Limit of the answer, which is kept free. Without one, 1000 tokens are kept free,
            but at most a quarter of the window.
        factor: Correction of the estimates for the model.
        tool_tokens: Tokens of the tools that are offered.
        sent_thoughts: Which thoughts of earlier answers are sent.
        is_continued: Whether the last answer is sent even if it has nothing but a thought.
    """
    system = _system_prompt(messages)
    dialogue = _sent_messages(messages, is_continued=is_continued)
    thoughts = thoughts_to_send(dialogue, sent_thoughts)
    tokens = [
        message_tokens(message, thought, factor=factor)
        for message, thought in zip(dialogue, thoughts, strict=True)
    ]
    system_tokens = sum(message_tokens(message, factor=factor) for message in system)
    needed_tokens = tool_tokens + sum(tokens) + system_tokens

    reserve = max_tokens or 0
    if not reserve and limit is not None:
        reserve = min(_MAX_RESERVE, limit // 4)
    prompts = [index for index, message in enumerate(dialogue) if message.role is Role.USER]
    # all messages from here on are sent: from the last prompt, or from the last but one message
    kept_from = min([len(dialogue) - _KEPT_MESSAGES, *prompts[-1:]])
    left_out = 0
    kept_tokens = needed_tokens
    for index in range(kept_from):
        is_too_long = limit is not None and kept_tokens > limit - reserve
        # a tool result is not sent without its call: it is left out, too, after the call was
        if not is_too_long and dialogue[index].role is not Role.TOOL:
            break
        kept_tokens -= tokens[index]
        left_out = index + 1
    sent = (*system, *dialogue[left_out:])
    return ContextPlan(
        messages=sent,
        left_out=left_out,
        tokens=kept_tokens,
        needed_tokens=needed_tokens,
        limit=limit,
        reserve=reserve,
        raw_text=sum(map(_raw_tokens, sent)),
        raw_thoughts=sum(map(raw_tokens, thoughts[left_out:])),
        has_images=has_images(sent),
    )


def _system_prompt(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return a list of the last system message; an empty list if there is none or it has no text.

    An empty system message has removed the prompt before it. A system message that is taken out of
    requests is ignored.
    """
    for message in reversed(messages):
        if message.role is Role.SYSTEM and not message.is_excluded:
            return [message] if message.text else []
    return []


def _sent_messages(messages: Sequence[ChatMessage], *, is_continued: bool) -> list[ChatMessage]:
    """Return the messages to send, without system messages: those with a text or with files.

    Messages that are taken out of requests are not among them, and an answer takes the results of
    its tool calls with it. With `is_continued`, the last message is sent even if it has only a
    thought: the server continues the thought.
    """
    sent: list[ChatMessage] = []
    is_answer_excluded = False  # whether the answer above the next results is taken out
    for message in messages:
        if message.role is not Role.TOOL:
            is_answer_excluded = message.is_excluded
        is_excluded = message.is_excluded or is_answer_excluded
        has_content = message.sent_text or message.files
        if has_content and message.role is not Role.SYSTEM and not is_excluded:
            sent.append(message)
    if is_continued and messages and not messages[-1].sent_text:
        sent.append(messages[-1])
    return sent


def cut_note(target: Target, *, tokens: int, window: int) -> str:
    """Return the sentences about a prompt of `tokens` tokens for a window of `window` tokens.

    They say what the server does with a prompt that is too long, and what the user can do.
    """
    product = product_named(target.product)
    refuses_or_drops = "may refuse the prompt or drop a part of it"
    effect = "drops its beginning" if product.cuts_prompts else refuses_or_drops
    # the next power of two has room for the prompt and an answer
    enough_tokens = 1 << (tokens + _MAX_RESERVE).bit_length()
    template = product.larger_window or "Shorten it, or use a larger context window"
    next_step = template.format(context=enough_tokens, model=shell_word(target.model_id))
    return (
        f"The prompt has about {tokens} tokens, the context window {window}: "
        f"{target.product} {effect}. {next_step}."
    )


class ContextUse(Struct, frozen=True, kw_only=True):
    """Part of the window that the messages of a session take."""

    tokens: int
    limit: int | None  # tokens of the window; None if unknown
    is_estimated: bool  # False if the server has counted all of it

    @property
    def fraction(self) -> float | None:
        return self.tokens / self.limit if self.limit else None


class ContextMeter:
    """Estimates of tokens, corrected by a factor for each model.

    The factor is the server's count divided by the raw estimate.
    """

    def __init__(self) -> None:
        self._factors: dict[tuple[str, str], float] = {}  # by URL of the server and name of model
        self._last_use: tuple[Sequence[ChatMessage], object, ContextUse] | None = None
        """Cache of `use`: messages, what else the result depends on, and the result."""

    def factor(self, target: Target | None) -> float:
        """Return the learned factor of a model; 1 before the first count."""
        return 1.0 if target is None else self._factors.get(_model_key(target), 1.0)

    def learn(self, target: Target, plan: ContextPlan, counted: int) -> None:
        """Change the factor of a model after its server has counted the tokens of the messages.

        The earlier factor has a weight of one third. A count is ignored if it may be too low,
        because the server has cut the prompt or its template leaves out thoughts; with
        `SentThoughts.ALL`, the template is known to keep them. The count of a prompt with images or
        with little text is ignored, too.
        """
        raw = plan.raw_text + plan.raw_thoughts
        if plan.has_images or counted <= 0 or raw < _SMALL_TOKENS:
            return
        if plan.raw_thoughts > 0 and sent_thoughts_to(target) is not SentThoughts.ALL:
            return  # the template may leave out the thoughts
        if self.is_cut(target, plan, counted):
            return
        # the part of the count that the text has made, without the marks of the chat template
        factor = (counted - TEMPLATE_TOKENS * len(plan.messages)) / raw
        # the first count of a model alone makes its factor
        earlier_factor = self._factors.get(_model_key(target), factor)
        self._set_factor(target, (earlier_factor + 2 * factor) / 3)

    def learn_refusal(self, target: Target, plan: ContextPlan, least_tokens: int) -> float:
        """Return the factor for a new plan after the server has refused this one as too long.

        The refusal shows that the messages of the plan have `least_tokens` tokens or more. If the
        estimate was lower, the factor is raised in proportion. Later plans have the new factor,
        too, unless this plan has images: their tokens are unknown and would be taken for those of
        texts.
        """
        factor = self.factor(target)
        if plan.tokens < least_tokens:
            factor = min(factor * least_tokens / plan.tokens, _MAX_FACTOR)
            if not plan.has_images:
                self._set_factor(target, factor)
        return factor

    def is_cut(self, target: Target, plan: ContextPlan, counted: int) -> bool:
        """Whether a server seems to have left out a part of the prompt, as Ollama does silently.

        One sign is a count that fills the window, with no room for an answer. The other sign is a
        count far below the estimate. This estimate has no thoughts, since templates may leave them
        out. It is not used for a prompt with images or of less than 1000 tokens.
        """
        if target.context is not None and _FULL_SHARE * target.context <= counted <= target.context:
            return True
        estimate = plan.raw_text * self.factor(target) + TEMPLATE_TOKENS * len(plan.messages)
        return not plan.has_images and estimate >= _CUT_TOKENS and counted < _CUT_SHARE * estimate

    def use(self, target: Target | None, messages: Sequence[ChatMessage]) -> ContextUse:
        """Return the part of the window that the messages take.

        The tokens are the last count of the model's server, plus an estimate of the later messages.
        If messages are taken out of requests, all is an estimate. If nothing has changed since the
        last call, the same result is returned.
        """
        factor = self.factor(target)
        limit = target.context if target else None
        sent_thoughts = sent_thoughts_to(target)
        model_id = target.model_id if target else ""
        key = (model_id, factor, limit, sent_thoughts)
        if self._last_use is not None:  # this method is called often
            last_messages, last_key, last_use = self._last_use
            if last_messages is messages and last_key == key:
                return last_use

        tokens = 0
        uncounted: Sequence[ChatMessage] = [
            message for message in messages if not message.is_excluded
        ]
        # if messages are taken out of requests now, no count is used: it may include them
        if len(uncounted) == len(messages):
            tokens, uncounted = _last_count(messages, model_id)
        thoughts = thoughts_to_send(uncounted, sent_thoughts)
        for message, thought in zip(uncounted, thoughts, strict=True):
            tokens += message_tokens(message, thought, factor=factor)
        use = ContextUse(tokens=tokens, limit=limit, is_estimated=bool(uncounted))
        self._last_use = (messages, key, use)
        return use

    def _set_factor(self, target: Target, factor: float) -> None:
        """Note the factor of a model, limited to the range from a quarter to 4."""
        self._factors[_model_key(target)] = min(max(factor, 1 / _MAX_FACTOR), _MAX_FACTOR)


def _model_key(target: Target) -> tuple[str, str]:
    """Return the key of a model's factor, with the server: others may have a model of this name."""
    return target.endpoint.url, target.model_id


class ContextItem(Struct, frozen=True, kw_only=True):
    """A message with its files, or all tools, for `/context`."""

    author: str  # "system", "tools", "you", "draft", "tool", or the name of the model
    words: str  # first words, as they were written
    message_id: str = ""  # empty if the message is only in the request
    state: str = ""  # `LEFT_OUT` or `NOT_SENT`; empty for a message that is sent
    tokens: int = 0


class ContextList(Struct, frozen=True, kw_only=True):
    """Content of the next request, and the messages of the session that it does not hold."""

    items: tuple[ContextItem, ...]
    tokens: int  # of the next request
    limit: int | None  # tokens of the context window; None if unknown
    is_estimated: bool  # whether the server has not counted `tokens`


def context_list(
    request: ChatRequest,
    path: Sequence[ChatMessage],
    target: Target,
    *,
    factor: float,
    total: int | None,
) -> ContextList:
    """List the messages of a session and of its next request, with estimates of their tokens.

    After the messages of the path come those that only the request has, such as the draft. The
    `state` of an item says why its message is not in the request. `total` is the server's count of
    the request, to which the estimates are scaled; None without one.
    """
    thoughts = thoughts_to_send(request.messages, sent_thoughts_to(target))
    indexes = {message.message_id: index for index, message in enumerate(request.messages)}
    path_ids = {message.message_id for message in path}
    new = [message for message in request.messages if message.message_id not in path_ids]
    items: list[ContextItem] = []
    for message in (*path, *new):
        is_new = message.message_id not in path_ids
        index = indexes.get(message.message_id)
        if index is not None:
            state, thought = "", thoughts[index]
        elif not (message.sent_text or message.files):  # such as a failed answer
            continue
        elif message.is_excluded or message.role is Role.SYSTEM:
            # an old system prompt, which a later one has replaced, is never sent
            state, thought = NOT_SENT, ""
        else:
            state, thought = LEFT_OUT, ""  # it would be sent if there were room
        author = _AUTHORS.get(message.role) or message.model or "answer"
        words = message.tool_result if message.role is Role.TOOL else message.text
        item = ContextItem(
            author="draft" if is_new and message.role is Role.USER else author,
            words=words[:_SHOWN_CHARS]
            or tool_calls_text(message)[:_SHOWN_CHARS]
            or ", ".join(file.name for file in message.files),
            message_id="" if is_new else message.message_id,
            state=state,
            tokens=message_tokens(message, thought, factor=factor),
        )
        items.append(item)
    if request.tools:
        text = json.dumps([tool_in_request(tool) for tool in request.tools], ensure_ascii=False)
        tools = ContextItem(
            author="tools",
            words=", ".join(tool.name for tool in request.tools),
            tokens=estimate_tokens(text, factor=factor),
        )
        # behind the system prompt, if the session has one
        is_system_first = bool(items) and items[0].author == "system"
        items.insert(1 if is_system_first else 0, tools)
    tokens = sum(item.tokens for item in items if not item.state)
    if total is not None:
        scale = total / max(tokens, 1)
        tokens = total
        items = [
            item if item.state else replace(item, tokens=round(item.tokens * scale))
            for item in items
        ]
    return ContextList(
        items=tuple(items), tokens=tokens, limit=target.context, is_estimated=total is None
    )
