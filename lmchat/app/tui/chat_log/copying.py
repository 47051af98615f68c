"""Text that a selection copies: the source of what is selected as a whole, else the shown text."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from lmchat.app.markdown_lines.block import AS_WRITTEN, Block, Kind
from lmchat.app.markdown_lines.wrap import TAB_CELLS
from lmchat.app.tui.chat_log.anchor import END, unwrapped_text
from lmchat.app.tui.chat_log.document import Document, LogPosition
from lmchat.app.tui.chat_log.entry import Entry
from lmchat.app.tui.chat_log.find import Range
from lmchat.app.tui.chat_log.log_blocks import call_texts
from lmchat.app.tui.chat_log.selection import SelectedRange, Unit
from lmchat.base.markdown.commonmark import code_blocks
from lmchat.core.sessions.message import (
    ReasoningPart,
    Role,
    ToolCallPart,
    tool_calls_text,
)
from lmchat.core.sessions.prompts import joined_paragraphs

# that were tabs: a whole number of tab stops
_INDENT = rf"(?m)^(?: {{{TAB_CELLS}}})+"
# with the selected characters, if any
SelectedBlock = tuple[Block, Range | None]


def copied(document: Document, selected: SelectedRange) -> str:
    """Put a blank line between messages.

    A row that the log adds is copied only if nothing else is selected.
    """
    start = selected.start
    end = selected.end
    if start.block is not None and selected.is_in_own_row:
        return _shown_text(start.block, (start.chars, end.chars))
    texts = []
    for index in range(start.index, min(end.index, len(document) - 1) + 1):
        is_whole = start.order <= (index, -1, 0) and end.order >= (index, END, 0)
        if is_whole:
            texts.append(_message_text(document.entries[index]))
        else:
            texts.append(_selected_part(document, index, selected))
    return joined_paragraphs(*texts)


def _message_text(entry: Entry) -> str:
    """Return the source of a message that is selected as a whole."""
    message = entry.message
    texts = [entry.source]
    if message.role is Role.TOOL:
        texts = [tool_calls_text(message)]
        if not entry.is_collapsed:
            texts = [text.text for text in call_texts(message)]
    # an answer gets parts when first laid out; until then it is folded
    elif entry.parts and not (entry.is_collapsed or entry.is_source):
        # copied with their own messages
        left_out = ToolCallPart if entry.has_call_messages else None
        texts = [part.text for part in entry.parts if part.kind is not left_out]
    return joined_paragraphs(*(text.strip("\n") for text in texts))


def _selected_part(document: Document, index: int, selected: SelectedRange) -> str:
    """Return what is selected of a message.

    All blocks as a whole: the text of the message. A block as a whole: its source; code alone:
    without its fence. A part of a block, or words: as shown.
    """
    groups: list[list[SelectedBlock]] = []  # pieces of one fence, table or text
    for number, block in enumerate(document.lay_out(index)):
        if block.source or block.kind is Kind.FENCE:  # else a row that the log adds
            # rows of a table, or code or text without a blank row above
            is_piece = block.kind is Kind.MORE_ROWS or (block.kind in AS_WRITTEN and not block.gap)
            if not (groups and is_piece):
                groups.append([])
            groups[-1].append((block, selected.span(index, number)))
    can_be_whole = selected.unit is not Unit.WORD
    are_whole = [can_be_whole and all(map(_is_whole, group)) for group in groups]
    if groups and all(are_whole):
        return _message_text(document.entries[index])

    # joined as they are divided in the message
    chosen_count = sum(any(span for _, span in group) for group in groups)
    text = ""
    for group, is_whole_group in zip(groups, are_whole, strict=True):
        chosen = [(block, span) for block, span in group if span]
        if not chosen:
            continue
        first = chosen[0][0]
        if is_whole_group:
            pieces = [block for block, _ in group]
            part = _written(document.entries[index], pieces, has_fence=chosen_count > 1)
        else:
            part = "\n".join(_shown_text(block, span) for block, span in chosen)
        if text and first.gap:
            text = text.rstrip("\n") + "\n\n" + part.lstrip("\n")
        elif text and not text[-1].isspace():
            text = f"{text}\n{part}"
        else:  # `text` ends with a line end, or with the blank where a long paragraph was cut
            text += part
    return text.strip("\n")


def _is_whole(selected: SelectedBlock) -> bool:
    """Whether all is selected, but for blanks at the ends."""
    block, span = selected
    if span is None:
        return False
    text = unwrapped_text(block)
    return not (text[: span[0]].strip() or text[span[1] :].strip())


def _written(entry: Entry, pieces: Sequence[Block], *, has_fence: bool) -> str:
    """Return the source of one fence, table or text that was cut into pieces."""
    first, last = pieces[0], pieces[-1]
    part = entry.part_of(first)
    if part is not None and (has_fence or first.kind is not Kind.FENCE):
        return part.written(first.start, last.end)
    code = first.source
    for before, block in pairwise(pieces):
        is_same_line = part is not None and not part.written(before.start, block.start).endswith(
            "\n"
        )
        code += block.source if is_same_line else f"\n{block.source}"
    return code


def _shown_text(block: Block, span: Range) -> str:
    """Return the selected part as it is shown, without padding.

    Code that is indented by tabs keeps them: Makefiles need them. The row in place of a long text
    stands for all of it.
    """
    if block.kind is Kind.GAP:
        return block.source.strip("\n")
    text = unwrapped_text(block)[slice(*span)]
    has_tabs = "\n\t" in f"\n{block.source}"
    if block.kind is Kind.FENCE and has_tabs:
        text = re.sub(_INDENT, lambda indent: "\t" * (len(indent[0]) // TAB_CELLS), text)
    return "\n".join(map(str.rstrip, text.split("\n"))).rstrip("\n")


def code_number(document: Document, position: LogPosition) -> int:
    """Return the index of the code block whose head is at a position.

    Blocks of the reasoning, or those of the text, are counted. A head is the row above code.
    """
    entry = document.entries[position.message_index]
    head = entry.blocks[position.number]
    row = position.row - document.blank_rows(position)
    part = entry.part_of(head)
    text = ""
    for above in entry.parts:
        if above is part:
            text += part.written(0, head.end)
            break
        if (above.kind is ReasoningPart) == head.is_thought:
            text += above.text
    # in this block: its head, and those below
    heads_below = sum(line.hint is not None for line in (head.lines or [])[row:])
    return len(code_blocks(text)) - heads_below
