"""What each kind of turn follows, adds, and continues or repeats; only a summary is elsewhere.

The functions take a complete path, and raise `RequestInvalid`. `prefill_text` is the user's.

A *prefill* is what an answer starts with, and the model continues. It is the last message of the
request. For a server that cannot continue it, a prompt quotes its end.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from itertools import takewhile

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import RequestInvalid
from lmchat.core.servers.model import BUILT_IN
from lmchat.core.servers.products import PRODUCTS, product_named
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import (
    EDITED,
    AnswerState,
    AnswerStats,
    ChatMessage,
    FilePart,
    Part,
    Role,
    TextPart,
    ToolCallPart,
    is_imported_call,
    new_id,
    now,
    prompt_message,
    text_message,
)
from lmchat.core.sessions.session import MessagePath
from lmchat.core.sessions.tokens import TokenProbabilities

CONTINUE = (
    "Your last answer broke off. Go on with it exactly where it stopped, in the middle of a word "
    "if need be. Its last words are below: do not repeat them, write what follows them. "
    "No greeting, no comment, no code fence that is open already."
)
QUOTED_END_CHARS = 60

_MOST_CHARS = 100
_LEAST_CHARS = 3  # a shorter word behind the blank may be the end of another
_WORD = re.compile(r"\w+")
_COMMON_WORDS = frozenset(
    _WORD.findall(
        "and are as at but by can for from has have in into is it its of on or than that the their "
        "then there these they this to was were when which while will with you your "
    )
)
_LAST_WORD = re.compile(r"\w{1,99}$")
_FIRST_WORD = re.compile(r"\w{1,99}")
# Thai, Lao, Tibetan, Burmese, Khmer, Japanese and Chinese have no blanks
_JOINED = re.compile(
    "[\u0e00-\u109f\u1780-\u17ff\u2e80-\u312f\u31a0-\u9fff\uf900-\ufaff\uff66-\uff9f"
    "\U00020000-\U0003ffff]"
)


class Prefill(Struct, frozen=True, kw_only=True):
    """Beginning of an answer, which the model continues."""

    message: ChatMessage
    choices: tuple[TokenProbabilities, ...] = ()
    is_exact: bool = False
    """It has words of the user, so it is continued or not sent at all."""
    is_typed: bool = False  # from `/start`

    @classmethod
    def of_text(cls, text: str) -> Prefill | None:
        if not text:
            return None
        return cls(message=text_message(Role.ASSISTANT, text), is_exact=True, is_typed=True)

    @classmethod
    def of_answer(cls, answer: ChatMessage) -> Prefill:
        """Leave out blanks at the end of the user's words (R-43): the model writes its own."""
        stats = answer.stats or AnswerStats()
        if stats.ends_with_edit:  # it has only a text
            answer = replace(answer, parts=(TextPart(text=answer.text.rstrip()),))
        # exact even if a model has added to it
        return cls(message=answer, is_exact=stats.is_edited)

    def can_prefill(self, target: Target) -> bool:
        """Some servers cannot continue a thought alone."""
        product = product_named(target.product)
        return product.chat.can_prefill if self.message.text else product.chat.can_prefill_thought


def needs_blank(before: str, after: str, texts: Iterable[str]) -> bool:
    """Whether a blank is missing between an answer that broke off and what a model wrote on.

    It may have broken off within a word: then neither side is known, or the joined letters start a
    word of `texts`. Code, numbers, and some scripts need no blank.
    """
    last = _LAST_WORD.search(before[-_MOST_CHARS:])
    first = _FIRST_WORD.match(after)
    if last is None or first is None:
        return False
    left, right = last[0], first[0]
    is_code = before.count("```") % 2 or before.rpartition("\n")[2].count("`") % 2
    is_number = left[-1].isdigit() and right[0].isdigit()
    if is_code or is_number or _JOINED.match(left[-1]) or _JOINED.match(right[0]):
        return False
    # in texts that are, or quote, the broken answer, its last letters are not a word
    known_text = " ".join(text.rstrip().removesuffix(left) for text in texts).lower()
    words = set(_WORD.findall(known_text))
    joined = f"{left}{right}".lower()
    if any(word.startswith(joined) for word in words):
        return False
    if left.islower() and right[0].isupper():
        return True
    words |= _COMMON_WORDS
    return left.lower() in words or (len(right) >= _LEAST_CHARS and right.lower() in words)


