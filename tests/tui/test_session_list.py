from __future__ import annotations

import pytest
from msgspec.structs import replace

from lmchat.services.library import SessionGroup
from lmchat.tui.widgets.row_list import RowList
from lmchat.tui.widgets.session_list import SessionList
from tests.support.look_data import GROUPS, OPEN_ID, UNREAD, header
from tests.support.tui_host import Host, screen_text, text_of

WIDE = (120, 40)


def host(
    groups=GROUPS, *, open_id=OPEN_ID, streaming=(), unread=UNREAD, **more
) -> tuple[Host, SessionList]:
    sessions = SessionList()
    app = Host(
        sessions, before=lambda app: sessions.show(groups, open_id, streaming, unread), **more
    )
    return app, sessions


@pytest.fixture
async def pilot():
    async with host()[0].run_test(size=WIDE) as pilot:
        yield pilot


@pytest.fixture
def sessions(app):
    return app.left


def rows_of(sessions: SessionList) -> list[str]:
    return text_of(sessions.query_one(RowList)).split("\n")


def facts(app: Host, kind: type) -> list:
    return [fact for fact in app.facts if isinstance(fact, kind)]


async def test_groups_marks_and_forks_are_shown(sessions):
    rows = [row.rstrip() for row in rows_of(sessions)]
    assert rows[:6] == [
        "Pinned",
        " Garden, all year",
        "",
        "Today",
        "▌Plan for the garden",
        " SSE parsing, the e…  •",
    ]
    assert " └ with the train" in rows


async def test_what_streams_out_of_sight_is_marked_otherwise_than_what_is_unread():
    app, sessions = host(streaming={f"{4:016x}"})
    async with app.run_test(size=WIDE):
        rows = rows_of(sessions)
        assert next(row for row in rows if "Regex" in row).endswith("↓")
        assert next(row for row in rows if "SSE" in row).endswith("•")


@pytest.mark.parametrize(
    ("key", "name"),
    [
        *(("n", "rename"), ("p", "pin"), ("a", "archive"), ("d", "delete"), ("u", "undo")),
        ("g", "tag"),
    ],
)
async def test_letters_ask_for_what_shall_be_done(app, sessions, pilot, key, name):
    sessions.focus()
    await pilot.press("home", key)
    wanted = facts(app, SessionList.ActWanted)
    assert [(fact.name, fact.session_id) for fact in wanted] == [(name, f"{1:016x}")]


async def test_the_last_and_the_first_are_one_key_away_and_nothing_is_beyond(sessions, pilot):
    sessions.focus()
    await pilot.press("end", "down")
    assert sessions.chosen_id == f"{10:016x}"
    await pilot.press("home", "up")
    assert sessions.chosen_id == f"{1:016x}"


async def test_the_bar_is_blue_only_where_the_keys_go(sessions, pilot):
    rows = sessions.query_one(RowList)
    before = [segment.style.color.name for segment in rows.render_line(4) if "▌" in segment.text]
    sessions.focus()
    await pilot.pause()
    after = [segment.style.color.name for segment in rows.render_line(4) if "▌" in segment.text]
    assert before == ["#9fa8b6"]
    assert after == ["#8fb8ff"]


async def test_a_slash_filters_titles_and_enter_opens_the_first(app, sessions, pilot):
    sessions.focus()
    await pilot.press("slash", *"TRAIN")
    assert [row.strip() for row in rows_of(sessions) if row.strip()] == [
        "Yesterday",
        "└ with the train",
    ]
    await pilot.press("enter")
    assert [fact.session_id for fact in facts(app, SessionList.Opened)] == [f"{6:016x}"]


async def test_tags_stand_behind_the_title_where_there_is_room_and_are_filtered_by():
    tagged = [
        replace(header(1, "Plan"), tags=("garden", "spring")),
        replace(header(2, "A title that fills the row"), tags=("garden",)),
        header(3, "No #garden here"),
    ]
    app, sessions = host(
        [SessionGroup(name="Today", headers=tuple(tagged))], open_id=None, unread=()
    )
    async with app.run_test(size=WIDE) as pilot:
        assert [row.rstrip() for row in rows_of(sessions)[1:3]] == [
            " Plan #garden #spring",
            " A title that fills th…",
        ]
        sessions.focus()
        await pilot.press("slash", *"#GAR p")
        assert [row.strip() for row in rows_of(sessions)[1:] if row.strip()] == [
            "Plan #garden #spring"
        ]


async def test_escape_gives_the_filter_up_and_keeps_the_focus_in_the_list(app, sessions, pilot):
    sessions.focus()
    await pilot.press("slash", *"train", "escape")
    assert app.focused is sessions
    assert "Pinned" in rows_of(sessions)[0]


