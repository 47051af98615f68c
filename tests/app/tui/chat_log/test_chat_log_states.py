from __future__ import annotations

from datetime import date

from msgspec.structs import replace

from lmchat.app.tui.chat_log.entry import Entry
from lmchat.app.tui.chat_log.log_blocks import end_blocks, name_lines, state_lines
from lmchat.core.answers.live_stats import LiveStats
from lmchat.core.servers.events import (
    ModelLoading,
    PromptProgress,
    ReasoningDelta,
    RefusalDelta,
    RetryScheduled,
    StreamStalled,
    TextDelta,
)
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    Failure,
    FilePart,
    Limit,
    RefusalPart,
    Role,
    TextPart,
    text_message,
)
from tests.support.chat_log_app import (
    STATS,
    answer,
    document_with,
    plain_page,
    question,
    rows,
    screen_text,
    shown,
    streaming,
)

GAP = "\u00a0"
FAILURE = Failure(
    kind="offline",
    message="LM Studio went away",
    hint="Start its server again.",
    details="ECONNREFUSED",
    failure_id="7f3a",
)


def plain(log):
    return screen_text(log).replace(GAP, " ")


async def test_a_prompt_has_a_bar_its_time_and_its_version(log):
    log.show([question("Is it too late?\n  indented **as it is**", version=2, versions=3)])
    first, second, *_ = rows(log)
    assert first.startswith("   ▌ Is it too late?")
    assert first.endswith("‹2/3›  14:02")
    assert second == "   ▌   indented **as it is**"
    files = [FilePart(name=name, media_type="", digest="0" * 64, size=3) for name in "ab"]
    placed = tuple(replace(file, place=place) for place, file in enumerate(files))
    log.show([replace(question("\n\nWhen?"), parts=(TextPart(text="\n\nWhen?"), *placed))])
    assert [row.strip(" ▌")[:5] for row in rows(log)[:3]] == ["+ a (", "+ b (", "When?"]


def test_a_prompt_of_another_year_has_its_date():
    page = plain_page()
    for today, time in ((date(2026, 12, 1), "20 Nov 14:02"), (date(2027, 1, 2), "20 Nov 2026")):
        page.today = today
        document = document_with(Entry(question("When?")), page)
        [block] = document.lay_out(0)
        assert shown(block.lines[0]).strip().endswith(time)


def receipt(log, message):
    """The row below an answer of one row."""
    log.show([message])
    _name, _text, _blank, row, *rest = rows(log)
    assert not any(rest)
    return row.replace(GAP, " ").strip()


async def test_an_answer_begins_with_the_name_of_its_model_and_ends_with_a_receipt(log):
    log.show([question("one"), answer("Yes."), question("two"), answer("# No\n\nNever.")])
    assert [row.strip(" ▌").replace(GAP, " ") for row in rows(log)][1:14] == [
        "", "qwen3-8b", "Yes.", "", "44.0 tok/s · 96 tok in 2.4 s · first token 0.19 s",
        "", f"two{'14:02':>68}", "", "qwen3-8b", "", "No", "─" * 71, "Never.",
    ]  # fmt: skip
    parts = (TextPart(text="Yes"), FilePart(name="a", media_type="", digest="", size=0))
    log.show([replace(answer("", model="", stats=None), parts=(*parts, TextPart(text=".")))])
    assert [row.strip() for row in rows(log) if row] == ["Yes."]
    log.show([answer("Yes.", model="", stats=None)])
    assert [row.strip() for row in rows(log) if row] == ["Yes."]


