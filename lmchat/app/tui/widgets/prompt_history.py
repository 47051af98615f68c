"""Earlier prompts, which ↑ and ↓ recall."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

_DRAFT = -1  # index of the text that is being written; the newest prompt has 0


class PromptHistory:
    """Earlier prompts, and the one that is shown."""

    def __init__(self) -> None:
        self.prompts: Sequence[str] = ()  # newest first
        self._index = _DRAFT
        # the recalled prompt as the prompt shows it; it becomes a draft when changed
        self.shown = ""

    def remember_newest(self, prompt: str) -> None:
        self.prompts = (prompt, *self.prompts)
        if self._index != _DRAFT:  # one is shown already
            self._index += 1

    def remember_older(self, prompts: Iterable[str]) -> None:
        self.prompts = (*self.prompts, *prompts)

    def leave(self) -> None:
        """What is shown from now on is a draft."""
        self._index = _DRAFT

    def is_recalled(self, text: str) -> bool:
        """Whether a shown text is an earlier prompt as it was."""
        return self._index != _DRAFT and text == self.shown

    def recall(self, step: int) -> str | None:
        """Return the next earlier prompt (`step` 1) or later one (-1); None behind the earliest.

        A step behind the newest leads to an empty draft. The caller sets `shown`.
        """
        index = self._index + step
        if index >= len(self.prompts):
            return None
        self._index = index
        return "" if index == _DRAFT else self.prompts[index]
