from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.content import Content

from lmchat.app.tui.widgets.line import (
    cut_apart,
    cut_middle,
    fit,
    parted,
    same_characters,
    shared_beginnings,
    short_names,
    styled,
)
from lmchat.app.tui.widgets.telemetry_panel import meter, spark

WORDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "M", "Z"]), max_size=30)


def plain(parts) -> str:
    return "".join(text for text, _ in parts)


def test_whole_pieces_go_from_the_right_and_the_right_part_is_never_cut():
    for pieces, right, width, line in (
        (["answering", " 4.1 s", " 171 tok"], "Esc stop", 30, "answering 4.1 s       Esc stop"),
        (["Plan for the garden"], "now", 15, "Plan for …  now"),
        (["elapsed"], "3 362 of 8 192", 12, "3 362 of 8 192"),
    ):
        assert fit([Content(piece) for piece in pieces], Content(right), width).plain == line


def test_bars_start_at_zero_and_a_failure_is_a_cross():
    for values, width, at_least, bars in (
        ((8.0, 4.0, None, 1.0), 6, 0, "  █▄×▁"),
        (tuple(float(n) for n in range(100)), 2, 0, "██"),
        ((1.0, 2.0), 2, 8.0, "▁▂"),
        ((), 5, 0, "     "),
        ((0.0,), 0, 0, ""),
    ):
        assert plain(spark(values, width, at_least=at_least)) == bars


@given(st.lists(WORDS, min_size=1, max_size=4), WORDS, st.integers(0, 60))
def test_a_line_fills_exactly_its_width_unless_the_right_part_alone_is_wider(left, right, width):
    line = fit([Content(piece) for piece in left], Content(right), width)
    assert line.cell_length == max(width, cell_len(right))


def test_an_address_loses_its_middle():
    assert cut_middle("gpu-box.example.org:1234", 15) == "gpu-box…rg:1234"


@example("¡🏻", 2)  # a character of three cells
@given(st.lists(WORDS.filter(bool), min_size=1, max_size=8).map(" ".join), st.integers(2, 60))
def test_a_title_of_two_rows_loses_no_wide_character_between_them(title, width):
    first, rest = parted(title, width)
    assert title in (first + rest, f"{first} {rest}")
    assert cell_len(first) <= width


def test_a_name_that_would_look_like_another_loses_its_middle_and_no_other_does():
    names = ["gemma-3-4b-it-Q4_K_M", "gemma-3-4b-it-Q8_0", "phi-4-mini-instruct-fp16", "phi-4"]
    shared = shared_beginnings(names)
    assert shared == {
        name: max(same_characters(name, other) for other in names if other != name)
        for name in names
    }
    for width, seen in (
        (24, names),
        (12, ["gemma-…4_K_M", "gemma-…-Q8_0", "phi-4-mini-…", "phi-4"]),
    ):
        shown = [cut_apart(name, width, shared[name]) for name in names]
        assert list(short_names(names, width).values()) == [
            seen[names.index(name)] for name in sorted(names)
        ]
        assert [fit([styled(name)], styled(""), width).plain.rstrip() for name in shown] == seen


def test_a_meter_stays_in_its_row_and_tells_by_colour_only_when_room_gets_short():
    assert plain(meter(None, 4)) == "────"
    assert plain(meter(7.0, 4)) == "━━━━"
    assert meter(0.5, 4) == (("━━", "$meter"), ("──", "$text-disabled"))
    for used, style in ((6553, "$meter"), (6554, "$warning"), (7782, "$warning"), (7783, "$error")):
        assert meter(used / 8192, 10)[0][1] == style, used
