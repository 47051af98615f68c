"""Pieces of frames add up to the whole screen, whatever happens, in every number of colours."""

from __future__ import annotations

import random

import pyte
import pytest
import textual.screen
from rich.color import ColorSystem
from rich.segment import Segment
from textual._compositor import CompositorUpdate
from textual._context import visible_screen_stack
from textual.app import ComposeResult
from textual.containers import Horizontal
from textual.screen import ModalScreen, Screen
from textual.strip import Strip
from textual.timer import Timer
from textual.widgets import Input, Static

from lmchat.domain.event import ReasoningDelta, TextDelta
from lmchat.tui.quirks import frames, pace
from lmchat.tui.quirks.compositor import paint_frugally
from lmchat.tui.quirks.places import place_everywhere, placed
from lmchat.tui.widgets.chat_log import ChatLog
from tests.support.chat_log_app import LogApp, answer, question, streaming
from tests.support.markdown_corpus import MIXED

pytestmark = pytest.mark.usefixtures("colours_of_no_other_test")
WIDE_SIGNS = "漢字漢字漢字 全角 文字 が 端 に 来る。 Ends: 漢 x 漢 xx 漢 xxx 漢字。 🙂 🙂🙂 x🙂\n\n" * 3
UNSURE = "⚠️ 1️⃣ ❤️ 🏳️‍🌈 x 👨‍👩‍👧 and नमस्ते, e\u0301\n\n- ✔️ done\n- ⚠️ not\n\n---\n\n"
"""Signs that the terminal here counts otherwise than we do."""
TEXT = MIXED + UNSURE + WIDE_SIGNS
COLOURS = (ColorSystem.TRUECOLOR, ColorSystem.EIGHT_BIT, ColorSystem.STANDARD)


class Dialog(ModalScreen[None]):
    CSS = "Dialog { align: center middle; background: black 50%; } Dialog Static { width: 30; height: 5; }"

    def compose(self) -> ComposeResult:
        yield Static("a dialog\n漢字漢字漢字\nwith words")


class Painting(LogApp):
    """Draws on a terminal in memory what a real one would be sent; the test says when that one is slow."""

    CSS = """
    Screen { layout: vertical; layers: base over; }
    #body { height: 1fr; } ChatLog { width: 1fr; } Input { height: 1; border: none; }
    #side { width: 14; height: 1fr; border-left: solid red; }
    #over { layer: over; dock: top; width: 21; height: 4; background: blue; }
    """

    def __init__(self, system: ColorSystem, size: tuple[int, int]) -> None:
        super().__init__()
        self.console._color_system = system
        self.columns, self.lines = size
        self.terminal = self.soiled()
        self.is_behind = False
        self.waiting: list = []
        pace.keep_pace(self)

    def get_default_screen(self) -> Screen:
        screen = Screen()
        paint_frugally(screen)
        return screen

    def compose(self) -> ComposeResult:
        with Horizontal(id="body"):
            log = ChatLog()
            log.word_gap_s = 0.0
            yield log
            yield Static("side", id="side")
        yield Input()
        yield Static("in front 漢字", id="over")

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False
        self.query_one("#over").display = False

    def soiled(self) -> pyte.Screen:
        """A terminal with something in each cell that must not stay."""
        screen = pyte.Screen(self.columns, self.lines)
        screen.reset_mode(7, private=True)
        rows = ("#" * self.columns for _ in range(self.lines))
        pyte.Stream(screen).feed("\x1b[45m" + "".join(f"\x1b[{y};1H{row}" for y, row in enumerate(rows, 1)))
        return screen

    def _display(self, screen, renderable):
        if isinstance(renderable, CompositorUpdate):
            text = renderable.render_segments(self.console).replace("\n", "\r\n")
            pyte.Stream(self.terminal).feed(text)
        super()._display(screen, renderable)

    def held(self) -> pyte.Screen:
        """The screen as it would be if all of it were written anew, each cell at its place."""
        visible_screen_stack.set(self._background_screens)
        chops = self.screen._compositor._render_chops(self.screen.size.region, lambda _: True)
        whole = self.soiled()
        pieces = (
            f"\x1b[{y};{x + 1}H{Strip(placed(strip._segments, x)).render(self.console)}"
            for y, row in enumerate(chops, 1)
            for x, strip in row.items()
        )
        pyte.Stream(whole).feed("".join(pieces))
        return whole

    def go_on(self) -> None:
        self.is_behind = False
        waiting, self.waiting = self.waiting, []
        for call in waiting:
            call()

    @property
    def is_quiet(self) -> bool:
        """Whether all that was asked for is painted."""
        clock = self.screen._update_timer
        is_due = clock._active.is_set() if isinstance(clock, Timer) else clock._handle is not None
        return not (is_due or self.screen._dirty_widgets or self.screen._layout_required)


