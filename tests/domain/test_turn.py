from __future__ import annotations

import pytest

from lmchat.domain.event import (
    LifeSign,
    ModelLoading,
    PromptProgress,
    ReasoningDelta,
    RequestQueued,
    RequestSent,
    Rethought,
    RetryScheduled,
    StreamFinished,
    StreamStalled,
    TextDelta,
    UsageReported,
)
from lmchat.domain.message import AnswerState, Limit, Receipt
from lmchat.domain.turn import Stage, Turn


def played(*steps, start: float = 100.0) -> Turn:
    turn = Turn(model="m", started_s=start)
    for now_s, event in steps:
        turn = turn.apply(event, now_s)
    return turn


@pytest.mark.rule("R-18")
def test_the_first_token_counts_from_the_request_that_is_answered():
    turn = played(
        (100.1, RequestSent()),
        (102.0, RetryScheduled(attempt=2, attempts=3, wait_s=1, reason="busy")),
        (103.0, RequestSent()),
        (103.25, TextDelta(text="a")),
    )
    assert turn.ttft_s == pytest.approx(0.25)
    assert turn.retries == 1
    assert turn.retry is None


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
    turn = Turn(model="m", started_s=0)
    for event, stage in [
        (RequestQueued(), Stage.QUEUED),
        (RequestSent(), Stage.WAITING),
        (ModelLoading(fraction=0.4), Stage.LOADING),
        (ReasoningDelta(text="hm"), Stage.THINKING),
        (TextDelta(text="so"), Stage.ANSWERING),
        (StreamStalled(silent_s=60), Stage.STALLED),
        (LifeSign(), Stage.ANSWERING),
    ]:
        turn = turn.apply(event, 1)
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
    receipt = turn.end(AnswerState.COMPLETE, 103).receipt()
    assert (receipt.tokens_per_second, receipt.completion_tokens, receipt.prompt_tokens) == (
        42.0,
        7,
        9,
    )
    assert not receipt.is_estimated
    assert receipt.finish_reason == "length"
    assert receipt.elapsed_ms == pytest.approx(3000)


def test_a_thought_lasts_from_its_first_piece_to_the_first_word_of_the_answer():
    turn = played(
        (101, ReasoningDelta(text="a")),
        (103, ReasoningDelta(text="b")),
        (104.5, TextDelta(text="c")),
    )
    assert turn.thought_s(110) == pytest.approx(3.5)


def test_a_turn_without_a_token_has_no_speed_and_no_tokens():
    receipt = Turn(model="m", started_s=1).end(AnswerState.FAILED, 2).receipt()
    assert (receipt.ttft_ms, receipt.tokens_per_second, receipt.completion_tokens) == (
        None,
        None,
        None,
    )


@pytest.mark.parametrize("kind", [TextDelta, ReasoningDelta])
def test_pieces_that_came_together_count_one_by_one(kind):
    turn = played((101, kind(text="word " * 7, pieces=7)), (102, kind(text="word " * 4, pieces=4)))
    assert (turn.deltas, turn.tokens, turn.tokens_per_second) == (11, 11, 10.0)


def test_a_count_that_lags_behind_the_first_pieces_makes_no_speed_below_zero():
    turn = played(
        (101, TextDelta(text="a")),
        (101.2, UsageReported(prompt_tokens=9, completion_tokens=0)),
        (101.3, TextDelta(text="b")),
    )
    assert (turn.tokens, turn.is_estimated) == (2, True)
    assert turn.tokens_per_second == pytest.approx(1 / 0.3)
    one = played((101, TextDelta(text="a")), (101.3, UsageReported(completion_tokens=1)))
    assert one.tokens_per_second is None


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
        turn = played(*((101, event) for event in events)).end(AnswerState.COMPLETE, 102)
        receipt = turn.receipt(context=context, max_tokens=max_tokens)
        assert (receipt.limit, receipt.finish_reason) == (limit, "length")
        assert receipt.ending == (limit or "length")


