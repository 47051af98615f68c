"""Text that a selection copies: the source of what is selected whole, else the words."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from lmchat.domain.attached_files import fence_for
from lmchat.domain.message import (
    AnswerState,
    ChatMessage,
    Failure,
    ReasoningPart,
    Role,
    ToolCallPart,
)
from lmchat.domain.tool import called
from lmchat.text import safe_text
from lmchat.tui.widgets.chat_log.anchor import END, starts, text_of
from lmchat.tui.widgets.chat_log.blocks import Block, Kind
from lmchat.tui.widgets.chat_log.document import Document, Place
from lmchat.tui.widgets.chat_log.layout.annotations import call_texts
from lmchat.tui.widgets.chat_log.layout.page import TAB_CELLS
from lmchat.tui.widgets.chat_log.matching import Range
from lmchat.tui.widgets.chat_log.selection import Selected, Unit

_PADDING = re.compile(r"[ \t]+\n")


def copied(document: Document, selected: Selected) -> str:
    """Return the selected text, with a blank line between messages; rows of the log only if alone."""
    if is_annotation_alone(document, selected):
        rows = (
            text_of(block)[slice(*span)].strip()
            for block, span in _selected_blocks(document, selected)
        )
        return "\n".join(rows).strip("\n")
    first, last = selected.start, selected.end
    texts = []
    for index in range(first.index, min(last.index, len(document) - 1) + 1):
        is_whole = first.order <= (index, -1, 0) and last.order >= (index, END, 0)
        texts.append(_whole(document, index) if is_whole else _part(document, index, selected))
    return "\n\n".join(text for text in texts if text)


def _whole(document: Document, index: int) -> str:
    """Return the text of a message, with its reasoning if that is shown."""
    entry, message = document.entries.known(index), document.entries.message(index)
    if message is not None and message.role is Role.TOOL and (entry is None or entry.is_folded):
        return called(message)
    if entry is None:
        return document.entries.source(index).strip("\n")
    texts = [entry.source]
    if message is not None and message.role is Role.TOOL:
        texts = [text for _, text, _ in call_texts(message)]
    if (
        message is not None
        and message.role is Role.ASSISTANT
        and entry.blocks
        and not entry.is_source
    ):
        thoughts = [part.text for part in entry.parts if part.kind is ReasoningPart]
        calls = [
            one.text
            for one in entry.parts
            if one.kind is ToolCallPart and not entry.has_tool_messages
        ]
        texts = [*([] if entry.is_folded else thoughts), *texts, *calls]
    return "\n\n".join(text.strip("\n") for text in texts if text.strip("\n"))


def is_annotation_alone(document: Document, selected: Selected) -> bool:
    """Whether only rows that the log adds are selected, as a receipt."""
    is_short = selected.end.index - selected.start.index <= 1
    return is_short and not any(block.source for block, _ in _selected_blocks(document, selected))


def _selected_blocks(document: Document, selected: Selected) -> Iterator[tuple[Block, Range]]:
    for index in range(selected.start.index, min(selected.end.index, len(document) - 1) + 1):
        for number in range(document.build(index)):
            if span := selected.span(index, number):
                yield document.laid_out(index, number), span


def _part(document: Document, index: int, selected: Selected) -> str:
    """Return what is selected of a message."""
    count = document.build(index)
    blocks = document.entries[index].blocks
    numbers = [number for number in range(count) if blocks[number].source]
    chosen = {
        number: span for number in numbers if (span := selected.span(index, number)) is not None
    }
    whole = {number for number, span in chosen.items() if _is_whole(document, index, number, span)}
    if numbers and len(whole) == len(numbers) and selected.unit is not Unit.WORD:
        return _whole(document, index)
    text = ""
    for group in _groups(blocks, numbers):
        inside = [number for number in group if number in chosen]
        if not inside:
            continue
        is_all = len(whole & set(group)) == len(group) and selected.unit is not Unit.WORD
        if is_all and (len(chosen) > len(group) or not _is_code(blocks[group[0]])):
            part = _source([blocks[number] for number in group])
        else:
            within = range(
                inside[0], inside[-1] + 1
            )  # with blank lines that are pieces of their own
            parts = [
                _words(document, (index, at), chosen[at]) if at in chosen else "" for at in within
            ]
            part = _pieces([blocks[at] for at in within], parts)
        text = _joined(text, part, blocks[inside[0] - 1], blocks[inside[0]])
    return text.strip("\n")


def _is_code(block: Block) -> bool:
    return block.kind is not Kind.MARKDOWN and block.kind is not Kind.TABLE


def _is_whole(document: Document, index: int, number: int, span: tuple[int, int]) -> bool:
    if span == (0, END):
        return True
    text = text_of(document.laid_out(index, number))
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
    text = "".join(
        part if block.continues_line else part + "\n"
        for block, part in zip(blocks, parts, strict=True)
    )
    return text.removesuffix("\n")


def _joined(text: str, part: str, before: Block, block: Block) -> str:
    if not text or before.continues_line:
        return text + part
    if block.is_first:
        return text.rstrip("\n") + ("\n" if block.is_attached else "\n\n") + part.lstrip("\n")
    return text + part if text.endswith((" ", "\n", "\t")) else f"{text}\n{part}"


def _words(document: Document, place: tuple[int, int], span: tuple[int, int]) -> str:
    block = document.laid_out(*place)
    if any(line.cells for line in block.lines or ()):
        return "\n".join(_cells(block, span))
    text = text_of(block)
    span = span[0], min(span[1], len(text))
    if _is_code(block):
        return _with_tabs(safe_text(block.source), text, span)
    return _PADDING.sub("\n", text[slice(*span)]).rstrip("\n")


def _cells(block: Block, span: tuple[int, int]) -> Iterator[str]:
    for line, at in zip(block.lines or (), starts(block), strict=False):
        start, end = max(span[0] - at, 0), max(span[1] - at, 0)
        if line.text[start:end].strip():
            spans = [
                (max(first, start), min(last, end))
                for first, last in line.cells or [(0, len(line.text))]
                if first < end and last > start
            ]
            yield "\t".join(line.text[slice(*one)].strip() for one in spans).rstrip("\t")


def _with_tabs(source: str, text: str, span: tuple[int, int]) -> str:
    """Return a part of code, with the tabs that are shown as blanks."""
    sources = source.split("\n")
    shown = text.removesuffix("\n").split("\n")
    skipped = len(shown) - len(sources)  # a row of its own above, as that of a tool call
    parts, at = [], 0
    for place, line in enumerate(shown):
        begin, end = max(span[0] - at, 0), span[1] - at
        if end > 0 and begin <= len(line) and place >= skipped:
            line_source = sources[place - skipped]
            first, last = (
                _unexpanded(line_source, begin),
                _unexpanded(line_source, min(end, len(line))),
            )
            parts.append(line_source[first:last])
        at += len(line) + 1
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
        document.prepare(index, number)
        lines = [] if block.is_thought else block.lines or []
        if number == last:  # the blank row before it is no line of it
            lines = lines[: row - (entry.heights[number] - len(lines))]
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
        self._last = "", 0

    def next_text(self, message: ChatMessage, source: str) -> str:
        choices = [source] if message.text else []
        if message.failure is not None and message.state is not AnswerState.COMPLETE:
            choices.insert(0, failure_text(message.failure))
        return choices[self._next("copy", message, len(choices))] if choices else source

    def next_code(
        self, message: ChatMessage, blocks: Sequence[str], number: int | None = None
    ) -> tuple[str, str]:
        """Return a block of code and its number in words; empty if there is none."""
        if not blocks:
            return "", ""
        if number is not None:
            self._last = f"code {message.message_id}", min(number, len(blocks) - 1) - 1
        place = self._next("code", message, len(blocks))
        return blocks[place], f"Block {place + 1} of {len(blocks)}" if len(blocks) > 1 else ""

    def _next(self, kind: str, message: ChatMessage, count: int) -> int:
        key = f"{kind} {message.message_id}"
        place = (self._last[1] + 1) % count if self._last[0] == key else 0
        self._last = key, place
        return place
