"""The row under the prompt: what will answer, and how full its window is."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content

from lmchat.tui.icons import signs_for
from lmchat.tui.quirks.frames import paint_soon
from lmchat.tui.widgets.line import MUTED, Line, Part, content, fit


class PromptStatus(Line):
    """`● qwen3-8b · LM Studio     ~24 tok · 41 %`; below 80 columns it is the one-line status."""

    def __init__(self, *, id: str | None = None) -> None:  # noqa: A002 - Textual's name
        super().__init__(id=id)
        self._state: tuple[Part, tuple[str, ...], str, str] = (("", ""), (), "", "")

    def show_state(self, dot: Part, left: Sequence[str], right: str, narrow: str = "") -> None:
        """Show other figures; texts from outside have passed the filter.

        Args:
            dot: Sign and style of the server's state.
            left: Model and server; the last goes first where there is no room.
            right: Estimate and share of the window.
            narrow: What stands there instead on a narrow screen: speed and share.
        """
        state = (dot, tuple(left), right, narrow or right)
        if state != self._state:
            self._state = state
            paint_soon(self)

    def render(self) -> Content:
        """Return the row in exactly the width there is."""
        dot, left, right, narrow = self._state
        is_narrow = self.screen.has_class("-narrow")
        signs = signs_for(self)
        pieces = [content((dot, (" ", "")))] if dot[0] else []
        names = [
            content(((name if not at else f" {signs.dot} {name}", MUTED),)) for at, name in enumerate(left)
        ]
        first = Content("").join([*pieces, *names[:1]])
        shown = content(((narrow if is_narrow else right, MUTED),))
        return fit([first, *names[1:]], shown, self.content_size.width, signs.cut)