def require_prefill(target: Target, prefill: Prefill | None = None) -> None:
    """Raise `RequestInvalid` if the server cannot continue words of the user; None: any text."""
    product = product_named(target.product)
    can_prefill = prefill.can_prefill(target) if prefill else product.chat.can_prefill
    if not can_prefill:
        able = [one.name for one in PRODUCTS if one.chat.can_prefill and one.name != BUILT_IN]
        raise RequestInvalid(
            f"{product.subject} cannot continue a text that you have written.",
            next_step=f"Use a model of {', '.join(able)} or the built-in engine.",
            kind="unsupported",
        )


IMPORTED_CALL = (
    "This call came with an imported chat, so lmchat does not run it; retry the answer above it."
)


class TurnStart(Struct, frozen=True, kw_only=True):
    """All that a turn starts with."""

    path: MessagePath  # what stays of the path
    prompts: tuple[ChatMessage, ...] = ()  # new ones, system prompts too
    version: int = 1
    """Version of the first message that the turn makes."""
    prefill: Prefill | None = None
    calls: tuple[ToolCallPart, ...] = ()  # at most one, to repeat before the first answer
    copied: tuple[ChatMessage, ...] = ()
    """Tool messages of other calls of the same answer, which do not run again."""

    @property
    def sent_path(self) -> MessagePath:
        return self.path.added(*self.prompts)


# called once the whole path is read
MakeStart = Callable[[MessagePath], TurnStart]


def new_prompt(
    path: MessagePath,
    text: str,
    files: Sequence[FilePart] = (),
    *,
    system_prompt: str,
    prefill_text: str = "",
) -> TurnStart:
    """Start with a new prompt; a new session first gets `system_prompt`."""
    prompts: list[ChatMessage] = []
    parent_id = path.leaf_id
    if not path and system_prompt:
        prompts.append(text_message(Role.SYSTEM, system_prompt))
        parent_id = prompts[0].message_id
    prompts.append(prompt_message(text, files, parent_id))
    return TurnStart(path=path, prompts=tuple(prompts), prefill=Prefill.of_text(prefill_text))


def edited(
    path: MessagePath,
    message_id: str,
    text: str,
    files: Sequence[FilePart] | None = None,
    *,
    prefill_text: str,
) -> TurnStart:
    """Start with another version of a prompt; `files` None keeps its files.

    A system prompt at the end was set for the next answer: it is copied, else it would be left on
    the old branch.
    """
    index = _index_of(path, message_id)
    old = path[index]
    version = old.versions + 1
    prompt = prompt_message(text, old.files if files is None else files, old.parent_id)
    prompts = [replace(prompt, version=version, versions=version)]
    prompts += path.next_system(prompt.message_id)
    return TurnStart(
        path=path.before(index),
        prompts=tuple(prompts),
        prefill=Prefill.of_text(prefill_text),
    )


def regenerated(path: MessagePath, message_id: str, *, prefill_text: str) -> TurnStart:
    """Start with a new version of an answer or a call, also from its prompt.

    Raises `RequestInvalid` also for an imported call, and if a needed message is excluded.
    """
    index = _index_of(path, message_id)
    message = path[index]
    if message.role is Role.TOOL:
        return _repeated_call(path, index)
    following = path[index + 1 : index + 2]
    if message.role is Role.ASSISTANT:
        sent, version = path.before(index), message.versions + 1
    else:
        sent, version = path.before(index + 1), 1
        if following and following[0].role is Role.ASSISTANT:
            version = following[0].versions + 1
    _require_sent(sent)
    return _answered(path, sent, version, Prefill.of_text(prefill_text))


