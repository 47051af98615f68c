"""Bodies of requests that `lmchat serve` passes on with changes."""

from __future__ import annotations

from lmchat.serve.bodies import with_changes


def test_all_fields_but_the_changed_ones_and_endpoint_stay_as_they_are():
    body = b'{"model":"a@ollama","":[1.0,  2],"endpoint":"x"}'
    assert with_changes(body, {"model": "a"}) == b'{"model":"a","":[1.0,  2]}'
