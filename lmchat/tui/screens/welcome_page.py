"""What the welcome page shows: headline, choices, places, the last problem, and when the next look comes."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence

from msgspec.structs import replace
from textual import events
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.getters import query_one
from textual.widgets import Static

from lmchat.domain.server import Candidate
from lmchat.services.candidates import (
    NOTHING,
    MachineState,
    ServerRow,
    advice,
    first_step,
    headline,
    server_rows,
)
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.icons import signs_for
from lmchat.tui.screens.dialog import fit_height, free_height
from lmchat.tui.screens.patient_screen import PatientScreen
from lmchat.tui.screens.welcome_choices import choices
from lmchat.tui.screens.welcome_rows import candidate_key, tight, welcome_rows
from lmchat.tui.widgets.keys_row import KeysRow
from lmchat.tui.widgets.line import MUTED, STRONG, Line, content
from lmchat.tui.widgets.row_list import ListRow, RowList

_HINTS = (("Enter", "choose"), ("F5", "look now"), ("^K", "search sessions"))
_LAST_HINTS = (("^P", "commands"), ("F1", "help"))
_ADVICE = "Start one, or {}. This page goes on by itself when a server appears."
_WAITING = "Your message waits, and goes out when a server answers."
_WAYS = ("type an address", "try the built-in engine")
_WAIT_S = 0.5
"""How long rows may wait for each other, so that they all come at once."""


class WelcomePage(PatientScreen[None]):
    """Draws what it is handed."""

    rows = query_one(RowList)
    """What can be chosen."""
    _headline = query_one("#welcome-headline", Static)
    _advice = query_one(".advice", Static)
    _problem = query_one("#welcome-problem", Static)
    _status = query_one("#welcome-status", Line)

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._shown_s = 0.0
        self._looked_s_ago: float | None = None
        self._next_look_s: float | None = None
        self._drawn: Sequence[ListRow] = ()
        self._words = ("", "")
        self.candidates: tuple[Candidate, ...] = ()
        """What the last look found."""
        self.places: tuple[ServerRow, ...] = ()
        """The same, with what can be done there."""
        self.here = MachineState()
        """What else is known of this machine."""
        self.is_touched = False
        """Whether the user has chosen a row: until then, the first one is."""
        self.is_known = True
        """Whether enough is known to show rows."""
        self.has_waiting = False
        """Whether something was said that waits for a server."""

    def compose(self) -> ComposeResult:
        """Headline, what can be done, what was found, keys."""
        with Vertical(id="welcome"), Vertical(classes="page"):
            yield Line([content((("lmchat", STRONG),))], classes="name gap")
            yield Static(content(((NOTHING, STRONG),)), id="welcome-headline")
            yield Static("", classes="advice gap")
            yield RowList()
            yield Static("", id="welcome-problem", classes="gap")
            yield Line(id="welcome-status")
        yield KeysRow()

    def on_mount(self) -> None:
        """Keys go to the list."""
        self._problem.display = False
        self.rows.set_focused(has_keys=True)
        self.query_one(KeysRow).show(_HINTS, _LAST_HINTS)
        self.call_after_refresh(self.draw)
        self.set_interval(1.0, self.tick)
        self.set_timer(_WAIT_S, self.end_wait)

    def end_wait(self) -> None:
        """Show what is known by now."""
        self.is_known = True
        self.draw()

    def tick(self) -> None:
        """A second has passed."""
        self._show_status()

    def on_resize(self, event: events.Resize) -> None:
        """Fit the table to the new size."""
        del event
        self.call_after_refresh(self.draw)

    def show(
        self,
        candidates: Sequence[Candidate],
        looked_s_ago: float | None = None,
        next_look_s: float | None = None,
    ) -> None:
        """Show what was found how long ago, and in how many seconds the next look comes."""
        self.candidates = tuple(candidates)
        self._looked_s_ago, self._next_look_s = looked_s_ago, next_look_s
        self._shown_s = self._clock()
        self.draw()

    def show_here(self, here: MachineState) -> None:
        """Show what else is known of this machine."""
        self.here = here
        self.draw()

    def show_problem(self, words: str) -> None:
        """Say what went wrong, until something else is tried."""
        if not self.can_show:
            return
        self._problem.display = bool(words)
        self._problem.update(content(((f"! {safe_line(words)}", "$error"),)) if words else "")
        self.call_after_refresh(self.draw)

    def draw(self) -> None:
        """Draw what has changed."""
        self.places = server_rows(self.candidates, self.here)
        if not self.can_show or not self.is_known:
            return
        near = [replace(one.candidate, next_step=one.next_step) for one in self.places]
        next_step = advice(near) or _ADVICE.format(_WAYS[self.here.offer is not None])
        words = headline(near), next_step
        if self.has_waiting:  # said where there is room for one of the two, too
            words = (words[0], f"{_WAITING} {next_step}") if self._advice.display else (_WAITING, "")
        if words != self._words:
            self._words = words
            self._headline.update(content(((safe_line(words[0]), STRONG),)))
            self._advice.update(content(((safe_line(words[1]), MUTED),)))
            self.call_after_refresh(self._lay_out)  # they may take more rows than before
        self._lay_out()

    def _lay_out(self) -> None:
        """Draw the rows, without blank ones where there is no room for all."""
        if not self.can_show or not self.rows.text_width:
            return
        width, room = self.rows.text_width, self.size.height - 1
        rows = welcome_rows(choices(self.here), self.places, width, signs_for(self))
        rows = rows if len(rows) <= free_height(self.rows, room) else tight(rows)
        if rows != self._drawn:
            self._drawn = rows
            self.rows.show(rows, choose=None if self.is_touched else self._first_choice(rows))
        self._show_status()
        fit_height(self.rows, len(rows), room)
        if not self.is_touched:
            self.call_after_refresh(self.rows.settle)

    def _first_choice(self, rows: Sequence[ListRow]) -> Hashable:
        """Return what helps most: a server that lacks one thing which can be given here, else the first."""
        near = first_step(self.places)
        if near is not None:
            return candidate_key(near.candidate)
        return next((row.key for row in rows if row.key is not None), None)

    def _show_status(self) -> None:
        words = [content(((piece, MUTED),)) for piece in self._status_words()]
        self._status.show(words, content((("F5", STRONG), (" now ", MUTED))))

    def _status_words(self) -> tuple[str, ...]:
        if self._looked_s_ago is None:
            return ("Looking",)
        count, since_s = len(self.candidates), self._clock() - self._shown_s
        words = (
            f"{count} place{'' if count == 1 else 's'}, {formatting.ago(self._looked_s_ago + since_s)} ago"
        )
        if self._next_look_s is None:
            return (words,)
        left_s = self._next_look_s - since_s
        return words, f"; looks again in {formatting.ago(left_s)}" if left_s > 0 else "; looking"
