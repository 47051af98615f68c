"""The figures of an answer that goes on with another one."""

from __future__ import annotations

from lmchat.domain.message import Receipt

COUNTED = Receipt(ttft_ms=190, completion_tokens=40, is_estimated=False, elapsed_ms=900, retries=1, asked="a")
NOTHING_CAME = Receipt(elapsed_ms=300)


def test_where_nothing_had_come_the_count_of_the_server_is_that_of_the_whole():
    whole = COUNTED.after(NOTHING_CAME)
    assert (whole.completion_tokens, whole.is_estimated, whole.elapsed_ms) == (40, False, 1200)
    assert (whole.retries, whole.asked) == (1, "a")


def test_where_something_had_come_the_sum_is_an_estimate():
    whole = COUNTED.after(COUNTED)
    assert (whole.completion_tokens, whole.is_estimated) == (80, True)


def test_what_was_never_measured_is_no_zero():
    assert NOTHING_CAME.after(NOTHING_CAME).completion_tokens is None
