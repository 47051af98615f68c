from __future__ import annotations

import random

from msgspec.structs import replace

from lmchat.domain.attached_files import file_as_prompt_text
from lmchat.domain.event import TextDelta
from lmchat.domain.message import ReasoningPart, Role, TextPart, ToolCallPart, text_message
from lmchat.domain.session import MessagePath
from lmchat.tui.widgets.chat_log import ChatLog, hits
from tests.support.chat_log_app import (
    answer,
    load,
    load_focused,
    marked,
    question,
    rows,
    screen_text,
    streaming,
)
from tests.support.programs import until


async def all_counted(pilot, log):
    await until(lambda: log.finder.is_complete, "all is counted")
    await pilot.pause()


async def test_hits_are_counted_and_marked_whatever_their_case(log):
    log.load([question("Shade or sun?"), answer("The **shade**, deep SHADE.")])
    assert log.finder.find("shade") == 3
    assert marked(log) == ["Shade", "shade", "SHADE"]
    for number, current in enumerate(("Shade", "shade", "SHADE"), 1):
        assert log.finder.step(1) == (number, 3)
        assert marked(log, "hit-now") == [current]
        assert len(marked(log)) == 2
    log.finder.clear()
    assert marked(log) == []


async def test_hits_are_found_in_all_that_is_said_and_not_in_what_the_log_tells(log):
    text = (
        "# Fern head\n\n> fern quote\n\n- fern item\n\n| fern | b |\n|---|---|\n| c | fern |\n\n"
        "```python\nfern = 1\n```\n\n[fern](http://fern.example) and `fern`, <http://example.org/fern>\n"
    )
    call = replace(
        answer(""), parts=(ToolCallPart(call_id="", name="plant", arguments='{"a": "fern"}'),)
    )
    log.load([question("fern?"), replace(answer(text), model="fern"), call])
    assert log.finder.find("fern") == 11
    assert len(marked(log)) == 11


async def test_a_hit_is_what_is_shown_whatever_markup_is_in_it(log):
    for text, words, shown in (
        ("**bo**ld and *bo*ld", "bold", 2),
        ("one [two](http://example.org) three", "one two three", 1),
        ("![alt text](x.png)", "alt text", 1),
        ("code `a b` end", "b end", 1),
        ("AT&amp;T", "at&t", 1),
        ("漢字と漢字", "漢字", 2),
        ("cafe\u0301 caf\u00e9", "caf\u00e9", 2),
    ):
        log.load([answer(text)])
        assert log.finder.find(words) == len(marked(log)) == shown
        assert log.finder.step(1) == (1, shown)


async def test_words_are_found_beside_a_reference_to_no_character(log):
    for start in ("&#", "&#x"):
        log.load([answer(start + "1" * 5_000 + "; shade &#115;")])
        assert log.finder.find("shade s") == 1
        assert marked(log) == ["shade s"]
        assert log.finder.find("1" * 500) == 10


async def test_any_blanks_between_two_words_are_one(log):
    for blank in (" ", "   ", "\t", "\u00a0"):
        log.load([answer(f"```\nshade{blank}or sun\n```")])
        assert log.finder.find("shade or") == len(marked(log)) == 1


async def test_a_hit_that_goes_over_the_end_of_a_line_is_one_and_is_marked_in_both(log):
    log.load([answer("x" * 57 + " wonderful shade here")])
    assert log.finder.find("wonderful shade") == 1
    assert [text.strip() for text in marked(log)] == ["wonderful", "shade"]
    log.finder.step(1)
    assert [text.strip() for text in marked(log, "hit-now")] == ["wonderful", "shade"]


_LONG = "supercalifragilistic" * 4


