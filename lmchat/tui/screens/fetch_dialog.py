"""The progress of a fetch; Esc cuts it."""

from __future__ import annotations

from collections.abc import Iterable

from textual.widget import Widget
from textual.widgets import Static

from lmchat.domain.engine import FetchProgress
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import signs_for
from lmchat.tui.screens.dialog import Dialog
from lmchat.tui.widgets.line import FAINT, MUTED, STRONG, Line, Parts, content


class FetchDialog(Dialog[None]):
    """Dismissed with the end of the fetch, or by Esc, which whoever fetches takes for a wish to stop."""

    AUTO_FOCUS = ""
    leave_word = "stop; it can be begun again later"

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = safe_line(name)
        self._progress: FetchProgress | None = None
        self._bar = Static("", classes="words")
        self._figures = Line(classes="gap")

    def title_text(self) -> str:
        return f"Fetching {self._name}"

    def compose_content(self) -> Iterable[Widget]:
        yield self._bar
        yield self._figures

    def on_mount(self) -> None:
        self.add_class("-small")
        self.call_after_refresh(self._draw)

    def on_resize(self) -> None:
        self.call_after_refresh(self._draw)

    def show_progress(self, progress: FetchProgress) -> None:
        """Show how far it is."""
        if progress != self._progress:
            self._progress = progress
            self._draw()

    def _draw(self) -> None:
        progress, width = self._progress, self._bar.size.width
        if not self._figures.is_attached or progress is None:
            return
        signs, used = signs_for(self), round(width * progress.fraction)
        left = width - used
        self._bar.update(content(((signs.used * used, "$primary"), (signs.rule * left, FAINT))))
        words: Parts = (("checking" if progress.is_checking else "fetching", MUTED),)
        done, total = formatting.size(progress.done_bytes), formatting.size(progress.total_bytes)
        right: Parts = ((f"{done} of {total} ", MUTED), (formatting.percent(progress.fraction), STRONG))
        self._figures.show([content(words)], content(right))
