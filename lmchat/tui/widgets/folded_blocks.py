"""Long texts that stand in the prompt as one line; pure."""

from __future__ import annotations

from lmchat.domain.message import pieces_of
from lmchat.text import safe_line

_LABEL_LENGTH = 60


class FoldedBlocks:
    """Keeps what each line stands for, also after it was deleted: undo may bring it back."""

    def __init__(self) -> None:
        self._blocks: dict[str, str] = {}

    def fold(self, block: str, label: str) -> str:
        """Return the line that stands for a block, as `[notes.md (3212 bytes)]`."""
        name = safe_line(label, limit=_LABEL_LENGTH).rstrip(":")
        token, count = f"[{name}]", 1
        while self._blocks.get(token, block) != block:
            count += 1
            token = f"[{name} #{count}]"
        self._blocks[token] = block
        return token

    def fold_files(self, text: str) -> str:
        """Fold all files of a prompt that comes back: an earlier one, or a draft."""
        return "".join(
            piece
            if isinstance(piece, str)
            else self.fold(piece.source, f"{piece.name} ({piece.size_bytes} bytes)")
            + "\n" * piece.source.endswith("\n")
            for piece in pieces_of(text)
        )

    def unfold(self, text: str) -> str:
        """Put the blocks back into a text."""
        for token, block in self._blocks.items():
            if token in text:
                text = text.replace(token, block.rstrip("\n"))
        return text
