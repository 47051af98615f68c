"""Tokens of the parts of a request: of each text and of each text file in it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from msgspec import Struct
from msgspec.structs import replace

from lmchat.servers.request import ChatRequest
from lmchat.sessions.attached_files import AttachedFile, split_files
from lmchat.sessions.message import ChatMessage, RefusalPart, Role, TextPart, ToolResultPart


class MessageCounts(Struct, frozen=True, kw_only=True):
    """Tokens of a request, as its server counts them."""

    total: int
    tools: int = 0  # of the descriptions of the tools, which are in `total`
    parts: tuple[int, ...] = ()
    """Of each of `RequestParts.parts`; empty if only the total is known."""


class RequestPart(Struct, frozen=True, kw_only=True):
    """A text or a text file of a message in a request."""

    index: int  # of the message
    file_name: str  # empty for the text of the message
    text: str  # about as it is sent


class RequestParts:
    """The parts of a request in the order in which they are sent.

    `marked` is the request with a mark at the end of each part. A chat template takes the marks
    along, so that they tell which part a token of its text belongs to. Blanks at the end of a text
    stay behind its mark, so that templates remove them as they do without a mark.

    Templates write the calls of an answer behind its text, and both are one part. Its mark has to
    be behind the calls, so it is put at the beginning of the first result. An answer whose calls
    have no result has its mark behind its text, as any other message.
    """

    def __init__(self, request: ChatRequest, mark: str = "") -> None:
        self.parts: list[RequestPart] = []
        self._mark = mark
        self._files = dict(request.files)
        messages: list[ChatMessage] = []
        answers_with_results = _answers_with_results(request.messages)  # indexes
        for index, message in enumerate(request.messages):
            self._add_files(index, message)
            if index in answers_with_results:
                self._add(index, message.sent_text)  # one part: the text and the calls behind it
                messages.append(message)  # without its mark, which the first result gets
            elif message.role is Role.TOOL:
                follows_answer = index - 1 in answers_with_results
                mark_of_answer = self._mark if follows_answer else ""
                result = mark_of_answer + self._add(index, message.tool_result)
                messages.append(_with_text(message, result))
            else:
                messages.append(_with_text(message, self._add_text(index, message)))
        self.marked = replace(request, messages=tuple(messages), files=self._files)

    def _add(self, index: int, text: str, file_name: str = "") -> str:
        """Add a part, and return its text with the mark."""
        self.parts.append(RequestPart(index=index, file_name=file_name, text=text))
        end = len(text.rstrip())
        return text[:end] + self._mark + text[end:]

    def _add_files(self, index: int, message: ChatMessage) -> None:
        """Add the attached text files of a message whose content is known."""
        for file in message.files:
            data = self._files.get(file.digest)
            if data is not None and not file.is_image:
                text = data.decode("utf-8-sig", "replace").rstrip()
                # a file that is attached twice has its mark already
                marked = self._add(index, text.removesuffix(self._mark), file.name)
                self._files[file.digest] = marked.encode()

    def _add_text(self, index: int, message: ChatMessage) -> str:
        """Add the text of a message, and the files in it; return the text with its marks.

        Blanks between two files are no part, but a text of nothing but blanks is one. A message
        without text has a part only if it is a prompt without files.
        """
        if not message.text:
            is_empty_prompt = message.role is Role.USER and not message.files
            return self._add(index, "") if is_empty_prompt else ""
        is_prompt = message.role is Role.USER  # only prompts have files in their text
        marked = ""
        for piece in split_files(message.text) if is_prompt else [message.text]:
            is_whole_text = piece == message.text
            if isinstance(piece, AttachedFile):
                marked += self._add(index, piece.source, piece.name)
            elif piece.strip() or is_whole_text:
                marked += self._add(index, piece)
            else:  # blanks between two files
                marked += piece
        return marked


def _answers_with_results(messages: Sequence[ChatMessage]) -> set[int]:
    """Return the indexes of the answers whose tool calls have a result as the next message."""
    indexes: set[int] = set()
    for index, (message, following) in enumerate(pairwise(messages)):
        is_calling = message.role is Role.ASSISTANT and bool(message.tool_calls)
        if is_calling and following.role is Role.TOOL:
            indexes.add(index)
    return indexes


def _with_text(message: ChatMessage, text: str) -> ChatMessage:
    """Return a message with another text, or a tool message with another result."""
    text_kinds = (TextPart, RefusalPart, ToolResultPart)
    others = tuple(part for part in message.parts if not isinstance(part, text_kinds))
    if message.role is Role.TOOL:
        return replace(message, parts=(*others, ToolResultPart(text=text)))
    return replace(message, parts=(*others, TextPart(text=text)) if text else others)