async def test_a_hit_that_goes_over_the_lines_of_a_cell_is_one_and_is_marked_in_all(log):
    place = "A fern grows in deep shade, and never in a very sunlit corner of a garden"
    log.load(
        [
            answer(
                f"| plant | where | word |\n|---|---:|---|\n| moss | {place} | moss |\n"
                f"| x | first<br>line | {_LONG} |\n| shade | mosaic | - |"
            )
        ]
    )
    for words, count, rows_of_it in (
        ("shade, and never in a very sunlit corner of", 1, 2),
        (_LONG, 1, 2),
        ("moss", 2, 1),
        ("first line", 0, 0),
        ("shade mosaic", 0, 0),
    ):
        assert log.finder.find(words) == count
        assert log.finder.step(1) == (min(count, 1), count)
        parts = marked(log, "hit-now")
        assert len(parts) >= rows_of_it
        assert "".join("".join(parts).split()) == ("".join(words.split()) if count else "")


async def test_a_hit_that_goes_on_below_the_last_row_is_brought_into_view_whole(pilot, log):
    await load(
        pilot, answer("hay\n" * 60 + "\n" + "x" * 57 + " wonderful shade here\n\n" + "hay\n" * 60)
    )
    log.finder.find("wonderful shade")
    log.finder.step(1)
    row = log.document.position(log.finder.place)
    log.scroll_to(y=row - log.size.height + 1)
    await pilot.pause()
    assert [text.strip() for text in marked(log, "hit-now")] == ["wonderful"]
    log.finder.step(1)
    assert [text.strip() for text in marked(log, "hit-now")] == ["wonderful", "shade"]


COUNTED = [
    (question("a [b](fern)"), "fern", 1),
    (question("a*b*c"), "abc", 0),
    (question("```fern\nx\n```"), "fern", 1),
    (answer("```fern\nx\n```"), "fern", 0),
    (answer("`a[b](fern)`"), "fern", 1),
    (answer("```\non[b](fern)\n```"), "fern", 1),
    (answer("[b](http://fern.example)"), "fern", 0),
    (answer("a&nbsp;b"), "a b", 1),
    (answer("one\ntwo"), "one two", 0),
    (answer("snake_case"), "snake_case", 1),
    (answer("f(**kwargs)"), "**kwargs", 1),
    (answer("x  y"), "x y", 1),
    (answer("```\na*b\n```\n**a**b"), "ab", 1),
    (answer("Nothing.", thought="`a[b](fern)`"), "fern", 1),
    (answer("Nothing.", thought="[b](http://fern.example)"), "fern", 0),
]


async def test_what_is_counted_is_what_is_shown_though_nobody_looked_at_it(pilot, log):
    below = [answer(f"{n}") for n in range(40)]
    for message, words, count in COUNTED:
        long = answer(f"{words} " + "hay " * 6_000)
        await load(pilot, message, long, *below)
        log.finder.find(words)
        await all_counted(pilot, log)
        assert log.finder.standing == (0, count + 1)
        entry = log.document.entries.made_entry(0)
        assert entry is None or not entry.blocks
        seen = [log.finder.step(1)[0] for _ in range(count + 1)]
        assert sorted(seen) == list(range(1, count + 2)), words


def first_needle(log) -> int:
    """Return the number behind the first needle on the screen."""
    return next(int(row.split()[-1]) for row in rows(log) if "needle" in row)


async def test_the_first_hit_is_one_on_the_screen_or_below_and_backwards_the_one_above(pilot, log):
    await load(pilot, *(answer(f"needle {n}") for n in range(100)))
    for by in (1, -1):
        log.scroll_end()
        first = first_needle(log)
        log.finder.find("needle")
        assert log.finder.step(by) == (first + (by > 0), 100)
        log.finder.clear()


async def test_in_a_long_message_hits_are_looked_for_from_where_one_reads(pilot, log):
    text = "\n\n".join(f"needle {n}" for n in range(200))
    await load(pilot, question("needle?"), answer(text), question("needle!"))
    log.scroll_to(y=101)
    await pilot.pause()
    before, first = rows(log), first_needle(log)
    log.finder.seek("needle")
    await pilot.pause()
    assert rows(log) == before, "the first hit from there is on the screen"
    assert log.finder.standing == (first + 2, 202), (
        "one is in the question, and they are counted from 1"
    )
    log.finder.clear()
    log.finder.find("needle")
    assert log.finder.step(-1)[0] == first + 1, "going back first goes to the hit above"


