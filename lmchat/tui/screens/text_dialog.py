"""Dialogs that show a text or the links of a message."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import ClassVar

from textual.binding import BindingType
from textual.containers import VerticalScroll
from textual.widget import Widget
from textual.widgets import Static

from lmchat.domain.telemetry import Budget, Metrics
from lmchat.services.turn_stats import ModelFigures, Spread
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import icons_for
from lmchat.tui.screens.dialog import Dialog, ListDialog
from lmchat.tui.widgets.line import MUTED, cut_middle, paragraphs
from lmchat.tui.widgets.row_list import fit_scrollbar, text_row


class TextDialog(Dialog[None]):
    """Scrollable text; `y` copies it."""

    AUTO_FOCUS = "VerticalScroll"
    HINTS = (("y", "copy"), ("↑ ↓", "scroll"))
    BINDINGS: ClassVar[list[BindingType]] = [("y", "copy_text"), ("enter", "leave")]

    def __init__(self, title: str, text: str) -> None:
        super().__init__(title)
        self._text = text

    def compose_content(self) -> Iterable[Widget]:
        with VerticalScroll(classes="text gap"):
            yield Static(paragraphs(self._text))

    def on_mount(self) -> None:
        fit_scrollbar(self.query_one(VerticalScroll))

    def on_resize(self) -> None:
        self.call_after_refresh(self._fit_text)

    def _fit_text(self) -> None:
        scroll = self.query_one(VerticalScroll)
        self.fit(scroll, scroll.query_one(Static).outer_size.height)

    def action_copy_text(self) -> None:
        self.app.copy_to_clipboard(self._text)


_NAME_WIDTH = 24
_VALUE_WIDTH = 12


def run_text(metrics: Metrics, budget: Budget | None) -> str:
    """Return the request counters as text."""
    return _lines(
        ("requests", str(metrics.total_requests)),
        ("ok", str(metrics.successful_requests)),
        ("failed", str(metrics.failed_requests)),
        ("stopped", str(metrics.stopped_requests)),
        ("rejected by lmchat", str(metrics.refused_requests)),
        ("retries", str(metrics.retries)),
        ("average time", formatting.elapsed(metrics.average_response_ms / 1e3)),
        (
            "model lists from cache",
            f"{metrics.cache_hits} of {metrics.cache_hits + metrics.cache_misses}",
        ),
        ("requests left", f"{budget.left} of {budget.limit}" if budget else formatting.UNKNOWN),
    )


def models_text(models: Sequence[ModelFigures]) -> str:
    """Return one paragraph of figures per model; empty where none has answered."""
    return "\n\n".join(map(_model_text, models))


def _model_text(figures: ModelFigures) -> str:
    rows = _lines(
        ("answers", f"{figures.turns}, {figures.complete} ok"),
        ("first token", _pair(figures.ttft_ms, lambda ms: formatting.first_token(ms / 1e3))),
        ("speed", _pair(figures.tokens_per_second, formatting.rate)),
        ("prompt speed", _pair(figures.prompt_tokens_per_second, formatting.rate)),
        ("time", _pair(figures.elapsed_ms, lambda ms: formatting.elapsed(ms / 1e3))),
    )
    head = safe_line(f"{figures.model} · {figures.product} · {figures.endpoint}")
    return f"{head}\n{rows}"


def _pair(spread: Spread | None, write: Callable[[float], str]) -> str:
    return formatting.UNKNOWN if spread is None else f"{write(spread.p50)}, {write(spread.p95)}"


def _lines(*rows: tuple[str, str]) -> str:
    return "\n".join(f"{name:<{_NAME_WIDTH}}{value:>{_VALUE_WIDTH}}" for name, value in rows)


class LinksDialog(ListDialog[str | None]):
    """Links by address with their words; returns the address to open."""

    AUTO_FOCUS = ""
    HEADING = "Links"
    HINTS = (("Enter", "open"), ("y", "copy"))
    BINDINGS: ClassVar[list[BindingType]] = [("y,c", "copy_link")]

    def __init__(self, links: Mapping[str, str]) -> None:
        super().__init__()
        self._links = links

    def draw(self) -> None:
        room = self.list.text_width - 2
        ellipsis = icons_for(self).cut
        rows = []
        for address, words in self._links.items():
            shown = cut_middle(address, room, ellipsis)
            name = safe_line(words, limit=200)
            if name and name != safe_line(address):
                rows.append(text_row(name, key=address))
                rows.append(text_row(shown, MUTED, key=address))
            else:
                rows.append(text_row(shown, key=address))
        self.show_rows(rows, f"{len(self._links)}")

    def action_take(self) -> None:
        if self.list.key is not None:
            self.dismiss(str(self.list.key))

    def action_copy_link(self) -> None:
        if self.list.key is not None:
            self.app.copy_to_clipboard(str(self.list.key))