@pytest.mark.parametrize(
    ("reason", "ending"),
    [("stop", ""), ("", "no finish reason"), ("content_filter", "content_filter")],
)
def test_an_answer_that_was_not_cut_has_no_limit(reason, ending):
    turn = played((101, TextDelta(text="a")), (101, FULL), (101, StreamFinished(reason=reason)))
    receipt = turn.end(AnswerState.COMPLETE, 102).receipt(context=255, max_tokens=55)
    assert (receipt.limit, receipt.ending) == (None, ending)


@pytest.mark.rule("R-17")
def test_what_turns_out_to_be_thought_lasted_from_the_first_token_to_then():
    turn = played((101, TextDelta(text="hm")), (104, Rethought()))
    assert (turn.stage, turn.thought_s(200)) == (Stage.ANSWERING, 3)
    assert turn.apply(TextDelta(text="Four"), 105).thought_s(200) == 3


@pytest.mark.rule("R-17")
def test_what_turns_out_to_be_the_answer_was_no_thought():
    turn = played((101, ReasoningDelta(text="hm")), (104, Rethought(is_thought=False)))
    assert (turn.stage, turn.thought_s(200)) == (Stage.ANSWERING, None)
    assert turn.end(AnswerState.COMPLETE, 105).receipt().reasoning_ms is None


@pytest.mark.rule("R-18")
def test_what_comes_after_the_servers_count_is_added_to_it():
    turn = played(
        (101, TextDelta(text="abc", pieces=3)),
        (101.5, UsageReported(prompt_tokens=9, completion_tokens=4)),
        (102, TextDelta(text="word " * 50, pieces=50)),
    )
    assert (turn.tokens, turn.is_estimated) == (54, True)
    turn = turn.apply(UsageReported(prompt_tokens=9, completion_tokens=52), 103)
    assert (turn.tokens, turn.is_estimated) == (52, False)


@pytest.mark.rule("R-18")
def test_a_sum_with_an_estimate_of_an_earlier_request_is_an_estimate():
    turn = played((100, RequestSent()), (101, TextDelta(text="abc", pieces=3)))
    turn = turn.apply(RequestSent(), 110).apply(TextDelta(text="d"), 111)
    turn = turn.apply(UsageReported(prompt_tokens=9, completion_tokens=4), 112)
    assert (turn.tokens, turn.is_estimated) == (7, True)


def test_a_token_that_is_held_back_counts_as_the_first_and_goes_with_its_try():
    turn = played((100, RequestSent()), (101, LifeSign()), (103, LifeSign(is_token=True)))
    assert turn.ttft_s == 3
    assert turn.apply(TextDelta(text="a"), 105).ttft_s == 3
    again = turn.apply(RequestSent(), 110)
    assert again.ttft_s is None
    assert again.apply(TextDelta(text="a"), 111).ttft_s == 1


@pytest.mark.rule("R-18")
def test_a_held_token_ends_a_stall():
    turn = played((101, StreamStalled(silent_s=5)), (102, LifeSign(is_token=True)))
    assert (turn.stage, turn.first_token_s) == (Stage.WAITING, 102)


COUNTED = Receipt(
    ttft_ms=190, completion_tokens=40, is_estimated=False, elapsed_ms=900, retries=1, asked="a"
)
NOTHING_CAME = Receipt(elapsed_ms=300)


@pytest.mark.parametrize(
    ("before", "tokens", "is_estimated"), [(NOTHING_CAME, 40, False), (COUNTED, 80, True)]
)
def test_the_count_of_the_server_is_that_of_the_whole_only_where_nothing_had_come(
    before, tokens, is_estimated
):
    whole = COUNTED.after(before)
    assert (whole.completion_tokens, whole.is_estimated) == (tokens, is_estimated)
    assert (whole.elapsed_ms, whole.asked) == (900 + before.elapsed_ms, "a")


def test_what_was_never_measured_is_no_zero():
    assert NOTHING_CAME.after(NOTHING_CAME).completion_tokens is None
    assert NOTHING_CAME.after(NOTHING_CAME).thought_tokens is None


def test_the_thought_of_a_continued_answer_is_that_of_both_parts():
    begun = Receipt(completion_tokens=100, thought_tokens=80)
    assert Receipt(completion_tokens=20).after(begun).thought_tokens == 80
    again = Receipt(completion_tokens=20, thought_tokens=5)
    assert again.after(begun).thought_tokens == 85