async def test_the_receipt_tells_an_unusual_end_first_and_loses_figures_where_room_is_short(log):
    stats = receipt(log, answer("Yes.", version=2, versions=3))
    assert stats.startswith("44.0 tok/s · 96 tok in 2.4 s · first token 0.19 s   ")
    assert stats.endswith("   ‹2/3›")
    for changes, reason in (
        ({"finish_reason": "length"}, "length limit"),
        ({"finish_reason": "length", "limit": Limit.CONTEXT}, Limit.CONTEXT.value),
        ({"finish_reason": "length", "limit": Limit.MAX_TOKENS}, Limit.MAX_TOKENS.value),
    ):
        shown = receipt(log, answer("a", stats=replace(STATS, **changes)))
        assert shown.startswith(f"{reason} · 44.0 tok/s · 96 tok in 2.4 s")
        assert "a continue" not in shown
    asked = replace(STATS, asked="/models/ti\x1bny", finish_reason="moderation")
    shown = receipt(log, answer("a", stats=asked))
    assert shown.startswith("moderation · asked for /models/ti␛ny · 44.0 tok/s")
    estimate = AnswerStats(completion_tokens=1234, elapsed_ms=500, finish_reason="stop")
    assert receipt(log, answer("a", stats=estimate)) == "~1 234 tok in 0.5 s"
    assert receipt(log, answer("a", stats=replace(estimate, elapsed_ms=0))) == "~1 234 tok"
    more = replace(STATS, steps=2, is_edited=True)
    assert receipt(log, answer("a", stats=more)).endswith("0.19 s · edited · 2 steps")
    assert receipt(log, answer("a", stats=replace(STATS, finish_reason=""))).startswith(
        "no finish reason · 44.0 tok/s"
    )
    stopped = answer("a", state=AnswerState.STOPPED, stats=replace(STATS, finish_reason=""))
    assert "reason" not in receipt(log, stopped)


def test_the_row_under_an_answer_is_one_row_whose_figures_are_never_cut():
    stats = replace(STATS, steps=2, finish_reason="length")
    figures = ["length limit", "44.0 tok/s", "96 tok in 2.4 s", "first token 0.19 s", "2 steps"]
    for message in (
        answer("a", stats=stats, version=10, versions=12),
        answer("a", stats=stats, state=AnswerState.STOPPED),
    ):
        for width in range(16, 100):
            [block] = end_blocks(message, is_last=True)
            [line] = block.make(plain_page(width))
            row = shown(line).replace(GAP, " ").strip()
            for number, piece in enumerate(row.split("  ")[0].split(" · ")):
                expected = [["stopped", "96 tok"], figures][message.state is AnswerState.COMPLETE]
                assert piece == expected[number] or width < 24, (width, row)


def test_the_title_of_a_failure_says_what_happened():
    for message, title in (
        ("Streaming failed: the connection broke.", "× The connection broke."),
        ("Request timeout: nothing came for 60 s.", "× Request timeout: nothing came for 60 s."),
        ("127.0.0.1 closed the connection.", "× 127.0.0.1 closed the connection."),
        ("Streaming failed: localhost:1234 closed it.", "× localhost:1234 closed it."),
        ("Streaming failed: box.lan closed it.", "× box.lan closed it."),
    ):
        failed = replace(FAILURE, message=message)
        [block] = end_blocks(
            answer("a", state=AnswerState.INTERRUPTED, failure=failed), is_last=True
        )
        assert title in shown(block.make(plain_page(70))[0])


def test_an_answer_that_alone_fills_the_context_window_is_not_offered_to_be_continued():
    cut = replace(STATS, finish_reason="length")
    full = replace(cut, limit=Limit.CONTEXT, completion_tokens=4000, prompt_tokens=96)
    refused = replace(FAILURE, kind="context_overflow")
    for message, is_offered in (
        (answer("a", stats=cut), True),
        (answer("a", stats=replace(cut, limit=Limit.MAX_TOKENS)), True),
        (answer("a", stats=full), False),
        # older messages are left out of the next request
        (answer("a", stats=replace(full, completion_tokens=96, prompt_tokens=4000)), True),
        (answer("a", state=AnswerState.INTERRUPTED, failure=FAILURE, stats=cut), True),
        (answer("a", state=AnswerState.INTERRUPTED, failure=refused, stats=cut), False),
    ):
        [block] = end_blocks(message, is_last=True)
        words = " ".join(map(shown, block.make(plain_page(70))))
        assert ("/continue" in words) is is_offered, message
        assert "retry" in words


def test_a_prompt_that_is_too_long_is_offered_to_be_edited_and_not_to_be_sent_again():
    for kind, offer, letters in (
        ("context_overflow", "/edit", "e edit prompt  y copy details"),
        ("server_error", "^R retry", "r retry  e edit prompt  y copy details"),
    ):
        failed = answer("", state=AnswerState.FAILED, failure=replace(FAILURE, kind=kind))
        [block] = end_blocks(failed, is_last=True)
        last = block.make(plain_page(70))[-1]
        assert shown(last).split("  ")[0].strip() == offer
        hint = "".join(segment.text for segment in last.hint)
        assert hint.strip().startswith(letters)