async def test_what_is_typed_shows_its_first_hit_at_once_and_goes_back_where_there_is_none(
    pilot, log
):
    await load(pilot, *(answer(f"{n} " + ("needle" if n == 7 else "hay")) for n in range(100)))
    log.scroll_to(y=200)
    await pilot.pause()
    before = rows(log)
    log.finder.seek("n")
    log.finder.seek("needle")
    assert "7 needle" in screen_text(log)
    assert marked(log, "hit-now") == ["needle"]
    log.finder.seek("needles")
    assert rows(log) == before
    log.finder.seek("needle")
    log.finder.clear()
    assert "7 needle" in screen_text(log)


async def test_a_hit_in_a_folded_thought_is_counted_unfolded_when_reached_and_folded_when_left(
    pilot, log
):
    thinking = answer("Nothing.", thought="A fern, and a fern.")
    await load(pilot, question("fern"), thinking, answer("Last fern."))
    assert log.finder.find("fern") == 4
    log.finder.step(1)
    assert "A fern" not in screen_text(log)
    assert log.finder.step(1) == (2, 4)
    assert "A fern, and a fern." in screen_text(log)
    assert marked(log, "hit-now") == ["fern"]
    assert log.finder.step(1) == (3, 4)
    assert "A fern, and a fern." in screen_text(log)
    assert log.finder.step(1) == (4, 4)
    assert "A fern" not in screen_text(log)
    log.finder.step(-1)
    log.finder.clear()
    assert "A fern" in screen_text(log)  # there one is reading


async def test_a_folded_system_prompt_or_file_is_unfolded_for_its_hit(pilot, log):
    attached = file_as_prompt_text("notes.txt", 13, "hay\nfern\nhay")
    prompt = text_message(Role.SYSTEM, "Be brief.\n\nSpeak of ferns.")
    await load(pilot, prompt, question(f"Look at this:\n\n{attached}"), answer("hay"))
    assert log.finder.find("fern") == 2
    assert sorted(log.finder.step(1) for _ in range(2)) == [(1, 2), (2, 2)]
    for _ in range(2):
        log.finder.step(1)
        assert marked(log, "hit-now") == ["fern"]


async def test_words_of_a_search_are_marked_everywhere_and_the_message_shows_its_first(pilot, log):
    await load(
        pilot, *[question(f"{n} Shade") for n in range(50)] + [answer("hay") for _ in range(50)]
    )
    message_id = log.document.entries[7].message.message_id
    assert log.show_message(message_id)
    log.finder.mark_words(message_id, ("shade", "Shade", "had", "7"))
    await pilot.pause()
    assert "7 Shade" in screen_text(log)
    assert marked(log, "hit-now") == ["7"]
    assert log.finder.index == 7
    assert log.focused_message.message_id == message_id
    assert not log.show_message("nowhere")


async def test_words_that_were_only_thought_are_unfolded_and_marked(pilot, log):
    thought = replace(
        answer("Lettuce."),
        parts=(ReasoningPart(text="A riddle, I think."), TextPart(text="Lettuce.")),
    )
    await load(pilot, question("What?"), thought, question("And a riddle?"))
    assert log.show_message(thought.message_id)
    log.finder.mark_words(thought.message_id, ("riddle",))
    await pilot.pause()
    assert "A riddle, I think." in screen_text(log)
    assert marked(log, "hit-now") == ["riddle"]
    assert marked(log) == ["riddle"]
    log.finder.mark_words("nowhere", ("riddle",))


