"""Text that a selection copies: the source of what is selected whole, else the words."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import chain

from lmchat.markdown.block import AS_WRITTEN, Block, Kind
from lmchat.markdown.commonmark import code_blocks
from lmchat.markdown.wrap import TAB_CELLS
from lmchat.safe_text import safe_text
from lmchat.sessions.attached_files import fence_for
from lmchat.sessions.message import (
    AnswerState,
    ChatMessage,
    Failure,
    Role,
    ToolCallPart,
    tool_calls_text,
)
from lmchat.tui.chat_log.anchor import END, row_starts, unwrapped_text
from lmchat.tui.chat_log.document import Document, Place
from lmchat.tui.chat_log.entry import Entry
from lmchat.tui.chat_log.find import Range
from lmchat.tui.chat_log.headers_footers import call_texts
from lmchat.tui.chat_log.selection import Selected, Unit


def copied(document: Document, selected: Selected) -> str:
    """Return the selected text, with a blank line between messages.

    Of a message that is selected whole, that is its source; of others, see `_selected_part`. Rows
    that the log adds are copied only if nothing else is selected.
    """
    if selected.is_of_rows:
        rows = [unwrapped_text(block)[slice(*span)] for block, span in selected.blocks(document)]
        return "\n".join(map(str.strip, rows)).strip("\n")

    start = selected.start
    end = selected.end
    texts = []
    for index in range(start.index, min(end.index, len(document) - 1) + 1):
        # from before its first block to after its last one
        is_whole = start.order <= (index, -1, 0) and end.order >= (index, END, 0)
        if is_whole:
            texts.append(_message_text(document.entries[index]))
        else:
            texts.append(_selected_part(document, index, selected))
    return "\n\n".join(text for text in texts if text)


def _message_text(entry: Entry) -> str:
    """Return the text of a message that is selected whole, as it was written.

    If it is unfolded, that is its reasoning and the arguments of its calls, too. The message of a
    tool is its call as `NAME(ARGUMENTS)`, or if it is unfolded, its arguments and its result.
    """
    message = entry.message
    texts = [entry.source]
    if message is not None and message.role is Role.TOOL:
        texts = [tool_calls_text(message)]
        if not entry.is_folded:
            texts = [text.text for text in call_texts(message)]
    elif entry.parts and not (entry.is_folded or entry.is_source):
        hidden = ToolCallPart if entry.has_tool_messages else None
        texts = [part.text for part in entry.parts if part.kind is not hidden]
    stripped = [text.strip("\n") for text in texts]
    return "\n\n".join(text for text in stripped if text)


def _selected_part(document: Document, index: int, selected: Selected) -> str:
    """Return what is selected of a message.

    Of a block that is selected whole, that is its source, otherwise its shown text. The pieces of a
    fence or a table count as one block. Code that is selected alone is copied without its fence. A
    selection by words copies shown text. If all blocks are whole, return the text of the message.
    """
    blocks = document.lay_out(index)
    with_source = [number for number, block in enumerate(blocks) if block.source]
    spans = {number: span for number in with_source if (span := selected.span(index, number))}
    whole: set[int] = set()  # blocks that are selected whole
    if selected.unit is not Unit.WORD:
        whole = {number for number, span in spans.items() if _is_whole(blocks[number], span)}
    if with_source and len(whole) == len(with_source):
        return _message_text(document.entries[index])

    text = ""
    for group in _group_pieces(blocks, with_source):
        chosen = [number for number in group if number in spans]
        if not chosen:
            continue
        is_code_alone = len(spans) == len(chosen) and blocks[group[0]].kind in AS_WRITTEN
        if whole.issuperset(group) and not is_code_alone:
            part = _source_of([blocks[number] for number in group])
        else:
            part = "\n".join(_shown_text(blocks[number], spans[number]) for number in chosen)
        if text and blocks[chosen[0]].gap:
            text = text.rstrip("\n") + "\n\n" + part.lstrip("\n")
        elif text and not text[-1].isspace():
            text = f"{text}\n{part}"
        else:  # a source ends with its line ends; a long paragraph was cut behind a blank
            text += part
    return text.strip("\n")


def _is_whole(block: Block, span: Range) -> bool:
    """Return whether only blanks of a block are not selected."""
    text = unwrapped_text(block)
    return not (text[: span[0]].strip() or text[span[1] :].strip())


def _group_pieces(blocks: Sequence[Block], numbers: Sequence[int]) -> list[list[int]]:
    """Return the numbers of blocks in groups: the pieces of one fence, table or text together.

    A block continues the group before it if it has more rows of a table, or if it is shown as
    written and has no blank row above it.
    """
    groups: list[list[int]] = []
    for number in numbers:
        block = blocks[number]
        is_piece = block.kind is Kind.TABLE or (block.kind in AS_WRITTEN and not block.gap)
        if groups and is_piece:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def _source_of(group: Sequence[Block]) -> str:
    """Return the source of a group of pieces (`_group_pieces`).

    All pieces are of one kind, except in a table: its first piece is `MARKDOWN`, and the others are
    `TABLE`. Pieces of these two kinds end with their own line ends. Those of a fence and of plain
    text do not; a fence gets its opening and its end again.
    """
    if group[0].kind is Kind.MARKDOWN:
        return "".join(block.source for block in group)
    text = "\n".join(block.source for block in group)
    if group[0].kind is Kind.FENCE:
        fence = fence_for(text)
        return f"{fence}{group[0].info}\n{text}\n{fence}"
    return text


def _shown_text(block: Block, span: Range) -> str:
    """Return the selected part of a block as it is shown, without padding.

    Rows of a table have tabs between their cells, and code has the tabs of its source.
    """
    text = unwrapped_text(block)
    start, end = span
    if any(line.cells for line in block.lines or ()):
        return "\n".join(_row_texts(block, span))
    if block.kind in AS_WRITTEN:
        return _with_tabs(safe_text(block.source), text, (start, min(end, len(text))))
    return "\n".join(map(str.rstrip, text[start:end].split("\n"))).rstrip("\n")


def _row_texts(block: Block, span: Range) -> Iterator[str]:
    """Yield the selected part of each row of a table, with tabs between the cells.

    Rows of which only blanks are selected are left out.
    """
    for line, row_start in zip(block.lines or (), row_starts(block), strict=False):
        start = max(span[0] - row_start, 0)
        end = max(span[1] - row_start, 0)
        cells = [
            line.text[max(first, start) : min(last, end)].strip()
            for first, last in line.cells or [(0, len(line.text))]
            if first < end and last > start
        ]
        if any(cells):
            yield "\t".join(cells).rstrip("\t")


def _with_tabs(source: str, text: str, span: Range) -> str:
    """Return the source of a part of code, whose `text` on the screen has blanks for tabs.

    `span` is the range of the part in `text`.
    """
    shown_lines = text.removesuffix("\n").split("\n")
    source_lines = source.split("\n")
    # rows above the code that are not in its source, as its language
    source_lines[:0] = [""] * (len(shown_lines) - len(source_lines))
    selected_lines = []
    start, end = span  # from the beginning of the line
    for shown_line, line in zip(shown_lines, source_lines, strict=False):
        if start <= len(shown_line) and end > 0:
            first = _place_in_source(line, max(start, 0))
            selected_lines.append(line[first : _place_in_source(line, end)])
        start -= len(shown_line) + 1
        end -= len(shown_line) + 1
    return "\n".join(selected_lines)


def _place_in_source(source: str, column: int) -> int:
    """Return the place in a line with tabs that is shown at a column, or the end of the line."""
    places = range(len(source))
    return bisect_left(places, column, key=lambda end: len(source[:end].expandtabs(TAB_CELLS)))


def code_number(document: Document, place: Place) -> int:
    """Return the index of the code block whose head is at a place, among those of its message.

    Code in reasoning is not counted. In an answer, only heads of code have a `hint`.
    """
    index, last, row = place
    entry = document.entries[index]
    above = (block.lines or [] for block in entry.blocks[:last] if not block.is_thought)
    lines = [*chain(*above), *(entry.blocks[last].lines or [])[: row - document.blank_rows(place)]]
    return sum(line.hint is not None for line in lines)


def failure_text(failure: Failure) -> str:
    """Return the message, hint, details and id of a failure, each on a line, for a report."""
    failure_id = f"error id {failure.failure_id}" if failure.failure_id else ""
    lines = [failure.message, failure.hint, failure.details, failure_id]
    return "\n".join(line for line in lines if line)


class CopySequence:
    """Choice of what a copy key copies: pressed again for the same message, it copies the next."""

    def __init__(self) -> None:
        self._last_key = ""  # `copy` or `code`, and the id of the message
        self._last_choice = 0  # index of what was copied last

    def next_text(self, message: ChatMessage, source: str) -> str:
        """Return the details of the failure of a message, and the next time its text, by turns.

        If it has only one of them, return that each time. If it has neither, return `source`, which
        is the text that an answer has while it streams.
        """
        choices = [source] if message.text else []
        if message.failure is not None and message.state is not AnswerState.COMPLETE:
            choices.insert(0, failure_text(message.failure))
        if not choices:
            return source
        return choices[self._advance(f"copy {message.message_id}", len(choices))]

    async def next_code(
        self, message: ChatMessage, source: str, number: int | None = None
    ) -> tuple[str, str]:
        """Return a block of code and a note such as `Block 2 of 3`.

        `number` is the index of the block; without it, the next block is taken. If there is only
        one block, the note is empty; without code, both are.
        """
        blocks = await asyncio.to_thread(code_blocks, source)  # keys need not wait for it
        if not blocks:
            return "", ""
        key = f"code {message.message_id}"
        choice = self._advance(key, len(blocks))
        if number is not None:
            choice = min(number, len(blocks) - 1)
            self._last_choice = choice
        note = f"Block {choice + 1} of {len(blocks)}" if len(blocks) > 1 else ""
        return blocks[choice].content, note

    def _advance(self, key: str, count: int) -> int:
        """Return the index of what is copied next, of `count` choices; after the last one, 0.

        For another key than the last time, it is 0, too.
        """
        is_again = key == self._last_key
        self._last_key = key
        self._last_choice = (self._last_choice + 1) % count if is_again else 0
        return self._last_choice
