"""Dialog with what the next request holds: messages and tools, with their tokens.

A `ContextItem` is a message, the draft, or all tools together. It also is in the list if it is not
sent; its `state` then says why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.binding import BindingType

from lmchat.app.tui.dialogs.dialog import ListDialog
from lmchat.app.tui.widgets.line import FAINT, MUTED, StyledTexts, short_names
from lmchat.app.tui.widgets.row_list import ASIDE, NAME, ListRow
from lmchat.base import units
from lmchat.base.safe_text import safe_line
from lmchat.base.units import SIGNS
from lmchat.core.chat.preview import ContextItem, ContextList

_AUTHOR_CELLS = 12
_BAR_CELLS = 16
_BAR_FROM_CELLS = 70  # cells from which a row has a bar


class ContextDialog(ListDialog):
    """List of the items; returns the id of the message to go to.

    `toggle` takes a message out of requests or puts it back, and then has the new items shown.
    """

    HEADING = "Context"
    HINTS = (("Space", "take out or put back"), ("Enter", "go to it"))
    BINDINGS: ClassVar[list[BindingType]] = [("space", "toggle_excluded")]

    def __init__(self, toggle: Callable[[str], None]) -> None:
        super().__init__()
        self._toggle = toggle
        self._content: ContextList | None = None  # None until it is read

    def show(self, content: ContextList) -> None:
        """The first time, choose the last message; later, keep the choice."""
        messages = [item.message_id for item in content.items if item.message_id]
        choice = messages[-1] if messages and self._content is None else None
        self._content = content
        # the content may come before the list has its size, which `draw` needs
        self.call_after_refresh(self.redraw, choose=choice)

    def draw(self, choose: str | None = None) -> None:
        """Draw the items, each with its share of the context window, and the sum in the title.

        `choose` is the id of the message to choose; None keeps the choice.
        """
        content = self._content
        if content is None:
            return
        authors = short_names((item.author for item in content.items), _AUTHOR_CELLS)
        rows = [self._row(item, authors[item.author], content.limit) for item in content.items]
        tokens = units.whole_number(content.tokens, is_estimated=content.is_estimated)
        if content.limit:  # the context window, if it is known
            share = units.percent(content.tokens / content.limit)
            figures = [f"{tokens} of {units.whole_number(content.limit)}{units.GAP}tokens", share]
        else:
            figures = [f"{tokens}{units.GAP}tokens"]
        self.show_rows(rows, *figures, choose=choose)

    def _row(self, item: ContextItem, author: str, limit: int | None) -> ListRow:
        """The bar shows the share of the context window, `limit`, that a sent item takes.

        There is none on a narrow screen, or if the window is unknown.
        """
        text = safe_line(item.text, limit=200) or "(empty)"
        style = NAME if item.is_sent else MUTED
        bar: StyledTexts = ()
        if limit and self.list.text_width >= _BAR_FROM_CELLS:
            used = min(round(_BAR_CELLS * item.tokens / limit), _BAR_CELLS) if item.is_sent else 0
            rest = SIGNS.rule * (_BAR_CELLS - used)
            bar = ((f"  {SIGNS.used * used}", "$primary"), (rest, FAINT))
        tokens = units.whole_number(item.tokens, is_estimated=True)
        author_and_text = ((author.ljust(_AUTHOR_CELLS), ASIDE), (f" {text}", style))
        return ListRow(
            pieces=(author_and_text,),
            right=((item.state, MUTED), *bar, (f"{tokens:>8}", style)),
            key=item.message_id or None,  # draft and tools cannot be chosen
        )

    def action_toggle_excluded(self) -> None:
        if self.list.key is not None:
            self._toggle(str(self.list.key))
