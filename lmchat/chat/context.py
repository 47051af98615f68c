"""Use of the context window: estimates of tokens, and which messages of a path fit.

A *raw* estimate is made of characters alone. For each model it is multiplied by a *factor*, which
`ContextMeter` learns from the counts of the server.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from zlib import crc32

from msgspec import Struct

from lmchat.safe_text import shell_word
from lmchat.servers.model import Target
from lmchat.servers.products import product_named, sent_thoughts_of
from lmchat.servers.token_count import estimate_tokens, raw_tokens
from lmchat.sessions.message import ChatMessage, Role, SentThoughts, thoughts_to_send

TEMPLATE_TOKENS = 4  # about what a chat template adds to a message
_KEPT_MESSAGES = 2  # the last messages, which are sent in any case
_MAX_RESERVE = 1000  # tokens kept free for an answer without a limit of its own
_SMALL_TOKENS = 24  # counts of smaller prompts depend more on the chat template than on the text
_MAX_FACTOR = 4.0  # and the lowest factor is a quarter
_CUT_SHARE = 0.6
"""A server that counts less than this share of the estimate has left out a part of the prompt."""
_CUT_TOKENS = 1000  # smaller estimates are too rough for that conclusion
_FULL_SHARE = 0.98
"""A prompt that fills this share of the window, with no room for an answer, was cut."""


def _raw_message_tokens(message: ChatMessage) -> float:
    """Return the raw estimate for the text of a message and its text files."""
    file_tokens = sum(part.tokens for part in message.files if not part.is_image)
    return raw_tokens(message.sent_text) + file_tokens


class MessageSize(Struct, frozen=True, kw_only=True):
    """Tokens of a message, before the factor of a model is applied."""

    text: float  # raw estimate, text files included
    thought: float  # raw estimate for the thought that is sent with it
    image_tokens: int
    has_image: bool

    @classmethod
    def of(cls, message: ChatMessage, thought: str = "") -> MessageSize:
        """Measure a message, with the thought that is sent with it, if any."""
        images = [part for part in message.files if part.is_image]
        return cls(
            text=_raw_message_tokens(message),
            thought=raw_tokens(thought),
            image_tokens=sum(part.tokens for part in images),
            has_image=bool(images),
        )

    def tokens(self, factor: float) -> int:
        """Estimate the tokens of the message; the factor applies to its text, not to images."""
        raw = self.text + self.thought
        text_tokens = max(1, round(raw * factor)) if raw else 0
        return text_tokens + self.image_tokens + TEMPLATE_TOKENS


class PromptSize(Struct, frozen=True, kw_only=True):
    """Sums of the sizes of all messages of a request.

    They are computed once, when it is planned: measuring a long session takes milliseconds.
    """

    messages: int = 0  # how many
    text: float = 0  # raw estimate
    thoughts: float = 0  # raw estimate
    image_tokens: int = 0
    has_images: bool = False

    @classmethod
    def of_sizes(cls, sizes: Sequence[MessageSize]) -> PromptSize:
        """Add up the sizes of messages."""
        return cls(
            messages=len(sizes),
            text=sum(size.text for size in sizes),
            thoughts=sum(size.thought for size in sizes),
            image_tokens=sum(size.image_tokens for size in sizes),
            has_images=any(size.has_image for size in sizes),
        )

    @classmethod
    def of(cls, messages: Sequence[ChatMessage], sent_thoughts: SentThoughts) -> PromptSize:
        """Measure messages, each with the thought that is sent with it."""
        thoughts = thoughts_to_send(messages, sent_thoughts)
        return cls.of_sizes(list(map(MessageSize.of, messages, thoughts)))

    @property
    def raw(self) -> float:
        """Raw estimate for texts and sent thoughts."""
        return self.text + self.thoughts

    def tokens_without_thoughts(self, factor: float) -> float:
        return self.text * factor + self.image_tokens + TEMPLATE_TOKENS * self.messages


def message_tokens(message: ChatMessage, thought: str = "", *, factor: float = 1.0) -> int:
    """Estimate the tokens of a message, with the thought that is sent with it, if any."""
    return MessageSize.of(message, thought).tokens(factor)


def has_images(messages: Sequence[ChatMessage]) -> bool:
    """Whether some message has an image; only the server knows how many tokens that takes."""
    return any(part.is_image for message in messages for part in message.files)


def _counted_tokens(message: ChatMessage) -> int:
    """Return the tokens of the session up to the end of this answer, as the server counted them.

    That is the server's count of the prompt, which has all earlier messages, and of the answer.
    Return 0 for a message that is no answer, and if the server did not count both.
    """
    stats = message.stats
    if message.role is not Role.ASSISTANT or stats is None or stats.is_estimated:
        return 0
    if stats.prompt_tokens is None or stats.completion_tokens is None:
        return 0
    return max(stats.prompt_tokens + stats.completion_tokens, 0)


class ContextPlan(Struct, frozen=True, kw_only=True):
    """The messages of a path that will be sent; tokens are estimates."""

    messages: tuple[ChatMessage, ...]
    size: PromptSize
    left_out: int  # number of older messages that are not sent
    tokens: int  # of `messages` and of the offered tools
    needed_tokens: int  # the same if no message were left out
    limit: int | None  # tokens of the context window; None if unknown
    reserve: int  # tokens that are kept free for the answer

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
    system_sizes = list(map(MessageSize.of, system))
    sizes = list(map(MessageSize.of, dialogue, thoughts))
    system_tokens = sum(size.tokens(factor) for size in system_sizes)
    tokens = [size.tokens(factor) for size in sizes]
    needed_tokens = tool_tokens + sum(tokens) + system_tokens

    reserve = max_tokens or 0
    if not reserve and limit is not None:
        reserve = min(_MAX_RESERVE, limit // 4)
    room = None if limit is None else limit - reserve
    left_out = _count_left_out(dialogue, tokens, needed_tokens, room)
    return ContextPlan(
        messages=(*system, *dialogue[left_out:]),
        size=PromptSize.of_sizes([*system_sizes, *sizes[left_out:]]),
        left_out=left_out,
        tokens=needed_tokens - sum(tokens[:left_out]),
        needed_tokens=needed_tokens,
        limit=limit,
        reserve=reserve,
    )


def _count_left_out(
    dialogue: Sequence[ChatMessage], tokens: Sequence[int], needed_tokens: int, room: int | None
) -> int:
    """Return how many of the oldest messages are left out, so that the request fits into `room`.

    `tokens` has the tokens of each message, and `needed_tokens` is that of the whole request. The
    number may be too small to fit, as the last messages are always sent. Without `room`, the window
    is unknown, and everything fits.
    """
    left_out = 0
    kept_tokens = needed_tokens
    for index in range(_always_sent_from(dialogue)):
        is_too_long = room is not None and kept_tokens > room
        # the result of a tool is not sent without its call, so it is left out after that
        if not is_too_long and dialogue[index].role is not Role.TOOL:
            break
        kept_tokens -= tokens[index]
        left_out = index + 1
    return left_out


def _system_prompt(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Return the last system message in a list; an empty list if none exists or it is empty.

    An empty system message has removed the prompt before it. One that is taken out of requests is
    as if it did not exist.
    """
    for message in reversed(messages):
        if message.role is Role.SYSTEM and not message.is_excluded:
            return [message] if message.text else []
    return []


