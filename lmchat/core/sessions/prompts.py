"""Prompts until they are messages, and attached files in their text.

A text file has a place in the text, and is sent there in a code fence. In a draft or a queued
prompt, a file is one line: a mark, and the `FilePart` as JSON. Files within the text, as in
imported chats, are treated as text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import MsgspecError, Struct, field, json
from msgspec.structs import replace

from lmchat.base.safe_text import safe_line
from lmchat.core.sessions.message import FilePart

_MIN_TICKS = 3
_OPENING_TICKS = r"(?m)^ {0,3}(`{3,})"
# data link escape, which cannot be typed
_FILE_MARK = "\x10"
_FILE_LINE = f'{_FILE_MARK}["file",'
_DIGEST = "([0-9a-f]{64})?"


def fence_for(text: str) -> str:
    """Return three backticks, or more than any fence in the text has."""
    longest = max(map(len, re.findall(_OPENING_TICKS, text)), default=0)
    return "`" * max(longest + 1, _MIN_TICKS)


def joined_paragraphs(*texts: str) -> str:
    """Join texts by blank lines; leave out empty ones."""
    return "\n\n".join(filter(None, texts))


def file_as_prompt_text(name: str, size_bytes: int, text: str, language: str = "") -> str:
    fence = fence_for(text)
    return f"{name} ({size_bytes} bytes):\n{fence}{language}\n{text.rstrip()}\n{fence}\n"


def file_line(part: FilePart) -> str:
    """Return the line with its line end."""
    return f"{_FILE_MARK}{json.encode(part).decode()}\n"


def unread_line(name: str) -> str:
    """Return the line of a file that cannot be read: a prompt with it must not be sent."""
    return file_line(FilePart(name=name, media_type="", digest="", size=0))


def position_of_files(text: str, cursor: int, typed: str, words: str) -> tuple[int, int, str]:
    """Return start and end of what files replace in a prompt, and the text to follow them.

    `Compare @a.py with it` becomes the files, and below them `Compare a.py with it`: the text is
    the beginning of the line, and `words`. `typed` is the text before the cursor that named the
    files, such as `@a.py`, or empty; a blank behind it goes with it.
    """
    start = text.rfind(typed, 0, cursor)
    whole_names = (
        re.finditer(rf"(?<!\w){re.escape(typed)}(?![\w./-]*\w)", text[:cursor]) if typed else ()
    )
    for name_match in whole_names:  # a longer name behind it may start alike
        start = name_match.start()
    if start < 0:  # the user has changed the name while the files were read
        typed = ""
        start = cursor
        words = ""
    end = start + len(typed)
    if typed and not words and text.startswith(" ", end):
        end += 1
    line_start = text.rfind("\n", 0, start) + 1
    return line_start, end, text[line_start:start] + words


class PendingFiles(Struct, eq=False):
    """Files of one act, such as `/file NAME`, on their way into a prompt."""

    prompt: PendingPrompt
    label: str  # safe to show
    typed: str = ""  # text of the prompt that names them
    words: str = ""  # that take its place
    name: str = ""  # of a file chosen with `@`
    is_page: bool = False

    def put_into(self, draft: str, lines: Sequence[str]) -> str:
        """Put files where `typed` is, or else in front of the draft."""
        cursor = len(draft) if self.typed and self.typed in draft else 0
        start, end, words = position_of_files(draft, cursor, self.typed, self.words)
        return draft[:start] + "".join(lines) + words + draft[end:]


class PendingPrompt(Struct, eq=False, kw_only=True):
    """A prompt until it is a message; two are never equal."""

    draft: str = ""  # "" until Enter: the input has the text
    edited_id: str = ""  # of the message whose version is typed
    files: list[PendingFiles] = field(default_factory=list)  # that the text lacks
    has_failed: bool = False  # a file could not be read: it returns to the input

    def expect(self, label: str, typed: str = "", words: str = "", name: str = "") -> PendingFiles:
        files = PendingFiles(self, safe_line(label), typed, words, name)
        self.files.append(files)
        return files

    def take_files(self, returned: PendingPrompt) -> None:
        """Get the files of a prompt whose text joins this one."""
        for files in returned.files:
            files.prompt = self
        self.files += returned.files


def without_file_lines(text: str) -> str:
    """Take the mark out of a text from outside.

    A line with the mark would attach a file of the store without the user seeing it.
    """
    return text.replace(_FILE_MARK, "")


class Prompt(Struct, frozen=True):
    """A prompt to send, with its files."""

    text: str
    files: tuple[FilePart, ...] = ()

    @classmethod
    def of(cls, draft: str) -> Prompt:
        text, files = split_draft(draft)
        return cls(text, tuple(files))

    @property
    def draft(self) -> str:
        return "".join(
            without_file_lines(piece) if isinstance(piece, str) else file_line(piece)
            for piece in self.pieces
        )

    @property
    def pieces(self) -> list[str | FilePart]:
        """Files without a place in the text come first."""
        before = [part for part in self.files if part.place is None]
        return [*before, *_pieces_of(self.text, self.files)]


def _pieces_of(text: str, files: Iterable[FilePart]) -> Iterator[str | FilePart]:
    """`files` are in the order of their places."""
    start = 0
    for part in files:
        if part.place is not None:
            if part.place > start:
                yield text[start : part.place]
                start = part.place
            yield part
    if text[start:]:
        yield text[start:]


def text_with_files(text: str, files: Sequence[FilePart], contents: Mapping[str, bytes]) -> str:
    """Return the text as it is sent."""
    sent = ""
    for piece in _pieces_of(text, files):
        if isinstance(piece, str):
            sent += piece
        elif piece.digest in contents:
            content = contents[piece.digest].decode("utf-8", "replace")
            sent += file_as_prompt_text(piece.name, piece.size, content, piece.language)
        else:
            sent += f"[file {safe_line(piece.name)} is missing]\n"
    is_file_at_end = bool(files) and files[-1].place == len(text)
    return sent.removesuffix("\n") if is_file_at_end else sent


def split_draft(draft: str) -> tuple[str, list[FilePart]]:
    """Return the typed text without the lines of files, and the files, each image once.

    The `place` of a text file is the index in this text where its line was; an image gets none.
    """
    if _FILE_LINE not in draft:
        return draft, []
    files: dict[FilePart, None] = {}  # a set with an order
    typed = ""
    for line in re.split(r"(?<=\n)", draft):
        file = file_in_line(line.removesuffix("\n"))
        if file is None:
            typed += line
        else:
            files[replace(file, place=None if file.is_image else len(typed))] = None
    return typed, list(files)


def file_in_line(line: str) -> FilePart | None:
    """None for a line that represents no file."""
    if not (line.startswith(_FILE_LINE) and line.endswith("]")):  # the JSON is an array
        return None
    try:
        file = json.decode(line.removeprefix(_FILE_MARK), type=FilePart)
    except (MsgspecError, RecursionError):
        return None
    return file if re.fullmatch(_DIGEST, file.digest) else None
