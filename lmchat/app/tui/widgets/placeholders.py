"""Long blocks of a prompt, each shown as one line.

A block is a long pasted text, or the mark of an attached file, which only lmchat can read. Its
line, such as `[notes.md (3212 bytes)]`, finds it again.
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from lmchat.base.safe_text import safe_line
from lmchat.core.sessions.prompts import Prompt

_LABEL_LENGTH = 60  # of a label, or of the name of a file


class Placeholders:
    """Long blocks, and the lines in their places.

    The block of a deleted line is kept until `keep_only`: undo may restore the line.
    """

    def __init__(self) -> None:
        self._blocks: dict[str, str] = {}  # by their lines, without line end

    def fold(self, block: str, label: str) -> str:
        """Keep a block, and return its line: the label in brackets.

        If another block has this line, a number is added: `[notes.md (3212 bytes) #2]`.
        """
        name = safe_line(label)
        line = f"[{name}]"
        number = 1
        while self._blocks.get(line, block) != block:
            number += 1
            line = f"[{name} #{number}]"
        self._blocks[line] = block
        return line

    def keep_only(self, text: str) -> None:
        """Forget all blocks but those of a text, when undo cannot restore others."""
        lines = set(text.split("\n"))
        self._blocks = {line: block for line, block in self._blocks.items() if line in lines}

    def fold_files(self, text: str) -> str:
        """Put a readable line in place of the mark of each attached file."""
        lines = text.split("\n")
        for index, line in enumerate(lines):
            for part in Prompt.of(line).files:  # one at most
                named = replace(part, name=safe_line(part.name, limit=_LABEL_LENGTH))
                lines[index] = self.fold(line, named.label)
        return "\n".join(lines)

    def without_lines(self, text: str) -> str:
        return "\n".join(line for line in text.split("\n") if line not in self._blocks)

    def lines_of(self, text: str) -> str:
        """Return only the lines of folded blocks, each with its line end."""
        return "".join(f"{line}\n" for line in text.split("\n") if line in self._blocks)

    def line_at_end(self, text: str) -> str:
        """Return the line of the block that a text ends with, as before the cursor, or ""."""
        for line in self._blocks:
            if text.endswith(line):
                return line
        return ""

    def unfold(self, text: str) -> str:
        """Put each folded block in full again.

        Words typed beside its line are divided from it by a line break. A line of another block
        within a block stays.
        """
        if not self._blocks:
            return text
        # `[a]` is also the beginning of `[a]]`: the longest first
        lines = "|".join(map(re.escape, sorted(self._blocks, key=len, reverse=True)))
        # `rest` is in turn the line of a block, and the text after it
        unfolded, *rest = re.split(f"({lines})", text)
        for line, text_after in zip(rest[::2], rest[1::2], strict=True):
            if unfolded and not unfolded.endswith("\n"):
                unfolded += "\n"
            unfolded += self._blocks[line].rstrip("\n")
            if text_after and not text_after.startswith("\n"):
                unfolded += "\n"
            unfolded += text_after
        return unfolded