async def test_an_open_answer_is_counted_when_asked_and_when_it_ends(pilot, log):
    log.load([question("fern?")])
    log.begin_answer(streaming("A fern"))
    await pilot.pause()
    assert log.finder.find("fern") == 2
    log.finder.step(1)
    assert log.finder.step(1) == (2, 2)
    chance = random.Random(3)  # noqa: S311 - not a secret
    text = (
        " is a fern.\n\n- a fern\n- another\n\n```\nfern = fern\n```\n\nThe **fe**rn end.\n\n" * 3
    )
    while text:
        size = chance.randrange(1, 9)
        await log.apply(TextDelta(text=text[:size]))
        text = text[size:]
        log.flush()
        assert log.finder.standing == (2, 2)
        assert len(marked(log, "hit-now")) <= 1
    log.finder.find("fern")
    assert log.finder.standing[1] == 2 + 5 * 3
    log.finish(answer("A fern and no more."))
    assert log.finder.standing[1] == 2


async def test_a_hit_stays_where_it_is_shown_while_an_answer_comes(pilot, log):
    log.load([question("Which?")])
    log.begin_answer(streaming("\n\n".join(["hay"] * 50) + "\n\nneedle\n\n"))
    await pilot.pause()
    assert log.viewport.is_following
    log.finder.seek("needle")
    await pilot.pause()
    before = rows(log)[:10]
    for _ in range(50):
        await log.apply(TextDelta(text="hay\n\n"))
    log.flush()
    await pilot.pause()
    assert marked(log, "hit-now") == ["needle"]
    assert rows(log)[:10] == before
    log.finder.seek("needles")
    assert log.viewport.is_following, "there is none: the end is followed as before"


async def test_each_change_of_the_count_is_told(pilot, log):
    log.load([question("fern")])
    log.finder.find("fern")
    await pilot.pause()
    log.append(answer("fern fern"))
    log.notice("fern")
    await pilot.pause()
    assert [
        (fact.place, fact.count)
        for fact in pilot.app.facts
        if isinstance(fact, ChatLog.HitsCounted)
    ] == [
        (0, 1),
        (0, 3),
    ]


async def test_a_message_in_source_view_shows_the_hits_of_its_source(pilot, log):
    await load_focused(pilot, answer("**bo**ld [x](http://bold.example)"))
    assert log.finder.find("**bo**") == 0 or marked(log) == []
    await pilot.press("s")
    await pilot.pause()
    log.finder.find("**bo**")
    assert marked(log) == ["**bo**"]
    assert log.finder.step(1) == (1, 1)


async def test_other_messages_and_forms_are_looked_through_for_the_same_words(pilot, log):
    message = answer("fern fern")
    log.load([message, answer("fern")])
    log.finder.find("fern")
    log.finder.step(1)
    log.finder.step(1)
    log.replace(replace(message, parts=(TextPart(text="no plant"),)))
    assert log.finder.standing == (0, 1)
    assert log.finder.step(1) == (1, 1)
    await load(pilot, answer("fern"))
    assert log.finder.standing == (0, 1)
    assert marked(log) == ["fern"]
    assert log.finder.step(1) == (1, 1)
    log.finder.mark_words(log.document.entries[0].message.message_id, ("fern",))
    await load(pilot, answer("fern"))
    assert not log.finder.is_active, "words of a search are of one session"


async def test_a_search_that_goes_on_survives_other_messages_and_its_end(pilot, log, monkeypatch):
    monkeypatch.setattr(hits, "SLICE", 100)
    for change in (
        log.finder.clear,
        lambda: log.load([]),
        lambda: log.load([answer("fern")]),
        lambda: log.append(answer("fern")),
        lambda: log.prepend(MessagePath([answer("fern")])),
    ):
        log.load([answer(f"{n} fern") for n in range(100)])
        log.finder.find("fern")
        assert not log.finder.is_complete
        change()
        if log.finder.is_active:
            await all_counted(pilot, log)
            assert log.finder.standing[1] == sum(
                "fern" in source
                for source in map(log.document.entries.source, range(len(log.document)))
            )
        await pilot.pause()


