r"""Export of a session as Markdown that can be read back without guessing.

Every entry and every part begins with a marker, a comment line that renders as nothing:

    <!-- 3f9a12bc {"role": "user", …} -->

Its first word is in the front matter, as `frame`, and in no text of the session, so that no text
can be taken for a marker. Exactly one blank line is before and after each text. Beyond the filter
of `safe_text`, two things in texts are changed, and their markers say so: a code fence that is left
open is closed (`added`), and a line that people would take for the heading of a message gets a
backslash (`escaped`):

    \## You · 2026-11-20 08:00:00 UTC

The path comes first, then each branch under a heading; the markers of its messages name their
parents. `place` is the number of a message in the order of writing.

A tool message is a folded block of a call and its result, each in a code block. A call in an answer
that a tool message repeats is not shown: its marker holds the arguments.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from datetime import UTC
from html import escape

from msgspec.structs import asdict

from lmchat.domain.attached_files import fence_for
from lmchat.domain.message import (
    ChatMessage,
    FilePart,
    ReasoningPart,
    RefusalPart,
    Role,
    TextPart,
    ToolCallPart,
    ToolResultPart,
)
from lmchat.domain.session import Session
from lmchat.domain.tool import tool_calls_text
from lmchat.formats.writing import (
    PLAIN,
    REFUSED,
    MessageEntry,
    WriteOptions,
    entries,
    is_tool_run,
    write_order,
)
from lmchat.text import safe_line, safe_text, unclosed_fence

FORMAT = 1  # in the front matter
FORMAT_WITH_BRANCHES = 2  # an import of version 1 would append branches to the path
_SUMMARY_CHARS = 120  # of a tool call above its folded block
_WORD_CHARS = 8
_MARKER_WORD = re.compile(r"<!-- ([0-9a-f]{8}) ")
# Heading of a message: `## You · 2026-11-20 08:00:00 UTC`, or without `##` and underlined.
_MESSAGE_TITLE = r"[^\n]* · \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [^\n]{1,40}"
# Pattern of both forms of a heading: the groups `indent` and `hashes`, or `title` and `underline`;
# those of the other form are empty. `%s` is the place of the backslash of the export: nothing in
# `_HEADING`, a backslash in `_ESCAPED_HEADING`. The text itself may have backslashes there (`\\*`):
# such headings get one more, so that removing one gives the same text again.
_HEADING_TEMPLATE = (
    rf"^(?:(?P<indent> {{0,3}})%s(?P<hashes>\\*#{{1,6}}[ \t])(?={_MESSAGE_TITLE}$)"
    rf"|(?P<title>{_MESSAGE_TITLE}\n {{0,3}})%s(?P<underline>\\*-+)(?=[ \t]*$))"
)
_HEADING = re.compile(_HEADING_TEMPLATE % ("", ""), re.MULTILINE)
_ESCAPED_HEADING = re.compile(_HEADING_TEMPLATE % (r"\\", r"\\"), re.MULTILINE)


def to_markdown(session: Session, options: WriteOptions = PLAIN) -> str:
    """Return a session as Markdown: the front matter, the path, then each branch."""
    return "\n\n".join(_MarkdownWriter(session, options).blocks()) + "\n"


def unescape(text: str) -> str:
    """Return a text without the backslashes that the export has put into lines like headings."""
    return _ESCAPED_HEADING.sub(r"\g<indent>\g<hashes>\g<title>\g<underline>", text)


class _MarkdownWriter:
    """Writer of one session in blocks, which blank lines will separate."""

    def __init__(self, session: Session, options: WriteOptions) -> None:
        self._session = session
        self._options = options
        self._marker_word = _unused_word(session)

    def blocks(self) -> Iterator[str]:
        """Yield the front matter, then each message after its marker, and headings of branches."""
        session = self._session
        places = write_order(session)
        path_ids = {message.message_id for message in session.messages}
        yield _front_matter(session, self._marker_word)
        for entry in entries(session, self._options.zone):
            if isinstance(entry, str):
                yield self._note(f"# {entry}")
                continue
            message_id = entry.message.message_id
            marker = _message_marker(entry.message)
            if message_id not in path_ids:
                marker["parent"] = entry.message.parent_id
            if message_id in places:
                marker["place"] = places[message_id]
            if message_id in session.branch_names:
                marker["branch"] = session.branch_names[message_id]
            yield self._marker_line(marker)
            yield f"## {entry.speaker} · {entry.time}"
            yield from self._body(entry)

    def _body(self, entry: MessageEntry) -> Iterator[str]:
        """Yield the blocks below the heading of a message: its parts in their order, and its state.

        The call and result of a tool message are folded. Thoughts are left out unless they are
        asked for.
        """
        message = entry.message
        if is_tool_run(message):
            summary = escape(safe_line(tool_calls_text(message), limit=_SUMMARY_CHARS))
            yield self._note(f"<details>\n<summary>{summary}</summary>")

        for index, part in enumerate(message.parts):
            if isinstance(part, TextPart):
                # the import takes a text directly below the heading for the first part
                needs_marker = index > 0 or is_tool_run(message)
                yield from self._text(part.text, "text", needs_marker=needs_marker)
            elif isinstance(part, ReasoningPart):
                if self._options.with_reasoning:
                    yield self._marker_line({"part": "reasoning"})
                    yield _quoted(f"**{entry.thought_heading}**\n\n{safe_text(part.text)}")
            else:
                is_shown = is_tool_run(message) or part in entry.calls
                yield from self._other_part(part, is_shown_call=is_shown)

        if is_tool_run(message):
            yield self._note("</details>")
        if entry.state:
            yield self._note(_quoted(f"**{entry.state}.** {entry.reason}".rstrip()))

    def _other_part(
        self, part: RefusalPart | FilePart | ToolCallPart | ToolResultPart, *, is_shown_call: bool
    ) -> Iterator[str]:
        """Yield the marker and the blocks of a part that is neither text nor thought.

        A call is shown if `is_shown_call`; otherwise its marker holds its arguments.
        """
        match part:
            case RefusalPart(text=text):
                yield self._note(_quoted(f"**{REFUSED}.**"))
                yield from self._text(text, "refusal")
            case FilePart():
                yield self._marker_line({"part": "file", **asdict(part)})
                yield f"Attached: {part.words}"
            case ToolCallPart(call_id=call_id, name=name, arguments=arguments) if is_shown_call:
                title = f"Tool call `{_without_backticks(safe_line(name))}`"
                marker = {"part": "tool_call", "call_id": call_id, "name": name}
                yield from self._fenced(title, arguments, marker, language="json")
            case ToolCallPart():
                yield self._marker_line({"part": "tool_call", **asdict(part)})
            case ToolResultPart(text=text):
                yield from self._fenced("Result", text, {"part": "tool_result"})

    def _text(self, text: str, kind: str, *, needs_marker: bool = True) -> Iterator[str]:
        """Yield the marker and the text of a part of the kind `text` or `refusal`.

        The marker is left out if it is not needed and the text was not changed. A text is changed
        by escaping, and by closing a code fence that it leaves open.
        """
        shown_text, changes = _escaped(safe_text(text))
        fence = unclosed_fence(shown_text)
        if fence:
            added = fence.marks if shown_text.endswith("\n") else f"\n{fence.marks}"
            changes["added"] = added
            shown_text += added
        if changes or needs_marker:
            yield self._marker_line({"part": kind, **changes})
        yield shown_text

    def _fenced(
        self, title: str, text: str, marker: Mapping[str, object], *, language: str = ""
    ) -> Iterator[str]:
        """Yield `marker` with the changes to the text, then the title and the text in a code block.

        `language` is written after the opening fence.
        """
        shown_text, changes = _escaped(safe_text(text))
        fence = fence_for(shown_text)
        yield self._marker_line({**marker, **changes})
        yield f"{title}\n\n{fence}{language}\n{shown_text}\n{fence}"

    def _note(self, text: str) -> str:
        """Return a text for people after its marker; the import ignores both."""
        return f"{self._marker_line({'part': 'note'})}\n\n{text}"

    def _marker_line(self, marker: Mapping[str, object]) -> str:
        """Return the comment line of a marker."""
        # JSON is in ASCII here, and without the characters that end a comment.
        text = json.dumps(marker).replace(">", r"\u003e").replace("--", r"-\u002d")
        return f"<!-- {self._marker_word} {text} -->"


def _front_matter(session: Session, marker_word: str) -> str:
    """Return the lines from `---` to `---` with the header of a session."""
    header = session.header
    fields: dict[str, object] = {
        "title": safe_line(header.title),
        "id": safe_line(header.session_id),
        "model": safe_line(header.model),
        "endpoint": safe_line(header.endpoint),
    }
    if header.tags:
        fields["tags"] = [safe_line(tag) for tag in header.tags]
    fields["created"] = header.created_at.astimezone(UTC).isoformat(timespec="seconds")
    fields["messages"] = len(session.messages) + len(session.branches)
    fields |= _token_fields(session)
    fields["lmchat"] = FORMAT_WITH_BRANCHES if session.branches else FORMAT
    fields["frame"] = marker_word
    # A JSON value is a YAML value too, and needs no other quoting.
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"])


def _token_fields(session: Session) -> dict[str, object]:
    """Return the fields with the sum of the tokens of all answers on the path.

    No fields are returned if that sum is 0, or if no number of tokens is known.
    """
    receipts = [message.receipt for message in session.messages if message.receipt is not None]
    counted = [receipt for receipt in receipts if receipt.completion_tokens is not None]
    total = sum(receipt.completion_tokens or 0 for receipt in counted)
    if not total:
        return {}
    is_estimated = any(receipt.is_estimated for receipt in counted)
    return {"tokens": total, "tokens_estimated": is_estimated}


def _message_marker(message: ChatMessage) -> dict[str, object]:
    """Return the marker of a message, without the values about its place in the tree."""
    marker: dict[str, object] = {
        "role": str(message.role),
        "id": message.message_id,
        "created": message.created_at.astimezone(UTC).isoformat(),
    }
    if message.role is Role.ASSISTANT:
        marker |= {"model": message.model, "endpoint": message.endpoint}
    if message.role in (Role.ASSISTANT, Role.TOOL):
        marker["state"] = str(message.state)
    if message.receipt is not None and message.receipt.is_edited:
        marker["edited"] = True
    if message.failure is not None:
        marker["failure"] = {"kind": message.failure.kind, "message": message.failure.message}
    return marker


def _escaped(text: str) -> tuple[str, dict[str, object]]:
    """Return a text in which a backslash breaks each heading that looks like that of a message.

    It is put before the `##`, or before the dashes that underline a heading.
    Also return the fields for its marker: `escaped` if there was such a heading, else none.
    """
    # of each heading, two groups are empty: see `_HEADING_TEMPLATE`
    escaped_text, count = _HEADING.subn(r"\g<indent>\g<title>\\\g<hashes>\g<underline>", text)
    return escaped_text, {"escaped": True} if count else {}


def _quoted(text: str) -> str:
    return "\n".join(f"> {line}" if line else ">" for line in text.split("\n"))


def _unused_word(session: Session) -> str:
    """Return the first word of all markers: no text of the session begins a comment with it.

    It is a hash of the session's id, so that two exports of a session have the same word and can be
    compared.
    """
    used: set[str] = set()
    for message in (*session.messages, *session.branches):
        for part in message.parts:
            for text in asdict(part).values():
                used.update(_MARKER_WORD.findall(str(text)))
    session_id = session.header.session_id
    word = _hashed_word(session_id)
    # With a counter, each try is a new word. Hashing the last word again would lead back to an
    # earlier one after some ten thousand tries, and the loop might never end.
    number = 0
    while word in used:
        number += 1
        word = _hashed_word(f"{number} {session_id}")
    return word


def _hashed_word(seed: str) -> str:
    return hashlib.sha256(seed.encode(errors="replace")).hexdigest()[:_WORD_CHARS]


def _without_backticks(name: str) -> str:
    return name.replace("`", "'")