def _answered(
    path: MessagePath, sent: MessagePath, version: int, prefill: Prefill | None
) -> TurnStart:
    """Let the new answer follow a system prompt that was set after the old one.

    It needs another version of its prompt then, or a place behind the results of tools.
    """
    system = path.next_system(sent.leaf_id)
    if not system:
        return TurnStart(path=sent, version=version, prefill=prefill)
    asked = [message for message in sent if message.role is not Role.SYSTEM][-1]
    if asked.role is Role.USER:
        start = edited(path, asked.message_id, asked.text, prefill_text="")
        return replace(start, prefill=prefill)
    return TurnStart(path=sent, prompts=tuple(system), prefill=prefill)


def _repeated_call(path: MessagePath, index: int) -> TurnStart:
    call = path[index]
    _require_sent(path[: index + 1])
    if is_imported_call(call):
        raise RequestInvalid(IMPORTED_CALL)
    return TurnStart(
        path=path.before(index),
        version=call.versions + 1,
        calls=call.tool_calls,
        copied=tuple(_results(path[index + 1 :])),
    )


def continued(path: MessagePath, answer_id: str, prefill: Prefill | None) -> TurnStart:
    """Continue an answer in a new version; without `prefill`, from its end."""
    index = _index_of(path, answer_id)
    old = path[index]
    _require_sent(path[: index + 1])
    prefill = prefill or Prefill.of_answer(old)
    return _answered(path, path.before(index), old.versions + 1, prefill)


def rewritten(path: MessagePath, answer_id: str, text: str) -> MessagePath:
    """Return the path up to a new version of an answer, with a text by the user.

    It lacks the old thought, which led to other words and would be sent back to the model (R-45).
    Raises `RequestInvalid`, as for a blank text.
    """
    index = _index_of(path, answer_id)
    old = path[index]
    if not text.strip():
        raise RequestInvalid("An answer cannot be empty.", next_step="Type a text.")
    if problem := why_not_rewritten(old):
        raise RequestInvalid(problem)
    version = old.versions + 1
    return path.before(index).added(
        replace(
            old,
            message_id=new_id(),
            parts=(TextPart(text=text),),
            created_at=now(),
            state=AnswerState.COMPLETE,
            stats=EDITED,
            failure=None,
            version=version,
            versions=version,
            is_excluded=False,
        )
    )


def why_not_rewritten(message: ChatMessage) -> str:
    """Return the reason as a sentence, or ""."""
    if message.role is not Role.ASSISTANT:
        return "Only answers can be rewritten."
    return "Only answers without tool calls can be rewritten." if message.tool_calls else ""


def messages_together(path: MessagePath, message_id: str) -> list[ChatMessage]:
    """Return what is taken out together: an answer with calls and its results."""
    first = _index_of(path, message_id)
    while first > 0 and path[first].role is Role.TOOL:
        first -= 1
    return [path[first], *_results(path[first + 1 :])]


def _results(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    return list(takewhile(lambda message: message.role is Role.TOOL, messages))


def _index_of(path: MessagePath, message_id: str) -> int:
    """Raises `RequestInvalid` if it is not there."""
    index = path.index_of(message_id)
    if index is None:
        raise RequestInvalid("This message is on another branch.", next_step="Open it in the tree.")
    return index


def _require_sent(path: Sequence[ChatMessage]) -> None:
    """Raise `RequestInvalid` without a prompt, or if it or the last message is not sent.

    The model would not know what to answer or to continue.
    """
    prompts = [message for message in path if message.role is Role.USER]
    if not prompts:  # in some imported chats
        raise RequestInvalid("No prompt comes before this answer.", next_step="Type a prompt.")
    if any(message.is_excluded for message in (*prompts[-1:], *path[-1:])):
        raise RequestInvalid(
            "This message, or its prompt, is taken out of requests.",
            next_step="Put it back with /context, then try again.",
        )


def streaming_message(
    role: Role, parts: tuple[Part, ...], path: MessagePath, target: Target, version: int
) -> ChatMessage:
    """Make a message below the end of a path, the newest of its versions."""
    return ChatMessage(
        message_id=new_id(),
        role=role,
        parts=parts,
        created_at=now(),
        parent_id=path.leaf_id,
        state=AnswerState.STREAMING,
        model=target.model_id,
        endpoint=target.endpoint.url,
        version=version,
        versions=version,
    )
