"""Prompt area: the widgets below the log, from top to bottom.

Passing messages, a card for each queued prompt, the list of commands or files, and a card with the
prompt, its status line, and perhaps a note about what Enter does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace
from textual import on
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.getters import query_one
from textual.reactive import reactive
from textual.widget import Widget

from lmchat.app.tui.widgets.completion_list import Completion, CompletionList
from lmchat.app.tui.widgets.line import (
    MUTED,
    SPEED,
    LineWidget,
    StyledText,
    StyledTexts,
    content,
    cut_middle,
    fit,
    styled,
)
from lmchat.app.tui.widgets.message_row import MessageRow
from lmchat.app.tui.widgets.placeholders import Placeholders
from lmchat.app.tui.widgets.prompt_input import PromptInput
from lmchat.app.tui.widgets.row_list import RowList
from lmchat.app.tui.widgets.telemetry_panel import has_columns, meter, spark
from lmchat.base import units
from lmchat.base.safe_text import safe_line
from lmchat.base.units import SIGNS

_MOST_QUEUED, _MOST_QUEUED_IN_SHORT = 5, 2  # rows of queued prompts, by the height of the window
_LEAST_TEXT = 20  # cells of a queued prompt; with less, the hint beside it goes
_CELLS = 6  # of the bars and of the meter in the last row
_GAP = 2  # least cells between the two ends of it


class QueueCards(Widget):
    """A row for each queued prompt: `next Which herbs go with them? ↑ edit Del remove`.

    Of many, the first ones and the newest, so that the log keeps its room.
    """

    def __init__(self) -> None:
        super().__init__()
        self._texts: Sequence[str] = ()

    def show(self, texts: Sequence[str]) -> None:
        """Show the oldest first; the keys of the prompt act on the last one."""
        # nothing here is unfolded again
        self._texts = [safe_line(Placeholders().fold_files(text)) for text in texts]
        self.display = bool(texts)
        self._fit()

    def on_resize(self) -> None:
        self._fit()

    def _fit(self) -> None:
        self.styles.height = min(len(self._texts), self._most_rows)
        self.refresh()

    @property
    def _most_rows(self) -> int:
        if self.screen.has_class("-low"):
            return 1
        return _MOST_QUEUED if self.screen.has_class("-tall") else _MOST_QUEUED_IN_SHORT

    def render(self) -> Content:
        width = self.content_size.width
        bold = f"bold {MUTED}"
        hint = content(
            ((SIGNS.up_arrow, bold), (" edit  ", MUTED), ("Del", bold), (" remove", MUTED))
        )
        if width - hint.cell_length - _GAP < _LEAST_TEXT:
            hint = Content("")
        *earlier, newest = self._texts or [""]
        fitting = earlier[: self._most_rows - 1]
        hidden = len(earlier) - len(fitting)
        label = f"{hidden} more, then  " if hidden else "next  "
        rows = [fit([_queued("next  ", text)], Content(""), width) for text in fitting]
        rows.append(fit([_queued(label, newest)], hint, width))
        return Content("\n").join(rows)


def _queued(label: str, text: str) -> Content:
    return content(((label, MUTED), (text, "")))


class StatusLine(Struct, frozen=True, kw_only=True):
    """What the prompt's last row may show, as there is room."""

    sign: StyledText = ("", "")  # of the state of the server
    state: str = ""  # in a word or two; "" if ready
    model: str = ""  # safe to show
    server: str = ""
    saving: str = ""  # that the chat is not saved
    draft_tokens: int = 0
    speed: float | None = None  # tokens in a second, while an answer runs
    speeds: tuple[float, ...] = ()  # of the last seconds, oldest first
    share: float | None = None  # used part of the context window
    window: str = ""  # its size, in a chat without messages


