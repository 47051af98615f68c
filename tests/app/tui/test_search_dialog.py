from __future__ import annotations

from datetime import timedelta

from msgspec.structs import replace

from lmchat.app.tui.dialogs.search_dialog import SearchDialog, match_in_context
from lmchat.app.tui.widgets.row_list import RowList
from lmchat.base.errors import StoreUnavailable
from tests.support.look_data import HITS, NOW, search_dialog
from tests.support.tui_host import Host, drawn, screen_text


async def test_hits_are_shown_with_who_when_and_the_words_around():
    searches = []

    async def search(query, *, limit):
        searches.append((query, limit))
        if query == "sh":
            raise StoreUnavailable("The store cannot be read\x1b[2J")
        return HITS

    async with drawn(Host(screen=lambda: SearchDialog(search, lambda: NOW))) as (app, pilot):
        await pilot.press(*"sha", "backspace")
        await pilot.pause()
        assert searches[-1] == ("sh", 100)  # every change is searched
        assert "The store cannot be read␛[2J" in screen_text(app)
        await pilot.press(*"ade")
        await pilot.pause()
        text = screen_text(app)
        assert "4 hits in 3 sessions" in text
        assert text.count("Plan for the garden") == 1  # above its two hits
        await pilot.click(RowList, offset=(10, 2))
        await pilot.pause()
        assert app.results == [HITS[1]]


async def test_a_hit_of_another_day_or_place_and_a_title_say_so():
    yesterday = replace(HITS[1], created_at=NOW - timedelta(days=1), kind="reasoning")
    title = replace(HITS[3], message_id="", role="", kind="title", title="Half Shade and more")
    async with drawn(Host(screen=lambda: search_dialog([HITS[0], yesterday, title]))) as (
        app,
        pilot,
    ):
        await pilot.press(*"shade")
        await pilot.pause()
        text = screen_text(app)
        assert "thought · yesterday 14:02" in text
        assert text.count("Half Shade and more") == 1
        await pilot.press("down", "down", "enter")
        assert app.results == [title]


def shown(before: str, after: str, width: int) -> str:
    hit = replace(HITS[0], before=before, after=after)
    return "".join(text for text, _ in match_in_context(hit, width))


def test_marks_of_markdown_are_left_out_and_no_sign_of_arithmetic_or_code():
    for before, after, words in (
        ("## Leaves **in ", "** light", "Leaves in shade light"),
        (
            "see `half ",
            "` and [the ~~old~~ notes](https://example.org/a).",
            "see half shade and the old notes.",
        ),
        ("more in [the ", " notes](https://example.org/a).", "more in the shade notes."),
        ("*half ", "*, ***full*** sun", "half shade, full sun"),
        (
            "```python def f(*args, **",
            "): 3 * 4 - 2*3 # one",
            "def f(*args, shade): 3 * 4 - 2*3 # one",
        ),
        ("| a | b | |---|:-:| | ", " | d |", "| a | b |  | shade | d |"),
        ("snake_case __init__ ", " a > b", "snake_case __init__ shade a > b"),
    ):
        assert shown(before, after, 80).strip() == words


async def test_a_hundred_hits_are_shown_and_more_are_told_by_a_sign():
    many = [replace(HITS[0], message_id=f"m{number}", title="") for number in range(101)]
    async with drawn(Host(screen=lambda: search_dialog(many))) as (app, pilot):
        await pilot.press(*"shade")
        await pilot.pause()
        assert "100+ hits in 1 session" in screen_text(app)
        assert "Untitled" in screen_text(app)
        await pilot.press(*["pagedown"] * 40, "enter")
        assert app.results == [many[99]]


async def test_nothing_found_says_what_may_help_and_enter_takes_nothing():
    async with drawn(Host(screen=lambda: search_dialog(()))) as (app, pilot):
        await pilot.press(*"shade", "space", *"has:code")
        await pilot.pause()
        assert "No hits for “shade has:code”. Try fewer words." in screen_text(app)
        await pilot.press("enter", "down")
        assert app.results == []


def test_words_before_a_hit_without_room_for_all_begin_with_a_whole_word():
    before = "Whatever has to ripen a fruit needs sun; leaves need little, so a bed in "
    for width in range(24, 60):
        start, _, after = shown(before, " is a slow one", width).partition("shade")
        assert len(f"{start}shade{after[: width // 3]}") <= width
        cut, _, words = start.partition(" ")
        assert cut == "…"
        assert f" {words}" in f" {before}"