def test_keys_that_have_no_room_go_one_by_one_and_the_first_stays():
    stopped = answer("Half", state=AnswerState.STOPPED)
    cut = answer("Half", state=AnswerState.INTERRUPTED, failure=FAILURE)
    for message, width, letters in (
        (stopped, 60, "a continue  r retry  e edit prompt"),
        (stopped, 34, "a continue  r retry"),
        (stopped, 24, "a continue"),
        (replace(stopped, version=12, versions=12), 34, "a continue  ‹12/12›"),
        (cut, 34, "a continue  r retry  error 7f3a"),
        (cut, 24, "a continue  r retry"),
    ):
        [block] = end_blocks(message, is_last=True)
        hint = "".join(segment.text for segment in block.make(plain_page(width))[-1].hint)
        assert letters in hint, (width, hint)
        assert "…" not in hint
    [block] = end_blocks(stopped, is_last=True)
    assert shown(block.make(plain_page(24))[-1]).split() == ["stopped", "/continue"]


async def test_an_answer_without_words_of_its_own_says_why_and_what_helps(log):
    full = replace(STATS, finish_reason="length", limit=Limit.CONTEXT)
    for message, words in (
        (answer("", thought="Hm."), "the model thought and wrote no answer; ask again with the"),
        (
            answer(" ", thought="Hm.", stats=full),
            "wrote no answer: context is full; load it with a",
        ),
        (
            answer("<tool_call>", stats=replace(STATS, call_as_text="a/\x1bb")),
            "the model tried to call a/␛b, and the server did not understand it: nothing was run",
        ),
    ):
        log.show([message])
        shown = " ".join(plain(log).split())
        assert words in shown
        assert "empty answer" not in shown
    log.show([answer("")])
    assert "empty answer" in plain(log)


async def test_a_failure_is_one_card_with_what_is_saved_and_what_helps(log):
    cut = answer("Half an ans", state=AnswerState.INTERRUPTED, failure=FAILURE)
    log.show([cut])
    text = plain(log)
    assert "interrupted" not in text
    assert "▌ × LM Studio went away" in text
    assert "▌ The 96 tokens so far are saved. Start its server again." in text
    assert rows(log)[5].endswith("error 7f3a")
    assert "ECONNREFUSED" not in text
    for stats, words in (
        (replace(STATS, completion_tokens=1), "The 1 token so far is saved. Start its"),
        (None, "The text so far is saved. Start its"),
    ):
        log.show([replace(cut, stats=stats)])
        assert words in plain(log)
    log.show([answer("Half", state=AnswerState.INTERRUPTED)])  # lmchat was killed
    assert "× interrupted · 96 tok" in plain(log)
    continued = STATS.after(AnswerStats(completion_tokens=100))
    log.show([answer("Half", state=AnswerState.STOPPED, stats=continued)])
    assert "stopped · ~196 tok" in plain(log)
    log.show([answer("", state=AnswerState.FAILED, failure=FAILURE, version=2, versions=2)])
    assert rows(log)[2].startswith("   ▌ × LM Studio went away")
    assert "saved" not in plain(log)
    assert "2/2" in plain(log)
    log.show([answer("", state=AnswerState.FAILED)])
    assert "× failed" in plain(log)


def started() -> LiveStats:
    return LiveStats(model="m", started_s=100.0)


LIVE = [
    ([], "waiting  4.1 s"),
    ([ModelLoading(fraction=0.4)], "loading 40 %  4.1 s"),
    ([ModelLoading(wait_s=12)], "loading, asked again in 9.9 s  4.1 s"),
    ([PromptProgress(fraction=0.0, processed_tokens=0, total_tokens=2)], "reading prompt  4.1 s"),
    (
        [PromptProgress(fraction=0.62, processed_tokens=1, total_tokens=2)],
        "reading prompt 62 %  4.1 s",
    ),
    (
        [RetryScheduled(attempt=2, attempts=3, wait_s=4, reason="refused")],
        "retry 2/3 in 1.9 s · refused",
    ),
    ([StreamStalled(silent_s=12)], "stalled 12 s"),
    ([ReasoningDelta(text="x")], "thinking  4.1 s · 1 tok"),
    ([TextDelta(text="x")], "answering  4.1 s · 1 tok"),
]