async def test_a_filter_without_a_match_offers_the_search_of_all_words(app, sessions, pilot):
    sessions.focus()
    await pilot.press("slash", *"zebra")
    assert "No title has “zebra”." in " ".join(row.strip() for row in rows_of(sessions))
    await pilot.press("enter")
    assert [fact.query for fact in facts(app, SessionList.SearchWanted)] == ["zebra"]


async def test_down_leaves_the_filter_for_what_it_found(app, sessions, pilot):
    sessions.focus()
    await pilot.press("slash", *"the", "down", "down", "enter")
    assert [fact.session_id for fact in facts(app, SessionList.Opened)] == [f"{3:016x}"]


async def test_an_empty_list_says_how_to_begin_and_offers_no_session():
    app, sessions = host(groups=(), open_id=None)
    async with app.run_test(size=WIDE) as pilot:
        text = " ".join(row.strip() for row in rows_of(sessions)).strip()
        assert text == "No sessions. Your next message starts one."
        sessions.focus()
        await pilot.press("enter", "d", "u")
        assert facts(app, SessionList.Opened) == []
        assert [(fact.name, fact.session_id) for fact in facts(app, SessionList.ActWanted)] == [
            ("undo", "")
        ]


async def test_a_click_opens_what_it_hits_and_a_heading_is_nothing():
    app, _ = host()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.click(RowList, offset=(5, 5))
        await pilot.click(RowList, offset=(5, 3))
        await pilot.pause()
        assert [fact.session_id for fact in facts(app, SessionList.Opened)] == [f"{3:016x}"]


async def test_ten_thousand_sessions_draw_only_what_is_in_view():
    headers = tuple(header(number, f"Session {number}") for number in range(10_000))
    app, sessions = host(
        [SessionGroup(name="All", headers=headers)], open_id=headers[5_000].session_id, unread=()
    )
    async with app.run_test(size=WIDE) as pilot:
        rows = sessions.query_one(RowList)
        drawn: list[int] = []
        render, rows.render_line = rows.render_line, lambda y: drawn.append(y) or render(y)
        sessions.focus()
        await pilot.press("end")
        assert "Session 9999" in text_of(rows)
        assert len(drawn) < 8 * rows.size.height


async def test_how_many_there_are_is_told_for_a_large_group():
    sessions = SessionList()
    groups = [SessionGroup(name="Today", headers=tuple(header(n, f"S {n}") for n in range(12)))]
    few = SessionGroup(name="November", headers=tuple(header(n, f"S {n}") for n in range(12, 16)))
    app = Host(sessions, before=lambda _: sessions.show([*groups, few], None))
    async with app.run_test(size=WIDE):
        rows = [row.split() for row in rows_of(sessions)]
        assert ["Today", "12"] in rows
        assert ["November"] in rows


async def test_the_open_session_is_in_view_wherever_it_stands():
    headers = tuple(header(number, f"Session {number}") for number in range(500))
    app, _ = host(
        [SessionGroup(name="All", headers=headers)], open_id=headers[400].session_id, unread=()
    )
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        assert "▌Session 400" in screen_text(app)


async def test_the_choice_stays_with_its_session_when_the_list_changes(sessions, pilot):
    sessions.focus()
    await pilot.press("end")
    fresh = SessionGroup(name="Today", headers=(header(99, "Brand new"),))
    sessions.show((fresh, *GROUPS), OPEN_ID, (), ())
    assert sessions.chosen_id == f"{10:016x}"


async def test_after_a_deletion_the_next_one_is_chosen(sessions, pilot):
    sessions.focus()
    await pilot.press("home")
    sessions.show(GROUPS[1:], OPEN_ID, (), ())
    assert sessions.chosen_id == f"{2:016x}"


async def test_titles_cannot_write_to_the_terminal():
    evil = replace(header(1, ""), title="a\x1b[2Jb\nc\u202ed")
    app, _ = host([SessionGroup(name="To\x1bday", headers=(evil,))], open_id=None)
    async with app.run_test(size=WIDE):
        text = screen_text(app)
        assert "a␛[2Jb c" in text
        assert "\x1b" not in text
        assert "\u202e" not in text


async def test_wide_characters_do_not_break_the_column():
    group = SessionGroup(name="今日", headers=(header(1, "庭の計画をいま立てる、とても長い題"),))
    app, sessions = host([group], unread={f"{1:016x}"})
    async with app.run_test(size=WIDE):
        assert rows_of(sessions)[1].endswith("…  •")
