"""What is written to the terminal is what the screen holds, though only what changed is written."""

from __future__ import annotations

import random

import pyte
import pytest
from rich.color import ColorSystem
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual._compositor import CompositorUpdate
from textual.screen import Screen
from textual.strip import Strip
from textual.widgets import Input, Static

from lmchat.domain.event import TextDelta
from lmchat.tui.quirks.ansi import Pen
from lmchat.tui.quirks.compositor import paint_frugally
from lmchat.tui.quirks.row_changes import Painted, changed_cells, cut, moved
from tests.support.chat_log_app import LogApp, answer, question, streaming
from tests.support.markdown_corpus import MIXED

WIDTH, HEIGHT = 80, 24
pytestmark = pytest.mark.usefixtures("colours_of_no_other_test")
TEXT = MIXED.replace("\u200d", "")  # the terminal of these tests and rich do not agree about joined emoji
RED, BOLD, GROUND = Style.parse("#ff0000 on #000000"), Style.parse("bold"), Style.parse("on #202020")


def drawn(text: str, screen: pyte.Screen | None = None) -> pyte.Screen:
    screen = screen or pyte.Screen(WIDTH, HEIGHT)
    pyte.Stream(screen).feed(text)
    return screen


def written(*segments: Segment) -> str:
    out: list[str] = []
    Pen(ColorSystem.TRUECOLOR).write(segments, out)
    return "".join(out)


@pytest.mark.parametrize(
    "segments",
    [
        [Segment("plain")],
        [Segment("a", RED), Segment("b", BOLD), Segment("c", GROUND), Segment("d")],
        [Segment("a", RED + BOLD), Segment("b", RED), Segment("c", RED + Style(reverse=True))],
        [Segment("a", GROUND), Segment("b", GROUND + Style(italic=True)), Segment("c", Style(dim=True))],
        [Segment("a", Style.parse("red on blue")), Segment("b", Style.parse("bright_green"))],
    ],
)
def test_a_style_behind_another_looks_as_if_it_stood_alone(segments):
    alone = "".join(Strip([segment]).render(Console(color_system="truecolor")) for segment in segments)
    assert drawn(written(*segments)).buffer == drawn(alone).buffer


def test_a_colour_that_stays_is_not_told_again():
    text = written(Segment("a", GROUND), Segment("b", GROUND + BOLD), Segment("c", GROUND + BOLD))
    assert text.count("48;2;32;32;32") == 1
    assert text.endswith("\x1b[0m")


def test_a_link_is_told_to_the_terminal():
    assert "\x1b]8;" in written(Segment("here", Style(link="https://example.org")))


def row(*segments: Segment) -> Strip:
    return Strip(segments).adjust_cell_length(20, GROUND)


def changes(old: Strip, new: Strip) -> tuple[int, str] | None:
    found = changed_cells(Painted(old), Painted(new))
    return found and (found[0], "".join(segment.text for segment in found[1]))


def test_only_the_words_that_came_are_written():
    assert changes(row(Segment("The quick", GROUND)), row(Segment("The quick brown", GROUND))) == (
        9,
        " brown",
    )
    assert changes(row(Segment("same", RED)), row(Segment("same", RED))) is None
    assert changes(
        row(Segment("a", RED), Segment("bc", BOLD)), row(Segment("a", RED), Segment("bd", BOLD))
    ) == (
        2,
        "d",
    )


def test_what_stood_there_is_overwritten_and_no_more():
    assert changes(row(Segment("long words", GROUND)), row(Segment("no", GROUND))) == (0, "no        ")


def test_another_style_is_written_though_the_text_is_the_same():
    assert changes(row(Segment("same", RED)), row(Segment("same", BOLD))) == (0, "same")


@pytest.mark.parametrize("text", ["e\u0301", "\U0001f642", "\U0001f469\u200d\U0001f52c", "a\ufe0f"])
def test_a_row_whose_width_terminals_do_not_agree_about_is_written_whole(text):
    found = changes(row(Segment(text, GROUND)), row(Segment(text + " more", GROUND)))
    assert found is not None
    assert found[0] == 0
    assert len(found[1].rstrip()) < len(found[1])


class Drawing(LogApp):
    """Draws on a terminal in memory what a real one would be sent."""

    CSS = LogApp.CSS + "Screen { layers: base top; } #over { layer: top; dock: top; width: 20; height: 5; }"

    def __init__(self) -> None:
        super().__init__()
        self.console._color_system = ColorSystem.TRUECOLOR
        self.terminal = pyte.Screen(WIDTH, HEIGHT)
        self.sent = 0

    def get_default_screen(self) -> Screen:
        screen = Screen()
        paint_frugally(screen)
        return screen

    def compose(self):
        yield from super().compose()
        yield Static("in front", id="over")

    def _display(self, screen, renderable):
        if isinstance(renderable, CompositorUpdate):
            data = renderable.render_segments(self.console).replace("\n", "\r\n")
            self.sent += len(data)
            drawn(data, self.terminal)
        super()._display(screen, renderable)

    def on_mount(self) -> None:
        self.query_one(Input).cursor_blink = False

    def held(self) -> pyte.Screen:
        """The screen as it would be if all of it were written anew, each cell at its place."""
        chops = self.screen._compositor._render_chops(self.size.region, lambda _: True)
        return drawn(
            "".join(
                f"\x1b[{y};{x + 1}H{strip.render(self.console)}"
                for y, row in enumerate(chops, 1)
                for x, strip in row.items()
            )
        )