async def test_each_hit_is_reached_once_going_round_either_way(pilot, log):
    chance = random.Random(8)  # noqa: S311 - not a secret
    pieces = [
        "fern ",
        "**fe**rn ",
        "`fern` ",
        "hay ",
        "\n\n",
        "- fern\n",
        "```\nfern\n```\n",
        "[fern](fern) ",
        "fe\nrn ",
    ]
    for width in (40, 80):
        await pilot.resize_terminal(width, 24)
        log.load(
            [
                answer("".join(chance.choices(pieces, k=12)), thought=chance.choice(["", "a fern"]))
                for _ in range(12)
            ]
        )
        await pilot.pause()
        log.finder.find("fern")
        await all_counted(pilot, log)
        for _ in range(
            2 * len(log.document)
        ):  # a message counts as it is shown once it was looked at
            log.finder.step(1)
        while log.finder.step(1)[0] != 1:
            pass
        count = log.finder.standing[1]
        for step in (1, -1):
            seen = set()
            for _ in range(count):
                number, total = log.finder.step(step)
                assert total == count
                assert "".join(marked(log, "hit-now")).replace(" ", "") == "fern"
                seen.add(number)
            assert seen == set(range(1, count + 1))


async def test_n_goes_on_after_the_search_was_left(pilot, log):
    log.load([answer("fern fern")])
    log.finder.find("fern")
    log.finder.clear()
    log.focus()
    await pilot.press("n")
    assert marked(log, "hit-now") == ["fern"]
    assert log.finder.standing == (1, 2)
    await pilot.press("n")
    assert log.finder.standing == (2, 2)
    await pilot.press("N")
    assert log.finder.standing == (1, 2)


async def test_the_current_hit_differs_by_more_than_its_colour(log):
    log.load([answer("fern")])
    hit = log.get_component_rich_style("chat-log--hit", partial=True)
    now = log.get_component_rich_style("chat-log--hit-now", partial=True)
    assert hit.underline
    assert not hit.reverse
    assert now.reverse
    assert not now.underline


async def test_what_a_long_source_promises_and_does_not_show_is_passed_over_either_way(pilot, log):
    hay = "hay " * 6_000
    await load(pilot, answer(f"ab 1\n\n`a*b` and `a*b`\n\nab 2\n\n{hay}\n\n`a*b`\n\nab 3"))
    log.finder.find("ab")
    log.scroll_home()
    rows_seen = []
    for step in (1, 1, 1, 1, -1, -1, -1):
        log.finder.step(step)
        rows_seen += [row.strip() for row in rows(log) if row.strip().startswith("ab ")]
        assert marked(log, "hit-now") == ["ab"]
    assert {"ab 1", "ab 2", "ab 3"} <= set(rows_seen)
    assert log.finder.standing[1] == 3
    log.finder.find("ab")
    places = [log.finder.step(-1) and log.finder.place for _ in range(4)]
    assert len(set(places[:3])) == 3
    assert places[3] == places[0]
    assert log.finder.standing[1] == 3


async def test_where_a_long_message_has_no_hit_below_the_next_is_gone_to_and_its_own_come_last(
    pilot, log
):
    text = "\n\n".join(["needle", *(f"hay {n}" for n in range(100))])
    await load(pilot, answer(text), answer("needle"))
    log.scroll_to(y=50)
    await pilot.pause()
    log.finder.find("needle")
    assert [log.finder.step(1)[0] for _ in range(3)] == [2, 1, 2]


async def test_of_words_of_a_search_what_was_said_comes_before_what_was_thought(pilot, log):
    message = answer("A fern.", thought="No fern?")
    log.load([message])
    log.finder.mark_words(message.message_id, ("fern",))
    assert "No fern?" not in screen_text(log)
    assert marked(log, "hit-now") == ["fern"]
