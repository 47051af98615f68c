"""A screen that may be told things, and to leave, at any time: also before it is there and after it went."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.await_complete import AwaitComplete
from textual.screen import Screen

ResultT = TypeVar("ResultT")


class PatientScreen(Screen[ResultT], Generic[ResultT]):
    """Leaves when no other screen lies above: `dismiss` of Textual closes whatever is on top."""

    _wish: tuple[ResultT | None] | None = None
    _has_left = False

    @property
    def can_show(self) -> bool:
        """Whether its widgets are there."""
        return self.is_attached and bool(self.children) and not self._has_left

    @property
    def can_act(self) -> bool:
        """Whether all its widgets are there, also those inside others."""
        return self.is_mounted and not self._has_left

    def dismiss(self, result: ResultT | None = None) -> AwaitComplete:
        """Leave at once, or as soon as it is all there and no other screen lies above."""
        if self.is_active and self.is_mounted:
            self._has_left = True  # its widgets go one by one from here on
            return super().dismiss(result)
        self._wish = (result,)
        return AwaitComplete()

    def on_screen_resume(self) -> None:
        """Leave, if that was wanted meanwhile."""
        if self._wish is not None:
            self.call_later(self._leave, *self._wish)

    def _leave(self, result: ResultT | None) -> None:
        self.dismiss(result)