def assert_same(app: Drawing, step: str) -> None:
    held = app.held()
    for y in range(HEIGHT):
        assert app.terminal.display[y] == held.display[y], (step, y)
        assert [app.terminal.buffer[y][x] for x in range(WIDTH)] == [
            held.buffer[y][x] for x in range(WIDTH)
        ], (
            step,
            y,
        )


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_happens_the_terminal_shows_what_the_screen_holds(seed):
    chance = random.Random(seed)  # noqa: S311 - not a secret
    async with Drawing().run_test(size=(WIDTH, HEIGHT)) as pilot:
        app = pilot.app
        log, over = app.log_view, app.query_one("#over")
        over.display = False
        log.load([question("What grows?"), answer(TEXT), question("And now?")])
        log.begin_answer(streaming())
        text = iter(TEXT * 3)
        steps = {
            "words": lambda: log.apply(TextDelta(text="".join(next(text, " ") for _ in range(40)))),
            "up": log.scroll_page_up,
            "down": log.scroll_end,
            "line": lambda: log.scroll_to(y=log.scroll_y - 1),
            "key": lambda: setattr(app.query_one(Input), "value", f"typed {chance.random()}"),
            "over": lambda: setattr(over, "display", not over.display),
            "focus": lambda: log.focus_message(-1),
            "find": lambda: log.find(chance.choice("aei")),
        }
        for _ in range(15):
            step = chance.choice(["words"] * 8 + list(steps))
            if step == "words":
                await steps[step]()
                log.flush()
            else:
                steps[step]()
            await pilot.pause()
            assert_same(app, step)


async def test_a_word_costs_a_few_bytes():
    async with Drawing().run_test(size=(WIDTH, HEIGHT)) as pilot:
        app = pilot.app
        app.query_one("#over").display = False
        app.log_view.begin_answer(streaming("Some words"))
        await pilot.pause()
        for word in (" more", " each", " time"):
            app.sent = 0
            await app.log_view.apply(TextDelta(text=word))
            app.log_view.flush()
            await pilot.pause()
        assert "Some words more each time" in app.terminal.display[0]
        assert app.sent < 150


LOOKS = (RED, GROUND, BOLD, GROUND + BOLD, Style(underline=True), Style(reverse=True), None)
SIGNS = ("a", "b", " ", "  ", "      ", "漢", "é", "e\u0301", "🙂", "─")


PLAIN_SIGNS = tuple(sign for sign in SIGNS if len(sign) == 1 or sign.isspace())
"""Those that lose nothing where a row is cut behind them."""


def any_row(chance: random.Random, width: int, signs: tuple[str, ...]) -> Strip:
    """A row of words, blanks and wide signs; the terminal of these tests counts as we do."""
    segments = [
        Segment("".join(chance.choices(signs, k=chance.randint(1, 5))), chance.choice(LOOKS))
        for _ in range(chance.randint(0, 4))
    ]
    return Strip(segments).adjust_cell_length(width, chance.choice(LOOKS))


def cells(screen: pyte.Screen, width: int) -> list[object]:
    """What stands in the first row; where it is blank, the colour of letters is not seen."""
    return [
        char if char.data.strip() or char.underscore or char.reverse else char._replace(fg="", bold=False)
        for char in (screen.buffer[0][x] for x in range(width))
    ]


@pytest.mark.parametrize("seed", range(6))
def test_a_row_behind_another_looks_as_if_it_stood_alone(seed):
    chance = random.Random(seed)  # noqa: S311 - not a secret
    for _ in range(60):
        width = chance.randint(8, 24)
        seen = width - chance.choice([0, 0, 1])  # a scrollbar may stand on the last cell
        signs = SIGNS if seen == width else PLAIN_SIGNS
        old, new = Painted(any_row(chance, width, signs)), Painted(any_row(chance, width, signs))
        for is_moved in (True, False):
            assert_follows(old, new, seen, is_moved=is_moved)


def assert_follows(old: Painted, new: Painted, seen: int, *, is_moved: bool) -> None:
    pen = Pen(ColorSystem.TRUECOLOR)
    screen = drawn(pen.written((0, old.segments))[1])
    if is_moved:
        piece = moved(old, new, seen, pen)
    else:
        run = changed_cells(old, new)
        piece = run and pen.written(cut(run, seen))
    if piece is None:
        assert is_moved or old.segments == new.segments
        return
    drawn(f"\x1b[1;{seen + 1}H|\x1b[1;{piece[0] + 1}H{piece[1]}", screen)
    assert screen.buffer[0][seen].data == "|", "what stands behind is not ours"
    wanted = drawn(pen.written((0, new.segments))[1])
    if not wanted.buffer[0][seen].data:  # half of a wide sign would be seen
        seen -= 1
    assert cells(screen, seen) == cells(wanted, seen), (old.segments, new.segments, is_moved)


def test_a_row_of_which_a_terminal_may_count_other_cells_is_not_written_in_part():
    old, new = Painted(row(Segment("  words", GROUND))), Painted(row(Segment("  e\u0301", GROUND)))
    assert moved(old, new, 20, Pen(ColorSystem.TRUECOLOR)) is None
    assert moved(new, old, 20, Pen(ColorSystem.TRUECOLOR)) is None


def test_a_style_that_is_gone_gives_its_place_to_no_other():
    pen = Pen(ColorSystem.TRUECOLOR)
    for number in range(200):
        same = Style(color="#ff0000", bold=True)
        assert "38;2;255;0;0" in pen.written((0, [Segment("x", same)]))[1]
        del same
        other = Style(color=f"#0000{number:02x}", bold=True)  # mostly where the other one was
        assert f"38;2;0;0;{number}m" in pen.written((0, [Segment("x", other)]))[1]
        del other
