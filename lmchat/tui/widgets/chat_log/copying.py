"""Text that a selection copies: the source of what is selected whole, else the words."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Mapping, Sequence

from lmchat.domain.attached_files import fence_for
from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    Failure,
    ReasoningPart,
    Role,
    ToolCallPart,
)
from lmchat.domain.tool import tool_calls_text
from lmchat.text import safe_text
from lmchat.tui.widgets.chat_log.anchor import END, row_starts, unwrapped_text
from lmchat.tui.widgets.chat_log.blocks import Block, Kind
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.entry import Entry
from lmchat.tui.widgets.chat_log.layout.annotations import call_texts
from lmchat.tui.widgets.chat_log.layout.page import TAB_CELLS
from lmchat.tui.widgets.chat_log.matching import Range
from lmchat.tui.widgets.chat_log.selection import Selected, Unit

_MOST_PARSED_CHARS = 5_000  # parsed at once: twice as many may take 50 ms, and keys have to wait
_PADDING = re.compile(r"[ \t]+\n")


def copied(document: Document, selected: Selected) -> str:
    """Return the selected text, with a blank line between messages.

    Rows that the log adds are copied only if nothing else is selected.
    """
    if is_annotation_alone(document, selected):
        rows = [
            unwrapped_text(block)[slice(*span)].strip()
            for block, span in _selected_blocks(document, selected)
        ]
        return "\n".join(rows).strip("\n")

    first = selected.start
    last = selected.end
    texts = []
    for index in range(first.index, min(last.index, len(document) - 1) + 1):
        is_whole = first.order <= (index, -1, 0) and last.order >= (index, END, 0)
        texts.append(_whole(document, index) if is_whole else _part(document, index, selected))
    return "\n\n".join(text for text in texts if text)


def _whole(document: Document, index: int) -> str:
    """Return the text of a message, with its reasoning if that is shown."""
    entry = document.entries.made_entry(index)
    message = document.entries.message(index)
    if message is not None and message.role is Role.TOOL:
        texts = [tool_calls_text(message)]
        if entry is not None and not entry.is_folded:
            texts = [text.text for text in call_texts(message)]
    elif entry is None:
        texts = [document.entries.source(index)]
    elif message is not None and message.role is Role.ASSISTANT:
        texts = _answer_texts(entry)
    else:
        texts = [entry.source]
    stripped = [text.strip("\n") for text in texts]
    return "\n\n".join(text for text in stripped if text)


def _answer_texts(entry: Entry) -> list[str]:
    if entry.is_source or not entry.blocks:
        return [entry.source]
    texts = []
    if not entry.is_folded:
        texts += [part.text for part in entry.parts if part.kind is ReasoningPart]
    texts.append(entry.source)
    if not entry.has_tool_messages:
        texts += [part.text for part in entry.parts if part.kind is ToolCallPart]
    return texts


def is_annotation_alone(document: Document, selected: Selected) -> bool:
    """Whether only rows that the log adds are selected, as a receipt."""
    if selected.end.index - selected.start.index > 1:
        return False
    return not any(block.source for block, _ in _selected_blocks(document, selected))


def _selected_blocks(document: Document, selected: Selected) -> Iterator[tuple[Block, Range]]:
    for index in range(selected.start.index, min(selected.end.index, len(document) - 1) + 1):
        for number in range(document.build(index)):
            span = selected.span(index, number)
            if span is not None:
                yield document.laid_out_block(index, number), span


def _part(document: Document, index: int, selected: Selected) -> str:
    """Return what is selected of a message."""
    count = document.build(index)
    blocks = document.entries[index].blocks
    numbers = [number for number in range(count) if blocks[number].source]
    chosen: dict[int, Range] = {}
    whole: set[int] = set()  # blocks whose source is copied; words are copied as they are shown
    for number in numbers:
        span = selected.span(index, number)
        if span is None:
            continue
        chosen[number] = span
        if selected.unit is not Unit.WORD and _is_whole(document, index, number, span):
            whole.add(number)
    if numbers and len(whole) == len(numbers):
        return _whole(document, index)

    text = ""
    for group in _groups(blocks, numbers):
        inside = [number for number in group if number in chosen]
        if not inside:
            continue
        is_lone_code = _is_code(blocks[group[0]]) and len(chosen) == len(inside)
        if whole.issuperset(group) and not is_lone_code:
            part = _source([blocks[number] for number in group])
        else:
            part = _shown(document, index, inside, chosen)
        text = _joined(text, part, blocks[inside[0] - 1], blocks[inside[0]])
    return text.strip("\n")


def _shown(
    document: Document, index: int, numbers: Sequence[int], chosen: Mapping[int, Range]
) -> str:
    """Return what is selected of some pieces of a whole, as it is shown."""
    blocks = document.entries[index].blocks
    pieces = []
    parts = []
    for number in range(numbers[0], numbers[-1] + 1):  # with blank lines that are pieces
        pieces.append(blocks[number])
        span = chosen.get(number)
        parts.append(_words(document, index, number, span) if span is not None else "")
    return _pieces(pieces, parts)


def _is_code(block: Block) -> bool:
    return block.kind is not Kind.MARKDOWN and block.kind is not Kind.TABLE


def _is_whole(document: Document, index: int, number: int, span: Range) -> bool:
    if span == (0, END):
        return True
    text = unwrapped_text(document.laid_out_block(index, number))
    return not text[: span[0]].strip() and not text[span[1] :].strip()


def _groups(blocks: Sequence[Block], numbers: Sequence[int]) -> list[list[int]]:
    """Return the pieces of one fence, table or text together."""
    groups: list[list[int]] = []
    for number in numbers:
        block = blocks[number]
        is_piece = block.kind is Kind.TABLE or (
            _is_code(block) and not (block.is_first and block.gap)
        )
        if groups and is_piece:
            groups[-1].append(number)
        else:
            groups.append([number])
    return groups


def _source(group: Sequence[Block]) -> str:
    code = _pieces(group, [block.source for block in group])
    if group[0].kind is Kind.FENCE:
        fence = fence_for(code)
        return f"{fence}{group[0].info}\n{code}\n{fence}"
    return "".join(block.source for block in group) if group[0].kind is Kind.MARKDOWN else code


def _pieces(blocks: Sequence[Block], parts: Sequence[str]) -> str:
    """Join the pieces of a whole; a line may continue in the next piece."""
    text = ""
    for block, part in zip(blocks, parts, strict=True):
        text += part if block.continues_line else f"{part}\n"
    return text.removesuffix("\n")


def _joined(text: str, part: str, before: Block, block: Block) -> str:
    if not text or before.continues_line:
        return text + part
    if block.is_first:
        gap = "\n" if block.is_attached else "\n\n"
        return text.rstrip("\n") + gap + part.lstrip("\n")
    return text + part if text.endswith((" ", "\n", "\t")) else f"{text}\n{part}"


def _words(document: Document, index: int, number: int, span: Range) -> str:
    block = document.laid_out_block(index, number)
    if any(line.cells for line in block.lines or ()):
        return "\n".join(_cells(block, span))
    text = unwrapped_text(block)
    start, end = span
    end = min(end, len(text))
    if _is_code(block):
        return _with_tabs(safe_text(block.source), text, (start, end))
    return _PADDING.sub("\n", text[start:end]).rstrip("\n")


def _cells(block: Block, span: Range) -> Iterator[str]:
    """Yield the selected rows of a table, with tabs between the cells."""
    for line, before in zip(block.lines or (), row_starts(block), strict=False):
        start = max(span[0] - before, 0)
        end = max(span[1] - before, 0)
        if not line.text[start:end].strip():
            continue
        cells = [
            line.text[max(first, start) : min(last, end)].strip()
            for first, last in line.cells or [(0, len(line.text))]
            if first < end and last > start
        ]
        yield "\t".join(cells).rstrip("\t")


def _with_tabs(source: str, text: str, span: Range) -> str:
    """Return a part of code, with the tabs that are shown as blanks."""
    sources = source.split("\n")
    shown = text.removesuffix("\n").split("\n")
    skipped = len(shown) - len(sources)  # a row of its own above, as that of a tool call
    parts = []
    before = 0
    for row, line in enumerate(shown):
        begin = max(span[0] - before, 0)
        end = span[1] - before
        before += len(line) + 1
        if row < skipped or begin > len(line) or end <= 0:
            continue
        line_source = sources[row - skipped]
        first = _unexpanded(line_source, begin)
        last = _unexpanded(line_source, min(end, len(line)))
        parts.append(line_source[first:last])
    return "\n".join(parts)


def _unexpanded(source: str, column: int) -> int:
    """Return the place in a line that is at a column of the line without tabs."""
    if "\t" not in source:
        return column
    at = 0
    for place, char in enumerate(source):
        if at >= column:
            return place
        at += TAB_CELLS - at % TAB_CELLS if char == "\t" else 1
    return len(source)


def code_number(document: Document, place: Place) -> int:
    """Return the number of the code block whose head is at a place."""
    index, last, row = place
    entry = document.entries[index]
    heads = 0
    for number, block in enumerate(entry.blocks[: last + 1]):
        document.lay_out_block(index, number)
        if block.is_thought:
            continue
        lines = block.lines or []
        if number == last:
            blank_rows = entry.heights[number] - len(lines)
            lines = lines[: row - blank_rows]
        heads += sum(line.hint is not None for line in lines)
    return heads


def failure_text(failure: Failure) -> str:
    """Return a failure as text for a report."""
    failure_id = f"error id {failure.failure_id}" if failure.failure_id else ""
    lines = [failure.message, failure.hint, failure.details, failure_id]
    return "\n".join(line for line in lines if line)


class CopyTurns:
    """The next thing to copy: pressing a copy key again for a message takes the next one."""

    def __init__(self) -> None:
        self._last_key = ""
        self._last_place = 0

    def next_text(self, message: ChatMessage, source: str) -> str:
        """Return the details of a failure, then the text."""
        choices = [source] if message.text else []
        if message.failure is not None and message.state is not AnswerState.COMPLETE:
            choices.insert(0, failure_text(message.failure))
        if not choices:
            return source
        return choices[self._next(f"copy {message.message_id}", len(choices))]

    async def next_code(
        self, message: ChatMessage, source: str, number: int | None = None
    ) -> tuple[str, str]:
        """Return a block of code, by number or the next one, and which of them it is in words."""
        from lmchat.tui.widgets.chat_log.markdown.parser import code_blocks

        if len(source) > _MOST_PARSED_CHARS:
            blocks = await asyncio.to_thread(code_blocks, source)
        else:
            blocks = code_blocks(source)
        if not blocks:
            return "", ""
        key = f"code {message.message_id}"
        if number is not None:
            self._last_key = key
            self._last_place = min(number, len(blocks) - 1) - 1
        place = self._next(key, len(blocks))
        note = f"Block {place + 1} of {len(blocks)}" if len(blocks) > 1 else ""
        return blocks[place], note

    def _next(self, key: str, count: int) -> int:
        is_again = key == self._last_key
        self._last_key = key
        self._last_place = (self._last_place + 1) % count if is_again else 0
        return self._last_place
