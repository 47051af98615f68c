"""The app as a person sees it: what stands on its screen, and what they press."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.desktop import Desktop
from tests.support.tui_host import screen_text

_TRIES = 1500


@dataclass
class Seen:
    """The screen of an app that runs."""

    desk: Desktop

    @property
    def app(self):
        return self.desk.app

    @property
    def text(self) -> str:
        """The screen."""
        return screen_text(self.app)

    @property
    def words(self) -> str:
        """The screen without its line breaks: for sentences that may be broken anywhere."""
        return " ".join(self.text.split())

    async def until(self, condition, what: str) -> None:
        """Let the app work until something holds."""
        for _ in range(_TRIES):
            if condition():
                return
            await self.desk.pilot.pause(0.01)
        raise AssertionError(f"never came: {what}\n{self.text}")

    async def shows(self, *sentences: str) -> None:
        """Wait until each of these is on the screen."""
        for sentence in sentences:
            await self.until(lambda sentence=sentence: sentence in self.words, f"“{sentence}”")

    async def hides(self, sentence: str) -> None:
        """Wait until this is not on the screen any more."""
        await self.until(lambda: sentence not in self.words, f"a screen without “{sentence}”")

    async def is_on(self, kind: type) -> None:
        """Wait until a screen is the top one."""
        await self.until(lambda: isinstance(self.app.screen, kind), kind.__name__)
        await self.desk.pilot.pause()

    async def presses(self, *keys: str) -> None:
        await self.desk.pilot.press(*keys)
