from __future__ import annotations

import pytest

from lmchat.core.answers.live_stats import LiveStats, Stage
from lmchat.core.servers.events import (
    LifeSign,
    ModelLoading,
    PromptProgress,
    ReasoningDelta,
    RequestQueued,
    RequestSent,
    Rethought,
    StreamFinished,
    StreamStalled,
    TextDelta,
    UsageReported,
)
from lmchat.core.sessions.message import AnswerState, AnswerStats, Limit


def played(*steps, start: float = 100.0) -> LiveStats:
    turn = LiveStats(model="m", started_s=start, sent_s=start)
    for now_s, event in steps:
        turn.apply(event, now_s)
    return turn


def test_stages_follow_the_events():
    turn = LiveStats(model="m", started_s=0)
    for event, stage in [
        (RequestQueued(), Stage.QUEUED),
        (RequestSent(), Stage.WAITING),
        (StreamStalled(silent_s=5), Stage.STALLED),
        (LifeSign(is_token=True), Stage.WAITING),
        (ModelLoading(fraction=0.4), Stage.LOADING),
        (PromptProgress(fraction=0.5, processed_tokens=5, total_tokens=10), Stage.READING),
        (ReasoningDelta(text="hm"), Stage.THINKING),
        (StreamStalled(silent_s=60), Stage.STALLED),
        (LifeSign(), Stage.THINKING),
        (TextDelta(text="so"), Stage.ANSWERING),
        (StreamStalled(silent_s=60), Stage.STALLED),
        (LifeSign(), Stage.ANSWERING),
    ]:
        turn.apply(event, 1)
        assert turn.stage is stage


def test_the_start_of_tool_servers_is_no_time_of_the_answer():
    turn = LiveStats(model="m", started_s=0, stage=Stage.STARTING)
    for now_s, event in ((7, RequestQueued()), (7.5, RequestSent()), (8, TextDelta(text="so"))):
        turn.apply(event, now_s)
    turn.end(AnswerState.COMPLETE, 9)
    assert (turn.elapsed_ms, turn.wait_ms, turn.ttft_ms) == (2000, 1000, 500)


def test_the_first_word_of_an_answer_comes_behind_what_was_a_thought():
    turn = played((101, TextDelta(text="hm")), (102, Rethought()), (103, TextDelta(text="so")))
    assert (turn.wait_ms, turn.reasoning_ms) == (3000, 1000)


def test_a_stall_counts_once_until_text_comes_again():
    turn = played(
        (1, TextDelta(text="a")),
        (61, StreamStalled(silent_s=60)),
        (62, StreamStalled(silent_s=61)),
        (63, TextDelta(text="b")),
        (124, StreamStalled(silent_s=61)),
    )
    assert turn.stalls == 2


def test_speed_is_tokens_between_the_first_and_the_last_unless_they_came_in_one_go():
    for step_s, speed in ((0.1, pytest.approx(10)), (0.001, None)):
        turn = played(*((101 + n * step_s, TextDelta(text="word")) for n in range(11)))
        assert (turn.tokens_per_second, turn.is_estimated) == (speed, True)


@pytest.mark.rule("R-19")
def test_the_servers_speed_and_counts_win_over_our_clock():
    turn = played(
        (101, TextDelta(text="a")),
        (102, TextDelta(text="b")),
        (102, UsageReported(prompt_tokens=9, completion_tokens=7, tokens_per_second=42.0)),
        (102, StreamFinished(reason="length")),
    )
    turn.end(AnswerState.COMPLETE, 103)
    assert turn.saved() == AnswerStats(
        ttft_ms=1000.0,
        tokens_per_second=42.0,
        prompt_tokens=9,
        completion_tokens=7,
        is_estimated=False,
        finish_reason="length",
        elapsed_ms=3000.0,
        wait_ms=1000.0,
        queue_ms=0.0,
    )


def test_what_is_saved_of_an_answer_is_measured_under_its_name_but_for_what_is_known_later():
    later = {"is_prompt_cut", "call_as_text", "is_edited"}
    counted = {*UsageReported.__struct_fields__}
    assert {*AnswerStats.__struct_fields__} - {*dir(LiveStats)} - counted == later
    usage = UsageReported(**dict.fromkeys(counted, 7))
    saved = played((101, TextDelta(text="a")), (102, usage)).saved()
    assert {getattr(saved, name) for name in counted} == {7}


def test_a_thought_lasts_from_its_first_piece_to_the_first_word_of_the_answer():
    turn = played(
        (101, ReasoningDelta(text="a")),
        (103, ReasoningDelta(text="b")),
        (104.5, TextDelta(text="c")),
    )
    assert turn.reasoning_ms == pytest.approx(3500)


def test_a_turn_without_a_token_has_no_speed_and_no_tokens():
    turn = LiveStats(model="m", started_s=1)
    turn.end(AnswerState.FAILED, 2)
    stats = turn.saved()
    assert (stats.ttft_ms, stats.tokens_per_second, stats.completion_tokens) == (None,) * 3


def test_a_continued_answer_has_the_thoughts_of_both_parts_and_no_zero_for_what_was_not_measured():
    nothing = AnswerStats(elapsed_ms=300)
    started = AnswerStats(completion_tokens=100, thought_tokens=80)
    both = [
        AnswerStats(completion_tokens=20, thought_tokens=tokens).after(started)
        for tokens in (None, 5)
    ]
    assert [one.thought_tokens for one in (nothing.after(nothing), *both)] == [None, 80, 85]
    assert nothing.after(nothing).completion_tokens is None


FULL = UsageReported(prompt_tokens=200, completion_tokens=55)


def test_what_cut_an_answer_short_is_told_as_far_as_the_stats_tell():
    for usage, context, max_tokens, limit in [
        (FULL, 256, None, Limit.CONTEXT),
        (FULL, 255, 55, Limit.CONTEXT),
        (FULL, 4096, None, Limit.MAX_TOKENS),
        (UsageReported(), 256, 55, Limit.MAX_TOKENS),
        (FULL, None, None, None),
        (UsageReported(), 256, None, None),
    ]:
        turn = played((101, TextDelta(text="a")), (101, usage))
        turn.apply(StreamFinished(reason="length"), 101)
        turn.context = context
        turn.max_tokens = max_tokens
        stats = turn.saved()
        assert (stats.limit, stats.ending) == (limit, limit or "length")