def _sent_messages(messages: Sequence[ChatMessage], *, is_continued: bool) -> list[ChatMessage]:
    """Return the messages with a text or files that are not taken out, without system messages.

    The result of a tool goes with the answer that called it. With `is_continued`, the last message
    is one of them even if it has nothing but a thought: the server continues that.
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


def _always_sent_from(dialogue: Sequence[ChatMessage]) -> int:
    """Return the index of the first message that is sent even if it and all later ones do not fit.

    That is the last prompt or the last message but one, whichever is earlier. It is negative for
    fewer than two messages: none of them may be left out.
    """
    last_but_one = len(dialogue) - _KEPT_MESSAGES
    for index in range(len(dialogue) - 1, -1, -1):
        if dialogue[index].role is Role.USER:
            return min(index, last_but_one)
    return last_but_one


def cut_note(target: Target, tokens: int, window: int) -> str:
    """Return the sentences about a prompt of `tokens` tokens for a window of `window` tokens.

    They say what the server does with a prompt that is too long, and what the user can do.
    """
    facts = product_named(target.product)
    effect = "may refuse the prompt or drop a part of it"
    if facts.cuts_prompts:
        effect = "drops its beginning"
    next_step = facts.larger_window or "Shorten it, or use a larger context window"
    # the next power of two has room for the prompt and an answer
    enough_tokens = 1 << (tokens + _MAX_RESERVE).bit_length()
    next_step = next_step.format(context=enough_tokens, model=shell_word(target.model_id))
    return (
        f"The prompt has about {tokens} tokens, the context window {window}: "
        f"{target.product} {effect}. {next_step}."
    )


class ContextUse(Struct, frozen=True, kw_only=True):
    """Part of the window that the messages of a session take."""

    tokens: int  # with the thought of the last answer, which is in the window now
    limit: int | None  # tokens of the window; None if unknown
    is_estimated: bool  # False if the server has counted all of it
    unsent: int = 0  # tokens of that thought, if the next request is without it

    @property
    def next_tokens(self) -> int:
        """Tokens that the messages take in the next request."""
        return self.tokens - self.unsent

    @property
    def fraction(self) -> float | None:
        return self.tokens / self.limit if self.limit else None


class ContextMeter:
    """Factors of models: the count of the server divided by the raw estimate."""

    def __init__(self) -> None:
        self._factors: dict[tuple[str, str], float] = {}  # by URL of the server and name of model
        self._last_use: tuple[Sequence[ChatMessage], object, ContextUse] | None = None
        """Cache of `use`: messages, what else the result depends on, and the result."""

    def factor(self, target: Target | None) -> float:
        """Return the learned factor of a model; 1 before the first count."""
        return 1.0 if target is None else self._factors.get(_model_key(target), 1.0)

    def learn(
        self, target: Target, prompt: PromptSize, counted: int, *, is_exact: bool = False
    ) -> None:
        """Change the factor of a model after its server has counted the tokens of a prompt.

        With `is_exact`, the server's tokenizer has counted on request, and this count alone gives
        the factor. Otherwise `counted` is from the `usage` of an answer, and a third of the factor
        stays from earlier counts. Such a count is ignored if it may be of less than was sent:
        because the server has cut the prompt, or because a template may leave out thoughts. No
        count is used of a prompt with images or with little text.
        """
        if prompt.has_images or counted <= 0 or prompt.raw < _SMALL_TOKENS:
            return
        may_lack_thoughts = (
            prompt.thoughts > 0
            and sent_thoughts_of(target.product, target.model) is not SentThoughts.ALL
        )
        if not is_exact and (may_lack_thoughts or self.is_cut(target, prompt, counted)):
            return
        # the part of the count that the text has made, without the marks of the chat template
        factor = (counted - TEMPLATE_TOKENS * prompt.messages) / prompt.raw
        earlier_factor = self._factors.get(_model_key(target))
        if earlier_factor is not None and not is_exact:
            factor = (earlier_factor + 2 * factor) / 3
        self._set_factor(target, factor)

    def learn_refusal(self, target: Target, sent: Sequence[ChatMessage], least_tokens: int) -> None:
        """Raise the factor after the server has refused the messages `sent` as too long.

        They have at least `least_tokens` tokens. If the factor is already higher than follows from
        this, it stays.
        """
        if sent:
            thoughts = thoughts_to_send(sent, sent_thoughts_of(target.product, target.model))
            raw_estimate = sum(map(message_tokens, sent, thoughts))  # with the factor 1
            self._set_factor(target, max(self.factor(target), least_tokens / raw_estimate))

    def is_cut(self, target: Target, prompt: PromptSize, counted: int) -> bool:
        """Whether a server seems to have left out a part of the prompt, as Ollama does silently.

        It seems so if its count fills the window, so that there was no room for an answer, or is
        much less than the estimate. The estimate is without thoughts, since templates may leave
        them out, and is not used for a prompt with images or of less than 1000 tokens.
        """
        if target.context is not None and _FULL_SHARE * target.context <= counted <= target.context:
            return True
        if prompt.has_images:
            return False
        estimate = prompt.tokens_without_thoughts(self.factor(target))
        return estimate >= _CUT_TOKENS and counted < _CUT_SHARE * estimate

    def use(self, target: Target | None, messages: Sequence[ChatMessage]) -> ContextUse:
        """Return the part of the window that the messages take.

        Its tokens are the server's last count (see `_split_at_count`), plus an estimate of the
        messages after the counted ones. If nothing has changed since the last call, the same result
        is returned.
        """
        factor = self.factor(target)
        limit = target.context if target else None
        sent_thoughts = (
            sent_thoughts_of(target.product, target.model) if target else SentThoughts.NONE
        )
        model_id = target.model_id if target else ""
        key = (model_id, factor, limit, sent_thoughts)
        if self._last_use is not None:  # this method is called often
            last_messages, last_key, last_use = self._last_use
            if last_messages is messages and last_key == key:
                return last_use

        counted = _split_at_count(messages, model_id)
        uncounted = [message for message in counted.later if not message.is_excluded]
        thoughts = thoughts_to_send(uncounted, sent_thoughts)
        tokens = counted.tokens
        for message, thought in zip(uncounted, thoughts, strict=True):
            tokens += message_tokens(message, thought, factor=factor)
        use = ContextUse(
            tokens=tokens,
            limit=limit,
            is_estimated=bool(uncounted),
            unsent=_unsent_thought_tokens(counted, sent_thoughts),
        )
        self._last_use = (messages, key, use)
        return use

    def counted_messages(
        self, target: Target, messages: Sequence[ChatMessage]
    ) -> tuple[int, Sequence[ChatMessage]]:
        """Return the tokens that the server has counted last, and the messages that came later.

        If the thought of the counted answer is not sent again, an estimate of its tokens is taken
        off. Without a count, return 0 and all messages.
        """
        counted = _split_at_count(messages, target.model_id)
        unsent = _unsent_thought_tokens(counted, sent_thoughts_of(target.product, target.model))
        return counted.tokens - unsent, counted.later

    def draft_tokens(self, target: Target | None, text: str) -> int:
        """Estimate the tokens of a text with the factor of a model."""
        return estimate_tokens(text, factor=self.factor(target))

    def _set_factor(self, target: Target, factor: float) -> None:
        """Note the factor of a model, limited to the range from a quarter to 4."""
        self._factors[_model_key(target)] = min(max(factor, 1 / _MAX_FACTOR), _MAX_FACTOR)


class _Counted(Struct, frozen=True, kw_only=True):
    """A path, split behind the answer up to which a server has counted its tokens."""

    tokens: int = 0  # with this answer; 0 without a count
    answer: ChatMessage | None = None  # None without a count
    later: Sequence[ChatMessage]  # the messages behind it; all without a count


def _split_at_count(messages: Sequence[ChatMessage], model_id: str) -> _Counted:
    """Split a path at the newest count of a server.

    Only counts of the model `model_id` are used; if that is empty, those of any model. A count of
    a request from which other messages were taken out than now is not used.
    """
    excluded = _excluded_indexes(messages)
    for index in range(len(messages) - 1, -1, -1):
        message = messages[index]
        counted = _counted_tokens(message)
        if not counted or message.is_excluded or model_id not in ("", message.model):
            continue
        counted_key = message.stats.excluded_key if message.stats else 0
        excluded_before = excluded[: bisect_left(excluded, index)]  # the indexes below this one
        if counted_key == _key_of(excluded_before):
            return _Counted(tokens=counted, answer=message, later=messages[index + 1 :])
    return _Counted(later=messages)


def _unsent_thought_tokens(counted: _Counted, sent_thoughts: SentThoughts) -> int:
    """Estimate the tokens of the counted answer's thought, if that is not sent again; else 0.

    Where they were not counted, their share of the answer is taken to be that of their length.
    Earlier thoughts that are not sent again have not been counted either.
    """
    answer = counted.answer
    if answer is None or answer.stats is None or not answer.reasoning:
        return 0
    # the thought of an answer that called tools is sent with it until the next prompt
    has_later_prompt = any(message.role is Role.USER for message in counted.later)
    is_in_loop = bool(answer.tool_calls) and not has_later_prompt
    is_sent_in_loop = is_in_loop and sent_thoughts is SentThoughts.SINCE_PROMPT
    if sent_thoughts is SentThoughts.ALL or is_sent_in_loop:
        return 0
    answer_tokens = answer.stats.completion_tokens or 0
    if answer.stats.thought_tokens is not None:
        return min(answer.stats.thought_tokens, answer_tokens)
    thought = raw_tokens(answer.reasoning)
    share = thought / (thought + raw_tokens(answer.sent_text))
    return round(answer_tokens * share)


def exclusion_key(messages: Sequence[ChatMessage]) -> int:
    """Return a checksum of the places of the messages that are taken out of requests.

    It is 0 if none are. `AnswerStats` keep it, to know later for which request the count was.
    """
    return _key_of(_excluded_indexes(messages))


def _excluded_indexes(messages: Sequence[ChatMessage]) -> list[int]:
    return [index for index, message in enumerate(messages) if message.is_excluded]


def _key_of(excluded_indexes: Sequence[int]) -> int:
    return crc32(repr(excluded_indexes).encode()) if excluded_indexes else 0


def _model_key(target: Target) -> tuple[str, str]:
    return target.endpoint.url, target.model_id
