"""Lesser requests: the same prompt with less around it, after a refusal or in a small window.

What is left out follows from what was sent, not from the words of the server.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from msgspec.structs import replace

from lmchat.base.errors import ServerRejected
from lmchat.base.units import counted
from lmchat.core.chat.context import (
    TokenEstimator,
    message_tokens,
    selection_of,
    tools_tokens,
)
from lmchat.core.servers.products.server_api import ModelMemory
from lmchat.core.servers.request import ChatRequest
from lmchat.core.sessions.message import ChatMessage, FilePart, Role, ToolResultPart
from lmchat.core.tools.calls import cut_result

_SHARES = (0.7, 0.5, 0.0)  # of what was refused, one after the other; 0: the newest prompt alone
_LENGTH_KINDS = ("context_overflow", "too_large")
_UNCLEAR_KINDS = ("bad_request", "template")
_UNCLEAR_STATUSES = (400, 413, 422, None)  # None: inside a stream
_LEAST_CHARS = 200  # of a result
_NOTE_TOKENS = 20  # for the note that it is cut


def lesser(
    sent: Sequence[ChatRequest],
    error: ServerRejected,
    estimator: TokenEstimator,
    *,
    has_quote: bool = False,
) -> ChatRequest | None:
    """Return what to send after the last request of `sent` was refused; None if nothing helps.

    With `has_quote`, the last message only quotes the answer that it continues.
    """
    if has_quote:
        unquoted = [replace(one, messages=one.messages[:-1]) for one in sent]
        less = lesser(unquoted, error, estimator)
        return less and replace(less, messages=(*less.messages, sent[-1].messages[-1]))
    found = (one for one in _lesser_ones(sent, error, estimator) if one != sent[-1])
    return next(found, None)


def _lesser_ones(
    sent: Sequence[ChatRequest], error: ServerRejected, estimator: TokenEstimator
) -> Iterator[ChatRequest]:
    """Yield what to try; some may be as large as the last request."""
    request = sent[-1]
    is_unclear = error.kind in _UNCLEAR_KINDS and error.status in _UNCLEAR_STATUSES
    if is_unclear or error.kind in ("no_vision", "too_large"):
        yield without_other_images(request)
    first_tokens = selection_of(sent[0]).tokens
    tokens = selection_of(request).tokens
    max_tokens = request.sampling.max_tokens
    taken = estimator.memory_of(request.target).taken
    # it is the largest part, and nothing shows that the server takes so many
    if not taken and (max_tokens or 0) >= first_tokens:
        return
    if error.kind in _LENGTH_KINDS:
        room = estimator.window_room(request.target, max_tokens)
        for share in _SHARES[len(sent) - 1 :]:
            yield _fitting(request, min(share * tokens, room))
    # once: if that is refused, too, it was not the length
    elif is_unclear and tokens >= first_tokens:
        for size in (taken, tokens / 2) if taken < tokens else ():
            less = _fitting(request, size)
            # an answer without its context is worse than an error
            if size and (_earlier(less) or not _earlier(request)):
                yield less


def _fitting(request: ChatRequest, room: float) -> ChatRequest:
    """Leave out tools, parts of results and the oldest exchanges that `room` cannot hold.

    Tools stay where the model must call one, or goes on behind a result. `room` is in raw tokens.
    """
    messages = request.messages
    start = request.prompt_index
    has_results = any(one.role is Role.TOOL for one in messages[start:])
    if tools_tokens(request.tools) > room and not (request.must_call or has_results):
        request = replace(request, tools=())
    if selection_of(request).tokens > room:
        earlier_results = (_cut(one, 0) for one in messages[:start])
        request = replace(request, messages=(*earlier_results, *messages[start:]))
    # half of the room is enough for results if other messages need it
    earlier = sum(message_tokens(one, factor=1) for one in _earlier(request))
    request = with_fitting_results(request, max(room - earlier, room / 2))
    return replace(request, messages=selection_of(request, limit=int(room)).messages)


def with_fitting_results(request: ChatRequest, room: float) -> ChatRequest:
    """Cut results behind the newest prompt if `room` raw tokens cannot hold them.

    Those that the model has read keep their beginning; those of the last round share the rest.
    """
    messages = list(request.messages)
    start = request.prompt_index
    sent = [
        index for index, one in enumerate(messages) if index >= start or one.role is Role.SYSTEM
    ]
    results = [index for index in sent if messages[index].role is Role.TOOL]
    last_answer = max(
        (index for index in sent if messages[index].role is Role.ASSISTANT), default=0
    )
    for is_read in (True, False):
        group = [index for index in results if (index < last_answer) is is_read]
        if not group:
            continue
        turn = replace(request, messages=tuple(messages[index] for index in sent))
        excess = selection_of(turn).tokens - room
        if excess <= 0:
            break
        tokens = sum(message_tokens(messages[index], factor=1) for index in group)
        share = 0.0 if is_read else (tokens - excess) / len(group) - _NOTE_TOKENS
        for index in group:
            messages[index] = _cut(messages[index], share)
    return replace(request, messages=tuple(messages))


def _cut(result: ChatMessage, tokens: float) -> ChatMessage:
    text = result.tool_result
    chars = int(len(text) * tokens / message_tokens(result, factor=1))
    cut = cut_result(text, max(chars, _LEAST_CHARS))
    if cut == text:
        return result
    others = (part for part in result.parts if not isinstance(part, ToolResultPart))
    return replace(result, parts=(*others, ToolResultPart(text=cut)))


def learn_taken(
    memory: ModelMemory, sent: Sequence[ChatRequest], error: ServerRejected | None
) -> None:
    """Note that the last request of `sent` is answered; `error` has refused the one before."""
    request = sent[-1]
    tokens = selection_of(request).tokens
    if error is None:
        memory.taken = max(memory.taken, tokens)
        return
    refused = sent[-2]
    refused_tokens = selection_of(refused).tokens
    # one of this size was answered before: its estimate was too high
    memory.taken = tokens if refused_tokens <= memory.taken else max(memory.taken, tokens)
    if (request.messages, request.tools) == (refused.messages, refused.tools):
        memory.has_refused_images = True
    elif tokens < refused_tokens and (
        error.kind in _LENGTH_KINDS or request.messages != refused.messages
    ):
        memory.room = min(memory.room, (refused_tokens + tokens) / 2)


def left_out_note(before: ChatRequest, after: ChatRequest, left_out: int) -> str:
    """Return what `after` lacks, such as "Sent without 12 oldest messages, 1 image.".

    `left_out` is how many messages `before` lacks.
    """
    kept = {one.message_id: one for one in after.messages}
    lasting = [one for one in before.messages if one.message_id in kept]
    lost = {
        "oldest message": left_out + len(before.messages) - len(lasting),
        "image": _image_count(before, lasting) - _image_count(after, lasting),
        "tool": len(before.tools) - len(after.tools),
    }
    words = ", ".join(counted(count, word) for word, count in lost.items() if count)
    cut_count = sum(one != kept[one.message_id] for one in lasting)
    cut = f"{counted(cut_count, 'result')} of tools cut." if cut_count else ""
    return f"Sent without {words}. {cut}".rstrip() if words else cut


def why_named(
    part: FilePart, message: ChatMessage, request: ChatRequest, memory: ModelMemory
) -> str:
    """Return why the name of a file goes in place of its content; "" if the content goes."""
    data = request.files.get(part.digest)
    target = request.target
    if data is None:
        return "there is no copy of it"
    if data or not part.is_image:
        return ""
    if target.is_blind:
        return "this model cannot see"
    if message.role is Role.TOOL and not target.sees:
        return "this model is not known to see"
    if memory.has_refused_images:
        return "the server takes none of earlier messages"
    return "newer ones are too large"


def _image_count(request: ChatRequest, messages: Sequence[ChatMessage]) -> int:
    files = (part for message in messages for part in message.files if part.is_image)
    return sum(bool(request.files.get(part.digest)) for part in files)


def without_other_images(request: ChatRequest) -> ChatRequest:
    """Name all images but those of the newest prompt."""
    index = request.prompt_index
    others = {part.digest for one in request.messages for part in one.files if part.is_image}
    others -= {part.digest for one in request.messages[index : index + 1] for part in one.files}
    return replace(
        request, files={**request.files, **dict.fromkeys(others & {*request.files}, b"")}
    )


def _earlier(request: ChatRequest) -> list[ChatMessage]:
    """Return the messages before the newest prompt, but for the system prompt."""
    before = request.messages[: request.prompt_index]
    return [one for one in before if one.role is not Role.SYSTEM]