class PromptStatus(Widget):
    """What will answer: `● qwen3-8b · LM Studio`.

    Without a column for the telemetry panel, its stats are at the right: `▃▅▆▇▆▇ 42 tok/s 41 %`.
    """

    is_shell: reactive[bool] = reactive(False)
    """The line says so."""
    line: reactive[StatusLine] = reactive(StatusLine(), repaint=False)

    def watch_line(self, before: StatusLine, line: StatusLine) -> None:
        """Paint the row only if it looks different: the panel may show the stats."""
        if self._has_column:
            before, line = (
                replace(one, speed=None, speeds=(), share=None, window="") for one in (before, line)
            )
        if line != before:
            self.refresh()

    def render(self) -> Content:
        width = self.content_size.width
        if self.is_shell:
            mode = content((("! shell command", "$warning"), ("  Enter runs it", MUTED)))
            return fit([mode], Content(""), width)
        line = self.line
        sign, style = line.sign
        state = content(((f"{sign} ", style), (line.state, style if line.model else MUTED)))
        state += "  " if line.state and line.model else ""
        figures = self._figures(0, 0)
        room = width - state.cell_length
        if figures:
            room -= _GAP + figures.cell_length
        names = [state + styled(cut_middle(line.model, room), MUTED)]
        if line.server:
            dot = f" {SIGNS.dot} " if line.model else "  " if line.state else ""
            names.append(styled(f"{dot}{line.server}", MUTED))
        with_meter = self._figures(0, _CELLS)
        # without room, first to last: speeds, name of the server, meter
        for left, right in (
            (names, self._figures(_CELLS, _CELLS)),
            (names, with_meter),
            (names[:1], with_meter),
            (names[:1], figures),
        ):
            if sum(name.cell_length for name in left) + _GAP + right.cell_length <= width:
                break
        return fit(left, right, width)

    def _figures(self, speed_cells: int, meter_cells: int) -> Content:
        """Return the stats, with bars for the last seconds, and a meter."""
        line = self.line
        saving = content(((line.saving, "$warning" if line.saving.startswith("!") else MUTED),))
        pieces = [saving] if line.saving else []
        if self._has_column:
            if line.draft_tokens:
                size = units.whole_number(line.draft_tokens, is_estimated=True)
                pieces.append(styled(f"{size}{units.GAP}tok", MUTED))
            return styled(f" {SIGNS.dot} ", MUTED).join(pieces)
        if line.speed is not None:
            bars: StyledTexts = ()
            if speed_cells and line.speeds:
                bars = tuple((text, SPEED) for text, _ in spark(line.speeds, speed_cells))
            # padded, so that the bars keep their place
            number = f"{line.speed:4.0f}" if bars else f"{line.speed:.0f}"
            pieces.append(content((*bars, (f"{number}{units.GAP}tok/s", ""))))
        if line.share is not None:
            bar = (*meter(line.share, meter_cells), (" ", "")) if meter_cells else ()
            pieces.append(content((*bar, (units.percent(line.share), ""))))
        elif line.window:
            pieces.append(styled(line.window, MUTED))
        return Content("  ").join(pieces)

    @property
    def _has_column(self) -> bool:
        """Whether the stats are in the telemetry panel, beside the chat."""
        return has_columns(self.screen) and not self.screen.has_class("-telemetry-hidden")


class PromptArea(Vertical):
    """Container of the prompt's widgets; shows mode and completion of `PromptInput`."""

    status = query_one(PromptStatus)
    message_row = query_one(MessageRow)
    queue = query_one(QueueCards)
    note = query_one("#prompt-note", LineWidget)

    def __init__(self, user_keys: Mapping[str, str]) -> None:
        """`user_keys` are keys as people write them, by command id."""
        super().__init__()
        self.input = PromptInput()
        self._user_keys = user_keys

    def compose(self) -> ComposeResult:
        with Vertical(id="message-row"):
            yield MessageRow()
        yield QueueCards()
        with Vertical(id="prompt-card"):
            yield LineWidget(id="prompt-note")
            yield self.input
            yield PromptStatus()

    def on_mount(self) -> None:
        self.watch(self.input, "is_shell", self._show_mode, init=False)
        self.watch(self.input, "completion", self._show_completion, init=False)

    def _show_mode(self, is_shell: bool) -> None:
        self.query_one("#prompt-card").set_class(is_shell, "-shell")
        self.status.is_shell = is_shell

    def show_note(self, text: str, hint: str) -> None:
        """Show a text above the prompt and a hint at its right; "" hides the note."""
        self.note.display = bool(text)
        self.note.show([styled(text, MUTED)], styled(hint, MUTED))

    def show_queue(self, texts: Sequence[str]) -> None:
        self.input.has_queue = bool(texts)
        self.queue.show(texts)

    async def _show_completion(self, completion: Completion) -> None:
        """Show the rows above the prompt, in a list that is made when needed."""
        if (completion.rows or completion.text) and not self.query(CompletionList):
            await self.mount(CompletionList(self._user_keys), before="#prompt-card")
        # one, or none before the first completion
        for completion_list in self.query(CompletionList):
            completion_list.show_completion(completion)

    @on(RowList.Clicked)
    def choose_clicked(self, event: RowList.Clicked) -> None:
        event.stop()
        self.input.choose(event.key)
        self.input.focus()
