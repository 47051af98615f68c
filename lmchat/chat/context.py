"""Which messages of a path fit into the context window, and estimates of tokens that learn.

A *raw* estimate of tokens is made from the characters of a text, and is the same for all models. An
*estimate* is the raw estimate times the *factor* of the model, which `ContextMeter` has learned.
Added to it are tokens that no factor changes: those of images, of tools, and of the chat template.
A *count* is what the server has counted.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct

from lmchat.safe_text import shell_word
from lmchat.servers.products import product_named, sent_thoughts_to
from lmchat.servers.target import Target
from lmchat.sessions.message import (
    ChatMessage,
    Role,
    SentThoughts,
    answered_calls,
    thoughts_to_send,
)
from lmchat.token_estimate import TEMPLATE_TOKENS, is_prompt_cut, raw_tokens

_MAX_RESERVE = 1000  # tokens kept free for an answer without a limit of its own


def _raw_text_tokens(message: ChatMessage) -> float:
    """Return the raw estimate for the text of a message and its text files.

    Images are left out: no factor applies to their tokens.
    """
    file_tokens = sum(part.tokens for part in message.files if not part.is_image)  # raw, too
    return raw_tokens(message.sent_text) + file_tokens


def message_tokens(message: ChatMessage, thought: str = "", *, factor: float = 1.0) -> int:
    """Estimate the tokens of a message; `thought` is the one that is sent with it, "" if none is.

    The factor applies to texts, not to images.
    """
    raw = _raw_text_tokens(message) + raw_tokens(thought)
    text_tokens = max(1, round(raw * factor)) if raw else 0
    image_tokens = sum(part.tokens for part in message.files if part.is_image)
    return text_tokens + image_tokens + TEMPLATE_TOKENS


def has_images(messages: Sequence[ChatMessage]) -> bool:
    """Whether some message has an image; only the server knows how many tokens that takes."""
    return any(part.is_image for message in messages for part in message.files)


class ContextPlan(Struct, frozen=True, kw_only=True):
    """The messages of a path that will be sent, and their tokens."""

    messages: tuple[ChatMessage, ...]  # the system prompt, if any, then the others, oldest first
    left_out: int  # number of messages that are not sent because they do not fit
    # estimate for `messages` and the offered tools; it contains the factor of the model already
    tokens: int
    needed_tokens: int  # the same if no message were left out
    limit: int | None  # tokens of the context window; None if unknown
    reserve: int  # tokens that are kept free for the answer
    raw_text: float  # raw estimate for the texts and text files of `messages`
    raw_thoughts: float  # raw estimate for the thoughts that are sent with them
    has_images: bool

    @property
    def fits(self) -> bool:
        """Whether the request would fit, with room for the answer, if nothing were left out."""
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
    """Return the plan of a request: the system prompt and the last messages that fit.

    Chat templates take only prompts and answers in turn, the first of them a prompt. So whole
    exchanges are left out, the oldest first, until the others and the reserve for the answer fit
    into the window. An exchange is a prompt and all that answers it, if anything does. A message is
    never cut. The last prompt and all messages after it are sent even if they do not fit.

    Args:
        messages: The path.
        limit: Tokens of the context window; None if unknown, then all messages are sent.
        max_tokens: Limit of the answer, which is kept free. Without one, 1000 tokens are kept free,
            but at most a quarter of the window.
        factor: The factor of the model.
        tool_tokens: Estimate for the tools that are offered; no factor applies to it.
        sent_thoughts: Which thoughts of earlier answers are sent.
        is_continued: Whether the last answer is sent even if it has nothing but a thought.
    """
    system = _system_prompt(messages)
    dialogue = dialogue_of(messages, is_continued=is_continued)
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
    prompt_indexes = [index for index, message in enumerate(dialogue) if message.role is Role.USER]
    left_out = 0
    kept_tokens = needed_tokens
    for start, end in pairwise(prompt_indexes):  # of each exchange but the last one
        if limit is None or kept_tokens <= limit - reserve:
            break
        kept_tokens -= sum(tokens[start:end])
        left_out = end
    sent = (*system, *dialogue[left_out:])
    return ContextPlan(
        messages=sent,
        left_out=left_out,
        tokens=kept_tokens,
        needed_tokens=needed_tokens,
        limit=limit,
        reserve=reserve,
        raw_text=sum(map(_raw_text_tokens, sent)),
        raw_thoughts=sum(map(raw_tokens, thoughts[left_out:])),
        has_images=has_images(sent),
    )


def sent_messages(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the messages of a path that are sent if all fit: the system prompt and the others."""
    return [*_system_prompt(messages), *dialogue_of(messages)]


