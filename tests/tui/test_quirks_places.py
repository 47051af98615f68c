"""What stands behind a sign of unsure width is where we count it, on a terminal that counts otherwise.

The terminal in memory is such a one, as tmux 3.3a is: one cell for ⚠️ and 1️⃣, four for a flag and 👍🏽.
"""

from __future__ import annotations

import pyte
import pytest
from rich.cells import cell_len
from rich.console import Console
from rich.segment import Segment
from rich.style import Style
from textual import screen
from textual._compositor import CompositorUpdate
from textual.app import App, ComposeResult
from textual.containers import Horizontal
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from lmchat.tui.quirks.compositor import paint_frugally
from lmchat.tui.quirks.places import PlacedCompositor, place_everywhere, placed

SIGNS = ("⚠️", "1️⃣", "❤️", "🏳️‍🌈", "🇩🇪", "🇩🇪🇫🇷", "👍🏽", "👨‍👩‍👧", "☝🏽", "🫱🏻‍🫲🏿", "नमस्ते", "e\u0301", "🙂")
WIDTH = 60
SIDE = "│ side"
RULE = "─" * (WIDTH - len(SIDE))


def shown(text: str) -> list[str]:
    """Return the cells of a row."""
    terminal = pyte.Screen(WIDTH, 1)
    terminal.reset_mode(7, private=True)
    pyte.Stream(terminal).feed(text)
    return [terminal.buffer[0][x].data for x in range(WIDTH)]


def written(text: str, x: int = 0) -> str:
    return "".join(text for text, _, _ in placed([Segment(text)], x))


@pytest.mark.parametrize("sign", SIGNS)
def test_what_stands_behind_a_sign_is_where_we_count_it(sign):
    cells = shown(f"\x1b[1G{RULE}\x1b[1G" + written(f"a {sign} b"))
    place = cell_len(f"a {sign} ")
    assert cells[place] == "b"
    assert "─" not in cells[:place]


@pytest.mark.parametrize("whole", ["🇩🇪", "👍🏽", "👨‍👩‍👧", "नमस्ते", "مرحبا", "e\u0301"])
def test_what_belongs_together_is_written_at_once(whole):
    assert whole in written(f"a {whole} b", 7)


def test_two_flags_without_a_gap_are_written_at_once():
    assert "🇩🇪🇫🇷" in written("🇩🇪🇫🇷")


def test_what_stands_behind_a_sign_whose_parts_differ_in_style_is_where_we_count_it():
    parts = placed([Segment("⚠", Style(bold=True)), Segment("\ufe0f and on")], 0)
    assert "".join(text for text, _, _ in parts) == "⚠\ufe0f\x1b[2G and on"


@pytest.mark.parametrize("text", ["plain", "Größe — “so” …", "漢字 かな 한글", "│ ─ ▌ ✓ ● ▸", "␛[2J ␀␡"])
def test_where_terminals_agree_nothing_is_added(text):
    assert written(text) == text


def test_a_sign_costs_few_bytes_and_a_word_of_letters_no_more():
    assert len(written("⚠️")) - len("⚠️") <= 12
    assert len(written("مرحبا")) - len("مرحبا") <= 15


class Over(ModalScreen[None]):
    CSS = "Over { align: left bottom; background: black 50%; } Over Static { width: 9; height: 1; }"

    def __init__(self) -> None:
        super().__init__()
        self._compositor = PlacedCompositor()

    def compose(self) -> ComposeResult:
        yield Static("in front")


class Beside(App[None]):
    """Rows with signs, and something beside them."""

    CSS = "Horizontal { height: 3; } #rows { width: 1fr; } #side { width: 6; }"

    def __init__(self) -> None:
        super().__init__()
        self.terminal = pyte.Screen(WIDTH, 3)
        self.terminal.reset_mode(7, private=True)

    def get_default_screen(self) -> Screen:
        base = Screen()
        paint_frugally(base)
        return base

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(RULE, id="rows")
            yield Static("\n".join([SIDE] * 3), id="side")

    def _display(self, shown_screen, renderable):
        if isinstance(renderable, CompositorUpdate):
            text = renderable.render_segments(Console(color_system="truecolor")).replace("\n", "\r\n")
            pyte.Stream(self.terminal).feed(text)
        super()._display(shown_screen, renderable)

    def rows(self) -> list[str]:
        buffer = self.terminal.buffer
        return ["".join(buffer[y][x].data for x in range(WIDTH)) for y in range(3)]


@pytest.mark.parametrize("sign", SIGNS)
async def test_nothing_of_a_row_stays_behind_a_sign_and_nothing_beside_it_moves(sign):
    async with Beside().run_test(size=(WIDTH, 3)) as pilot:
        rows, app = pilot.app.query_one("#rows", Static), pilot.app
        await pilot.pause()
        rows.update(f"{sign} and on\n{sign * 3}\n{RULE}")
        await pilot.pause()
        assert_beside(app, "xx-")  # the rows alone were written
        app.refresh(repaint=True, layout=True)
        await pilot.pause()
        assert_beside(app, "xx-")  # all of the screen was
        await app.push_screen(Over())
        rows.update(f"{sign} and more\n{RULE}\n{sign}")
        await pilot.pause()
        assert_beside(app, "x-x")  # it was cut in pieces


class InPieces(Beside):
    """Where something stands in front, Textual cuts the rows and writes the pieces."""

    def get_default_screen(self) -> Screen:
        base = Screen()
        base._compositor = PlacedCompositor()
        return base


@pytest.mark.parametrize("kind", [Beside, InPieces])
@pytest.mark.parametrize("sign", SIGNS)
async def test_a_sign_at_the_edge_of_a_widget_leaves_its_neighbour_whole(sign, kind):
    async with kind().run_test(size=(WIDTH, 3)) as pilot:
        rows, app = pilot.app.query_one("#rows", Static), pilot.app
        await pilot.pause()
        room = len(RULE) - cell_len(sign)
        rows.update(f"{RULE}\n{'x' * room}{sign}\n{'x' * (room - 1)}{sign}y")
        await pilot.pause()
        assert [row[-len(SIDE) :] for row in app.rows()] == [SIDE] * 3


def test_every_screen_is_painted_like_this(monkeypatch):
    monkeypatch.setattr(screen, "Compositor", screen.Compositor)  # put right again afterwards
    monkeypatch.setattr(Segment, "_split_cells", Segment._split_cells)
    place_everywhere()
    assert isinstance(ModalScreen()._compositor, PlacedCompositor)
    assert Segment("✔️ done").split_cells(1)[1].text == "  done"


def assert_beside(app: Beside, rules: str) -> None:
    """Hold each row to ending with what stands beside it, and to holding a rule (-) or nothing of one (x)."""
    for row, kind in zip(app.rows(), rules, strict=True):
        assert row.rstrip().endswith(SIDE), row
        assert ("─" in row) == (kind == "-"), row
