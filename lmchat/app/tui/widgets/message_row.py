"""Row above the prompt: a passing message at the left, and what is new below the screen."""

from __future__ import annotations

from msgspec import Struct
from textual import events
from textual.content import Content
from textual.reactive import reactive
from textual.widget import Widget

from lmchat.app.tui.messages import AppMessage
from lmchat.app.tui.widgets.line import STRONG, content, styled
from lmchat.base.units import SIGNS

_MOST_ROWS = 3
_GAP = 2  # least cells
_TINT = "on $label-row"


class Passing(Struct, frozen=True):
    """Message that is shown for a few seconds."""

    text: str
    severity: str = "information"  # as Textual has it; others than this get a sign


_SIGNS = {"warning": (f"{SIGNS.warning} ", "$warning"), "error": (f"{SIGNS.failed} ", "$error")}


class MessageRow(Widget):
    """`Exported to plan.md ↓ new text End`; a long message has up to three rows.

    Nothing moves when a message comes: a row is reserved for it, and a long one lies over what is
    above. With `lift`, it lies over the row so far above its place.
    """

    class Pressed(AppMessage):
        """Request to scroll the log to its end."""

    below: reactive[str] = reactive("")
    """Words for what is below the screen; "" at the end of the log."""
    passing: reactive[Passing | None] = reactive(None)

    def __init__(self, *, lift: int = 0) -> None:
        super().__init__()
        self._lift = lift
        self._lines: list[Content] = []  # of the message
        self._told_before: Passing | None = None  # it stays below the dialog of this row

    def on_mount(self) -> None:
        self._fit()
        if self.screen.is_modal:  # other screens hide what was told
            self._told_before = getattr(self.app, "passing", None)
        self.watch(self.app, "passing", self._take)  # of `LMChatApp`

    def _take(self, passing: Passing | None) -> None:
        """Show the message of the app; below another screen, keep only the shown one."""
        if self.screen is self.app.screen:
            self.passing = None if passing is self._told_before else passing
        elif passing is not self.passing:
            self.passing = None

    def _fit(self) -> None:
        end = self._end
        width = self.content_size.width - (end.cell_length + _GAP if end else 0) - 2
        self._lines = []
        if self.passing is not None and self.content_size.width:  # else it is not laid out yet
            sign = _SIGNS.get(self.passing.severity, ("", ""))
            text = content((sign, (self.passing.text, "")))
            lines = [line.rstrip() for line in text.wrap(max(width, 1))]
            if len(lines) > _MOST_ROWS:
                last = lines[_MOST_ROWS - 1].truncate(max(width - 1, 0))
                lines[_MOST_ROWS - 1 :] = [last.rstrip() + SIGNS.cut]
            self._lines = lines
        height = max(len(self._lines), 0 if self._lift else 1)
        self.styles.height = height
        self.set_class(bool(self._lift) or height > 1, "-lifted")
        self.styles.offset = (0, 1 - height - self._lift)
        if not self._lift and isinstance(self.parent, Widget):
            self.parent.set_class(
                self.passing is not None, "-told"
            )  # a very low window reserves no row
        self.refresh()

    watch_passing = watch_below = on_resize = _fit

    @property
    def _end(self) -> Content:
        if not self.below:
            return Content("")
        return content(
            ((f"{SIGNS.down_arrow} {self.below}", "$primary"), ("  ", ""), ("End", STRONG))
        )

    def render(self) -> Content:
        width = self.content_size.width
        end = self._end
        block = max((line.cell_length for line in self._lines), default=0)
        rows = [
            (styled(" ") + line + " " * (block - line.cell_length + 1)).stylize_before(_TINT)
            for line in self._lines
        ] or [Content("")]
        gap = width - rows[-1].cell_length - end.cell_length
        rows[-1] = rows[-1] + " " * max(gap, 0) + end
        return Content("\n").join(rows)

    def on_click(self, event: events.Click) -> None:
        is_on_message = event.x < self.content_size.width - self._end.cell_length
        if self.below and not (self._lines and is_on_message):
            self.post_message(self.Pressed())
