from __future__ import annotations

import pytest

from lmchat.servers.answer import Stage, TurnFigures
from lmchat.servers.events import (
    LifeSign,
    ModelLoading,
    PromptProgress,
    ReasoningDelta,
    RequestQueued,
    RequestSent,
    StreamFinished,
    StreamStalled,
    TextDelta,
    UsageReported,
)
from lmchat.sessions.message import AnswerState, AnswerStats, Limit


def played(*steps, start: float = 100.0) -> TurnFigures:
    turn = TurnFigures(model="m", started_s=start)
    for now_s, event in steps:
        turn.apply(event, now_s)
    return turn


@pytest.mark.rule("R-18")
def test_progress_and_life_signs_are_not_tokens():
    turn = played(
        (100.1, RequestSent()),
        (100.2, PromptProgress(fraction=0.5, processed_tokens=5, total_tokens=10)),
        (101, LifeSign()),
    )
    assert turn.first_token_s is None
    assert (turn.stage, turn.fraction) == (Stage.READING, 0.5)


def test_stages_follow_the_events():
    turn = TurnFigures(model="m", started_s=0)
    for event, stage in [
        (RequestQueued(), Stage.QUEUED),
        (RequestSent(), Stage.WAITING),
        (ModelLoading(fraction=0.4), Stage.LOADING),
        (ReasoningDelta(text="hm"), Stage.THINKING),
        (TextDelta(text="so"), Stage.ANSWERING),
        (StreamStalled(silent_s=60), Stage.STALLED),
        (LifeSign(), Stage.ANSWERING),
    ]:
        turn.apply(event, 1)
        assert turn.stage is stage


def test_a_stall_counts_once_until_text_comes_again():
    turn = played(
        (1, TextDelta(text="a")),
        (61, StreamStalled(silent_s=60)),
        (62, StreamStalled(silent_s=61)),
        (63, TextDelta(text="b")),
        (124, StreamStalled(silent_s=61)),
    )
    assert turn.stalls == 2


def test_speed_is_tokens_between_the_first_and_the_last():
    turn = played(*((101 + n / 10, TextDelta(text="word")) for n in range(11)))
    assert turn.tokens_per_second == pytest.approx(10)
    assert turn.is_estimated


def test_tokens_that_came_in_one_go_have_no_speed():
    turn = played(*((101 + n / 1000, TextDelta(text="word")) for n in range(3)))
    assert turn.tokens_per_second is None


@pytest.mark.rule("R-19")
def test_the_servers_figures_win_over_our_clock():
    turn = played(
        (101, TextDelta(text="a")),
        (102, TextDelta(text="b")),
        (102, UsageReported(prompt_tokens=9, completion_tokens=7, tokens_per_second=42.0)),
        (102, StreamFinished(reason="length")),
    )
    turn.end(AnswerState.COMPLETE, 103)
    stats = turn.stats()
    assert (stats.tokens_per_second, stats.completion_tokens, stats.prompt_tokens) == (
        42.0,
        7,
        9,
    )
    assert not stats.is_estimated
    assert stats.finish_reason == "length"
    assert stats.elapsed_ms == pytest.approx(3000)


def test_a_thought_lasts_from_its_first_piece_to_the_first_word_of_the_answer():
    turn = played(
        (101, ReasoningDelta(text="a")),
        (103, ReasoningDelta(text="b")),
        (104.5, TextDelta(text="c")),
    )
    assert turn.thought_s(110) == pytest.approx(3.5)


def test_a_turn_without_a_token_has_no_speed_and_no_tokens():
    turn = TurnFigures(model="m", started_s=1)
    turn.end(AnswerState.FAILED, 2)
    stats = turn.stats()
    assert (stats.ttft_ms, stats.tokens_per_second, stats.completion_tokens) == (
        None,
        None,
        None,
    )


FULL = UsageReported(prompt_tokens=200, completion_tokens=55)


def test_what_cut_an_answer_short_is_told_as_far_as_the_figures_tell():
    for usage, context, max_tokens, limit in [
        (FULL, 256, None, Limit.CONTEXT),
        (FULL, 255, 55, Limit.CONTEXT),
        (FULL, 4096, None, Limit.MAX_TOKENS),
        (FULL, 4096, 55, Limit.MAX_TOKENS),
        (FULL, None, 55, Limit.MAX_TOKENS),
        (None, 256, 55, Limit.MAX_TOKENS),
        (FULL, None, None, None),
        (None, 256, None, None),
    ]:
        events = [TextDelta(text="a"), *([usage] if usage else []), StreamFinished(reason="length")]
        turn = played(*((101, event) for event in events))
        turn.end(AnswerState.COMPLETE, 102)
        stats = turn.stats(context=context, max_tokens=max_tokens)
        assert (stats.limit, stats.finish_reason) == (limit, "length")
        assert stats.ending == (limit or "length")


@pytest.mark.rule("R-18")
def test_a_held_token_ends_a_stall():
    turn = played((101, StreamStalled(silent_s=5)), (102, LifeSign(is_token=True)))
    assert (turn.stage, turn.first_token_s) == (Stage.WAITING, 102)


NOTHING_CAME = AnswerStats(elapsed_ms=300)


def test_what_was_never_measured_is_no_zero():
    assert NOTHING_CAME.after(NOTHING_CAME).completion_tokens is None
    assert NOTHING_CAME.after(NOTHING_CAME).thought_tokens is None


def test_the_thought_of_a_continued_answer_is_that_of_both_parts():
    begun = AnswerStats(completion_tokens=100, thought_tokens=80)
    assert AnswerStats(completion_tokens=20).after(begun).thought_tokens == 80
    again = AnswerStats(completion_tokens=20, thought_tokens=5)
    assert again.after(begun).thought_tokens == 85
