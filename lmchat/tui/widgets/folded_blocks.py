"""Long blocks of a prompt, each shown as one line."""

from __future__ import annotations

from lmchat.domain.attached_files import split_draft, split_files
from lmchat.text import safe_line

_LABEL_LENGTH = 60  # characters of a label that are shown


class FoldedBlocks:
    """Long blocks by the line that replaces them.

    A block is kept after its line was deleted, since undo may restore the line.
    """

    def __init__(self) -> None:
        self._blocks: dict[str, str] = {}

    def fold(self, block: str, label: str) -> str:
        """Keep a block; return the line that replaces it, as `[notes.md (3212 bytes)]`.

        Different blocks with the same label get lines with numbers, as `[notes.md #2]`.
        """
        name = safe_line(label, limit=_LABEL_LENGTH).rstrip(":")
        line = f"[{name}]"
        number = 1
        while self._blocks.get(line, block) != block:
            number += 1
            line = f"[{name} #{number}]"
        self._blocks[line] = block
        return line

    def fold_files(self, text: str) -> str:
        """Return a text with a line for each of its files."""
        return self.fold_texts(self.fold_marked(text))

    def fold_marked(self, text: str) -> str:
        """Return a text with a readable line instead of the mark of each attached file."""
        _, files_by_mark = split_draft(text)
        for mark, part in files_by_mark.items():
            text = text.replace(mark, self.fold(mark, part.words))
        return text

    def fold_texts(self, text: str) -> str:
        """Return a text with a line instead of each file whose text it holds."""
        pieces = []
        for piece in split_files(text):
            if isinstance(piece, str):
                pieces.append(piece)
                continue
            line = self.fold(piece.source, f"{piece.name} ({piece.size_bytes} bytes)")
            pieces.append(f"{line}\n" if piece.source.endswith("\n") else line)
        return "".join(pieces)

    def line_at_end(self, text: str) -> str:
        """Return the line of a block with which a text ends; empty if there is none."""
        for line in self._blocks:
            if text.endswith(line):
                return line
        return ""

    def unfold(self, text: str) -> str:
        """Return a text with blocks instead of their lines, each on lines of its own."""
        for line, block in self._blocks.items():
            text, *texts_after = text.split(line)
            for text_after in texts_after:
                if text and not text.endswith("\n"):
                    text += "\n"
                text += block.rstrip("\n")
                if text_after and not text_after.startswith("\n"):
                    text += "\n"
                text += text_after
        return text