def _system_prompt(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the last system message, in a list; an empty list if no system prompt is in force.

    None is in force if the last system message has no text: the user has removed the prompt by it.
    A system message that is taken out of requests is ignored.
    """
    for message in reversed(messages):
        if message.role is Role.SYSTEM and not message.is_excluded:
            return [message] if message.text else []
    return []


def dialogue_of(
    messages: Sequence[ChatMessage], *, is_continued: bool = False
) -> list[ChatMessage]:
    """Return the messages of a path that can be sent, without system messages; a prompt is first.

    Messages without content are not among them, nor those that are taken out of requests. If an
    answer is taken out, the results of its tool calls are not sent either. Answers before the first
    prompt are not sent, as in some imported chats: chat templates refuse them. With `is_continued`,
    the last message is sent even if it has only a thought: the server continues the thought.
    """
    dialogue: list[ChatMessage] = []
    is_answer_excluded = False  # whether the answer whose results come next is taken out
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
    """Whether the message at `index` has something to send; a system message has nothing here."""
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


def cut_note(target: Target, *, tokens: int, window: int | None, read_tokens: int = 0) -> str:
    """Return the sentences about a prompt of `tokens` tokens for a window of `window` tokens.

    They say what the server does with a prompt that is too long, and what the user can do. If that
    window is not known, or has room for the prompt, the server has read only `read_tokens`.
    """
    product = product_named(target.product)
    refuses_or_drops = "may refuse the prompt or drop a part of it"
    effect = "drops its beginning" if product.cuts_prompts else refuses_or_drops
    # what is read of a cut prompt is less than the window: Ollama keeps the half of it
    size = (
        f"the context window {window}"
        if window and tokens > window
        else f"of which {read_tokens} were read"
    )
    step = larger_window_step(target, tokens)
    return f"The prompt has about {tokens} tokens, {size}: {target.product} {effect}. {step}"


def larger_window_step(target: Target, tokens: int) -> str:
    """Return the sentence that says how to get a window for a prompt of `tokens` tokens."""
    # the next power of two has room for the prompt and an answer
    enough_tokens = 1 << (tokens + _MAX_RESERVE).bit_length()
    name = shell_word(target.model_id)
    step = product_named(target.product).window_step(name, target.model, enough_tokens)
    return f"{step or 'Shorten it, or use a larger context window'}."


# in counts of smaller prompts, the system prompt that many chat templates add weighs too much
_SMALL_TOKENS = 200
_MAX_FACTOR = 4.0  # highest factor; the lowest is a quarter


class ContextUse(Struct, frozen=True, kw_only=True):
    """Part of the window that the messages of a session take."""

    tokens: int
    limit: int | None  # tokens of the window; None if unknown
    is_estimated: bool  # False if the server has counted all of it

    @property
    def fraction(self) -> float | None:
        return self.tokens / self.limit if self.limit else None


class ContextMeter:
    """The factors of the models, and the estimates that are made with them.

    The factor of a model is the server's count of texts, divided by the raw estimate for them. The
    argument `counted` is the server's count for the messages of a plan. Tools are not in it, as
    `AnswerRequest` has taken the estimate for them off.
    """

    def __init__(self) -> None:
        self._factors: dict[tuple[str, str], float] = {}  # by URL of the server and name of model
        self._windows: dict[tuple[str, str], tuple[int | None, int]] = {}
        """By the same: the window that the list told, and the one that a refusal has named then."""
        self._last_use: tuple[Sequence[ChatMessage], object, ContextUse] | None = None
        """Cache of `use`: messages, what else the result depends on, and the result."""

    def factor(self, target: Target | None) -> float:
        """Return the learned factor of a model; 1 before the first count."""
        return 1.0 if target is None else self._factors.get(_model_key(target), 1.0)

    def window(self, target: Target | None) -> int | None:
        """Return the window of a model in tokens: as a refusal has named it, else as it is listed.

        A window that the list has changed since counts more than the refusal (R-13).
        """
        if target is None:
            return None
        told, named = self._windows.get(_model_key(target), (None, None))
        return named if named and told == target.context else target.context

    def learn_window(self, target: Target, window: int) -> None:
        """Note the window of a model that a refusal has named."""
        self._windows[_model_key(target)] = (target.context, window)

    def learn(self, target: Target, plan: ContextPlan, counted: int) -> None:
        """Change the factor of a model after its server has counted the messages of a plan.

        The earlier factor has a weight of one third. A count that may be too low is ignored: the
        server has cut the prompt, or the chat template may have left out thoughts. With
        `SentThoughts.ALL`, the template is known to keep them. The count of a prompt with images or
        with little text is ignored, too.
        """
        raw = plan.raw_text + plan.raw_thoughts
        # `counted` is below 0 if the estimate for the tools was too high
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

        The refusal shows that the prompt has `least_tokens` tokens or more. If the estimate
        `plan.tokens` was lower, the factor is raised in proportion, and noted for later plans. It
        is not noted if this plan has images: their tokens are unknown, and would be taken for those
        of texts. If the estimate was not too low, the factor stays as it is. The new plan may still
        differ, as the server may have named a smaller window.
        """
        factor = self.factor(target)
        if plan.tokens < least_tokens:
            # `plan.tokens` contains `factor` already. It also has tokens that no factor changes
            # (images, tools, template), so the new factor is a little too low.
            factor = min(factor * least_tokens / plan.tokens, _MAX_FACTOR)
            if not plan.has_images:
                self._set_factor(target, factor)
        return factor

    def is_cut(self, target: Target, plan: ContextPlan, counted: int) -> bool:
        """Whether a server seems to have left out a part of the prompt (`is_prompt_cut`).

        The estimate is that of the messages without their thoughts, which templates may leave out.
        """
        return is_prompt_cut(
            counted,
            estimate=plan.raw_text * self.factor(target) + TEMPLATE_TOKENS * len(plan.messages),
            window=self.window(target),
            reserve=plan.reserve,
            has_images=plan.has_images,
        )

    def use(self, target: Target | None, messages: Sequence[ChatMessage]) -> ContextUse:
        """Return the part of the window that the messages take.

        The tokens are the last count of the model's server, plus an estimate for the later
        messages. If messages are taken out of requests, all is an estimate. If nothing has changed
        since the last call, the same result is returned.
        """
        factor = self.factor(target)
        limit = self.window(target)
        sent_thoughts = sent_thoughts_to(target)
        model_id = target.model_id if target else ""
        key = (model_id, factor, limit, sent_thoughts)
        if self._last_use is not None:  # the screen asks whenever it shows its figures
            last_messages, last_key, last_use = self._last_use
            if last_messages is messages and last_key == key:
                return last_use

        tokens = 0
        uncounted: Sequence[ChatMessage] = []  # the messages that have to be estimated
        # if messages are taken out of requests now, no count is used: it may include them
        if any(message.is_excluded for message in messages):
            uncounted = sent_messages(messages)
        else:
            tokens, uncounted = _last_count(messages, model_id)
        thoughts = thoughts_to_send(uncounted, sent_thoughts)
        for message, thought in zip(uncounted, thoughts, strict=True):
            tokens += message_tokens(message, thought, factor=factor)
        use = ContextUse(tokens=tokens, limit=limit, is_estimated=bool(uncounted))
        self._last_use = (messages, key, use)
        return use

    def _set_factor(self, target: Target, factor: float) -> None:
        """Note the factor of a model, limited to the range from a quarter to 4.

        A server that counts wrongly must not make all messages seem to fit, or none.
        """
        self._factors[_model_key(target)] = min(max(factor, 1 / _MAX_FACTOR), _MAX_FACTOR)


def _counted_tokens(message: ChatMessage) -> int:
    """Return the tokens of the session up to the end of this answer, as the server counted them.

    The sum is the server's count of the prompt, which has all earlier messages, and that of the
    answer. Return 0 for other messages, and if the server has not counted both.
    """
    stats = message.stats
    if message.role is not Role.ASSISTANT or stats is None or stats.is_estimated:
        return 0
    if stats.is_prompt_cut and product_named(stats.product).cuts_prompts:  # not all is counted
        return 0
    if stats.prompt_tokens is None or stats.completion_tokens is None:
        return 0
    return stats.prompt_tokens + stats.completion_tokens


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


def _model_key(target: Target) -> tuple[str, str]:
    """Return the key of a model's factor, with the server: others may have a model of this name."""
    return target.endpoint.url, target.model_id
