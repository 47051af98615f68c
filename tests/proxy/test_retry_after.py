from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.proxy.refusals import retry_after_s


@pytest.mark.parametrize(
    ("headers", "facts", "expected"),
    [
        ({}, {}, None),
        ({"retry-after": "7"}, {}, 7.0),
        ({"retry-after": "1.5"}, {}, 1.5),
        ({"retry-after": " 2 "}, {}, 2.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, {}, 1.5),
        ({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}, {}, 0.0),
        ({"retry-after": "soon"}, {}, None),
        ({"retry-after": "-5"}, {}, None),
        ({"retry-after": "1e9"}, {}, None),
        ({"retry-after": "nan"}, {}, None),
        ({"retry-after": "٣"}, {}, None),
        ({}, {"details": [{"@type": "x"}, {"@type": "RetryInfo", "retryDelay": "17s"}]}, 17.0),
        ({}, {"details": "no list"}, None),
    ],
)
def test_each_form_is_read(headers, facts, expected):
    assert retry_after_s(headers, facts) == expected


def test_a_date_in_the_future_is_counted_from_now():
    date = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    assert retry_after_s({"retry-after": date}, {}) == pytest.approx(30, abs=2)


@given(st.text())
def test_no_text_is_too_odd(text):
    assert (retry_after_s({"retry-after": text, "retry-after-ms": text}, {}) or 0) >= 0
