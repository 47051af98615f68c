from __future__ import annotations

from msgspec.structs import replace

from lmchat.app.tui.messages import RunCommand
from lmchat.app.tui.widgets.row_list import RowList
from lmchat.app.tui.widgets.session_list import SessionList, with_unsaved
from lmchat.core.sessions.session import SessionGroup
from tests.support.look_data import GROUPS, NOW, OPEN_ID, UNREAD, header
from tests.support.tui_host import Host, screen_text, text_of

WIDE = (120, 40)


def host(groups=GROUPS, *, open_id=OPEN_ID, unread=UNREAD) -> tuple[Host, SessionList]:
    sessions = SessionList()
    app = Host(
        sessions, before=lambda _: sessions.show(groups, open_id, today=NOW.date(), unread=unread)
    )
    return app, sessions


def rows_of(sessions: SessionList) -> list[str]:
    return text_of(sessions.query_one(RowList)).split("\n")


def words_of(sessions: SessionList) -> list[str]:
    return [row.strip() for row in rows_of(sessions) if row.strip()]


def opened(app: Host) -> list[str]:
    acts = app.of(SessionList.ActRequested)
    return [fact.session_id for fact in acts if fact.command_id == "session.open"]


def session_id(number: int) -> str:
    return f"{number:016x}"


async def test_keys_walk_the_list_and_ask_for_what_shall_be_done():
    app, sessions = host()
    async with app.run_test(size=WIDE) as pilot:
        sessions.focus()
        await pilot.pause()
        await pilot.press("end", "down")
        assert sessions.chosen_id == session_id(10)
        await pilot.press("home", "up")
        assert sessions.chosen_id == session_id(1)
        await pilot.press("n", "p", "a", "d", "u", "g")
        assert app.commands == ["session.undo"]
        asked = ["rename", "pin", "archive", "delete", "tag"]
        assert [
            (fact.command_id, fact.session_id) for fact in app.of(SessionList.ActRequested)
        ] == [(f"session.{name}", session_id(1)) for name in asked]
        await pilot.click(RowList, offset=(5, 7))  # the second row of a session
        await pilot.click(RowList, offset=(5, 4))  # a heading
        await pilot.click(RowList, offset=(5, 33))  # below all rows
        await pilot.pause()
        assert opened(app) == [session_id(3)]
        sessions.show(GROUPS, session_id(99), today=NOW.date())  # before its first prompt
        first_prompt = SessionGroup(name="Today", headers=(header(99, "Hello"),))
        sessions.show([first_prompt, *GROUPS], session_id(99), today=NOW.date())
        assert sessions.chosen_id == session_id(99)


async def test_the_second_row_of_a_session_has_its_time_or_what_it_waits_for_and_its_tags():
    app, sessions = host()
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        long = header(1, "a" * 60, tags=("garden", "vegetables", "balcony"))
        tagged = header(2, "Short", tags=("garden", "vegetables", "balcony"))
        last_year = header(3, "Old", changed=NOW.replace(year=2025, month=2, day=3))
        group = SessionGroup(name="All", headers=(long, tagged, last_year))
        sessions.show(
            [group],
            "",
            today=NOW.date(),
            streaming={session_id(1)},
            with_question={session_id(2)},
        )
        await pilot.pause()
        assert [row.rstrip() for row in rows_of(sessions)][1:7] == [
            f" {'a' * 22}",
            f" {'a' * 12}…  ↓ 14:02",
            " Short",
            " #garden…  ! asks 14:02",
            " Old",
            "             3 Feb 2025",
        ]


async def test_titles_that_differ_only_at_their_end_keep_it():
    titles = [f"Which vegetables grow on the north side of wall {number}" for number in (1, 2)]
    headers = tuple(header(number, title) for number, title in enumerate(titles, 1))
    app, sessions = host((SessionGroup(name="Today", headers=headers),), unread=frozenset())
    sessions.styles.display = "block"
    sessions.styles.width = 44
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        assert ["of wall 1" in row for row in words_of(sessions) if "Which" in row] == [True, False]
        assert ["of wall 2" in row for row in words_of(sessions) if "Which" in row] == [False, True]