async def test_the_live_line_tells_what_the_turn_is_doing(log):
    for events, words in LIVE:
        log.show([question("q")])
        log.start_answer(streaming())
        turn = started()
        for event in events:
            turn.apply(event, 102.0)
            log.apply(event)
        log.flush()
        log.show_stats(turn, 104.1)
        last = next(row for row in reversed(rows(log)) if row)
        assert last.replace(GAP, " ").strip().split("    ")[0] == words
        assert last.endswith("Esc stop")


def test_the_live_line_is_one_row_on_a_narrow_page_whatever_its_stats():
    turn = started()
    for now_s in (101, 102, 110):
        turn.apply(TextDelta(text="x" * int(now_s * 400)), now_s)
        for width in (46, 50, 60, 80):
            assert len(state_lines(turn, now_s, plain_page(width))) == 1, (now_s, width)


async def test_what_changes_with_a_message_is_told_by_thin_lines(pilot, log):
    last = question("three")
    prompt = text_message(Role.SYSTEM, "You are terse.\nVery.")
    answers = [answer("b"), answer("d", model="gemma"), answer("e", model="gemma")]
    log.show([prompt, *answers, last])
    log.mark_left_out(2, last.message_id)
    lines = [row.strip(" ─▌") for row in rows(log) if row.strip().startswith("──")]
    assert lines == [
        "System prompt: You are terse. Very.",
        "gemma",
        "! 2 messages left out",
    ]
    log.mark_left_out(0, None)
    assert "left out" not in plain(log)
    log.replace(replace(answers[0], version=1, versions=2))
    assert "‹1/2›" in plain(log)
    log.replace(answer("nobody"))
    assert "nobody" not in plain(log)
    log.go_to_message(prompt.message_id)
    log.focus_message(-1)
    await pilot.press("enter")
    assert rows(log)[3] == "   ▌ Very."


async def test_reasoning_is_folded_while_it_arrives_and_tells_how_long(log):
    log.start_answer(streaming())
    turn = started()
    for event in (ReasoningDelta(text="secret "), ReasoningDelta(text="thought")):
        turn.apply(event, 101.0)
        log.apply(event)
    log.flush()
    log.show_stats(turn, 104.0)
    assert "qwen3-8b  + thinking\n" in plain(log)
    assert "secret" not in plain(log)
    log.show_stats(turn, 104.0, "Ctrl+S answer now")
    assert "qwen3-8b  + thinking · Ctrl+S answer now" in plain(log)
    event = TextDelta(text="Answer")
    turn.apply(event, 104.2)
    log.apply(event)
    log.flush()
    log.show_stats(turn, 105.0)
    assert rows(log)[0].replace(GAP, " ").strip() == "qwen3-8b  + thought for 3.2 s"
    assert rows(log)[1].strip() == "Answer"
    assert "Ctrl+S" not in plain(log)


async def test_a_refusal_has_its_word_above_it_while_it_arrives_and_afterwards(log):
    started = streaming()
    log.start_answer(started)
    for word in ("I can", "not *do* that."):
        log.apply(RefusalDelta(text=word))
        log.flush()
    told = ["qwen3-8b", "", "! refused", "", "I cannot do that."]
    streamed = plain(log).splitlines()[:5]
    assert [line.strip(" ▌") for line in streamed] == told
    final = replace(answer(""), parts=(RefusalPart(text="I cannot *do* that."),))
    log.end_answer(replace(final, message_id=started.message_id))
    assert plain(log).splitlines()[:5] == streamed
    log.show([final])
    assert [line.strip() for line in plain(log).splitlines()[:5]] == told


def test_of_a_path_as_the_name_of_a_model_the_end_is_shown():
    path = f"/srv/{'models/' * 30}SmolLM2-135M.Q4_1.gguf"
    for name, beginning, end in (
        (path, "…", "/SmolLM2-135M.Q4_1.gguf"),
        (path.replace("/", "\\"), "…", "\\SmolLM2-135M.Q4_1.gguf"),
        ("/srv/a.gguf", "/srv", "a.gguf"),
        ("a" * 300, "aaa", ""),
    ):
        text = shown(name_lines(name, None, False, plain_page(40))[0]).strip()
        assert (text.startswith(beginning), text.endswith(end)) == (True, True), text
        assert len(text) <= 40