class Steps:
    """What may happen on a screen, at random."""

    def __init__(self, pilot, chance: random.Random) -> None:
        self.pilot, self.app, self.chance = pilot, pilot.app, chance
        self.log = self.app.log_view
        self.text = iter(TEXT * 9)

    async def words(self) -> None:
        kind = ReasoningDelta if self.chance.random() < 0.05 else TextDelta
        await self.log.apply(kind(text="".join(next(self.text) for _ in range(self.chance.randint(1, 60)))))
        if self.log._timer is not None:
            self.log._timer.cancel()
            with self.log._context():
                self.log._show_pending()

    async def scroll(self) -> None:
        self.chance.choice(
            [
                self.log.scroll_page_up,
                self.log.scroll_end,
                self.log.scroll_home,
                lambda: self.log.scroll_to(y=self.log.scroll_y - self.chance.randint(-3, 3)),
            ]
        )()

    async def key(self) -> None:
        self.app.query_one(Input).value = self.chance.choice(["", "typed", "漢字", "typed 漢字 and more"])

    async def side(self) -> None:
        self.app.query_one("#side", Static).update(self.chance.choice(["side", "漢字漢字漢字漢", "a\nb\nc"]))

    async def over(self) -> None:
        widget = self.app.query_one("#over")
        widget.display = not widget.display

    async def hide_side(self) -> None:
        widget = self.app.query_one("#side")
        widget.display = not widget.display

    async def dialog(self) -> None:
        if isinstance(self.app.screen, Dialog):
            await self.app.pop_screen()
        else:
            await self.app.push_screen(Dialog())

    async def toast(self) -> None:
        if self.chance.random() < 0.5:
            self.app.notify("told in passing 漢字", timeout=60)
        else:
            self.app.clear_notifications()

    async def focus(self) -> None:
        self.log.focus_message(-1)

    async def find(self) -> None:
        if self.chance.random() < 0.5:
            self.log.find(self.chance.choice(["a", "the", "漢"]))
        else:
            self.log.clear_find()

    async def select(self) -> None:
        if self.app.screen is self.log.screen:
            await self.pilot.mouse_down(self.log, offset=(self.chance.randint(2, 20), 1))
            await self.pilot.hover(self.log, offset=(self.chance.randint(2, 30), 6))
            if self.chance.random() < 0.5:
                await self.pilot.mouse_up(self.log, offset=(5, 6))

    async def theme(self) -> None:
        self.app.theme = self.chance.choice(["lmchat-dark", "lmchat-light", "lmchat-ansi"])

    async def resize(self) -> None:
        app, before = self.app, (self.app.columns, self.app.lines)
        while before == (app.columns, app.lines):
            app.columns, app.lines = self.chance.randint(30, 90), self.chance.randint(8, 24)
        app.terminal = app.soiled()
        await self.pilot.resize_terminal(app.columns, app.lines)

    async def halt(self) -> None:
        """Let things happen while the terminal reads nothing."""
        self.app.is_behind = True
        for _ in range(self.chance.randint(1, 4)):
            await getattr(self, self.chance.choice([*_RARE[:-1], "words", "scroll"]))()
            await self.pilot.pause()
        self.app.go_on()

    async def settle(self) -> None:
        """Wait until the terminal has all."""
        for _ in range(200):
            await self.pilot.pause()
            if self.app.is_quiet:
                return
        raise AssertionError("it never comes to rest")


_OFTEN = ("words",) * 6 + ("scroll", "halt") * 3
_RARE = (
    "key",
    "side",
    "over",
    "hide_side",
    "dialog",
    "toast",
    "focus",
    "find",
    "select",
    "theme",
    "resize",
    "halt",
)


@pytest.fixture(autouse=True)
def _as_in_lmchat(monkeypatch):
    """Has dialogs paint as there, and lets the app of a test say whether its terminal is behind."""
    monkeypatch.setattr(textual.screen, "Compositor", textual.screen.Compositor)
    monkeypatch.setattr(Segment, "_split_cells", Segment._split_cells)
    place_everywhere()
    for module in (pace, frames):
        monkeypatch.setattr(module, "is_behind", lambda app: app.is_behind)
        monkeypatch.setattr(module, "when_read", lambda app, call: app.waiting.append(call))


async def follow(seed: int, system: ColorSystem, count: int) -> None:
    chance = random.Random(seed)  # noqa: S311 - not a secret
    size = chance.choice([(80, 24), (61, 18), (45, 12)])
    app = Painting(system, size)
    async with app.run_test(size=size) as pilot:
        app.log_view.load([question("What grows?"), answer(TEXT, thought=WIDE_SIGNS), question("And now?")])
        app.log_view.begin_answer(streaming())
        steps, done = Steps(pilot, chance), []
        await steps.settle()
        for _ in range(count):
            name = chance.choice(_OFTEN + _RARE)
            done.append(name)
            await getattr(steps, name)()
            await steps.settle()
            assert_same(app, f"seed {seed}: {' '.join(done)}")


def assert_same(app: Painting, what: str) -> None:
    held, shown = app.held(), app.terminal
    for y in range(app.lines):
        row = [shown.buffer[y][x] for x in range(app.columns)]
        wanted = [held.buffer[y][x] for x in range(app.columns)]
        assert row == wanted, f"row {y} after {what}"


@pytest.mark.parametrize("seed", range(6))
async def test_whatever_happens_the_terminal_shows_the_whole_screen(seed):
    await follow(seed, COLOURS[seed % 3], 25)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(100, 130))
async def test_whatever_happens_for_long_the_terminal_shows_the_whole_screen(seed):
    await follow(seed, COLOURS[seed % 3], 150)