async def test_a_slash_filters_titles_and_enter_opens_or_searches():
    app, sessions = host()
    async with app.run_test(size=WIDE) as pilot:
        sessions.focus()
        await pilot.press("slash", *"TRAIN")
        assert words_of(sessions) == ["Yesterday", "└ with the train", "21:40"]
        await pilot.press("down", "slash", *"train")  # in place of the first
        assert words_of(sessions) == ["Yesterday", "└ with the train", "21:40"]
        await pilot.press("enter", "escape")
        await pilot.press("slash", *"the ", "down", "down", "enter")
        assert opened(app) == [
            session_id(7),
            session_id(8),
        ]
        await pilot.press("escape", "slash", *"train", "escape")
        assert app.focused is sessions
        assert "Pinned" in rows_of(sessions)[0]
        await pilot.press("slash", "down")  # an empty filter goes
        assert app.focused is sessions
        assert not sessions.query_one("#session-filter").display
        await pilot.press("slash", *"zebra")
        assert "No title has “zebra”." in " ".join(words_of(sessions))
        await pilot.press("enter")
        assert [(fact.command_id, fact.argument) for fact in app.of(RunCommand)] == [
            ("search", "zebra")
        ]


async def test_an_empty_list_says_how_to_begin_once_it_was_read_and_offers_no_session():
    sessions = SessionList()
    app = Host(sessions)
    async with app.run_test(size=WIDE) as pilot:
        assert words_of(sessions) == []
        sessions.show((), "", today=NOW.date())
        await pilot.pause()
        assert " ".join(words_of(sessions)) == "No sessions. Your next message starts one."
        problem = "sessions.db cannot be used: the disk is full."
        sessions.show((), "", today=NOW.date(), problem=problem)
        await pilot.pause()
        assert " ".join(words_of(sessions)) == problem
        sessions.focus()
        await pilot.press("enter", "d", "u")
        assert opened(app) == []
        assert app.of(SessionList.ActRequested) == []
        assert app.commands == ["session.undo"]


async def test_of_ten_thousand_sessions_only_what_is_in_view_is_drawn():
    headers = tuple(header(number, f"Session {number}") for number in range(10_000))
    app, sessions = host(
        [SessionGroup(name="All", headers=headers)], open_id=headers[400].session_id, unread=()
    )
    async with app.run_test(size=WIDE) as pilot:
        await pilot.pause()
        assert "▌Session 400" in screen_text(app)
        rows = sessions.query_one(RowList)
        drawn: list[int] = []
        render, rows.render_line = rows.render_line, lambda y: drawn.append(y) or render(y)
        sessions.focus()
        await pilot.press("end")
        assert "Session 9999" in text_of(rows)
        assert len(drawn) < 8 * rows.size.height


async def test_no_title_breaks_the_column_or_writes_to_the_terminal():
    evil = replace(header(1, ""), title="a\x1b[2Jb\nc\u202ed")
    wide = header(2, "庭の計画をいま立てる、とても長い題")
    many = SessionGroup(name="Today", headers=tuple(header(n, f"S {n}") for n in range(10, 22)))
    groups = [
        SessionGroup(name="To\x1bday", headers=(evil, header(3, ""))),
        SessionGroup(name="今日", headers=(wide,)),
        many,
    ]
    app, sessions = host(groups, open_id="", unread={session_id(2)})
    async with app.run_test(size=WIDE):
        text = screen_text(app)
        assert "a␛[2Jb c" in text
        assert "\x1b" not in text
        assert "\u202e" not in text
        rows = rows_of(sessions)
        assert "Untitled" in words_of(sessions), "a session with a system prompt only"
        assert next(row for row in rows if "new" in row).endswith("…  • new 14:02")
        assert ["Today", "12"] in [row.split() for row in rows], "how many a large group has"
        assert ["今日"] in [row.split() for row in rows]


def test_sessions_that_are_in_memory_only_stand_on_top_once():
    kept = header(1, "kept")
    unsaved = header(2, "unsaved")
    groups = (SessionGroup(name="Today", headers=(kept,)),)
    listed = with_unsaved(groups, [kept, unsaved])
    assert [(group.name, group.headers) for group in listed] == [
        ("Not saved", (unsaved,)),
        ("Today", (kept,)),
    ]
    assert with_unsaved(groups, [kept]) == groups
