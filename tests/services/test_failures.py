"""What is kept of an answer that failed, and what the log has of it."""

from __future__ import annotations

import pytest

from lmchat.errors import ServerUnavailable
from lmchat.services.turn_stats import failure_of


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (ServerUnavailable("Nothing answers.", details="secret words"), "offline"),
        (KeyError("secret words"), "bug"),
    ],
)
def test_the_log_has_each_failure_under_the_id_that_its_card_shows(caplog, error, kind):
    failure = failure_of(error)
    assert failure.kind == kind
    assert failure.failure_id
    assert f"id {failure.failure_id}" in caplog.messages[-1]
    assert "secret words" not in caplog.messages[-1]
