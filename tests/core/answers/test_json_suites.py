"""The suites of other people for JSON and JSON schemas; `data/README.md` says where they are from."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

from lmchat.base.errors import RequestInvalid
from lmchat.base.json_values import NotJsonError, decode
from lmchat.core.answers.json_schema import Schema, strict_json

DATA = Path(__file__).parent / "data"
DRAFTS = {
    "draft7": "http://json-schema.org/draft-07/schema#",
    "draft2020-12": "https://json-schema.org/draft/2020-12/schema",
}
CHECKS_NOTHING = {"$schema", "$defs", "default", "then", "else", "minContains", "maxContains"}
CHECKS_NOTHING |= {"additionalItems", "contentMediaType", "contentEncoding", "contentSchema"}
REFERS_TO_OTHERS = {"refRemote", "dynamicRef", "vocabulary"}


def rows(name: str) -> list:
    return [json.loads(line) for line in (DATA / name).read_text(encoding="utf-8").splitlines()]


@pytest.mark.parametrize("draft", DRAFTS)
def test_every_schema_of_the_suite_is_checked_as_the_standard_says_or_refused(draft):
    checked = 0
    for case_draft, file, schema, values in rows("json_schema_test_suite.jsonl"):
        if case_draft != draft:
            continue
        named = {"$schema": DRAFTS[draft], **schema} if isinstance(schema, dict) else schema
        checker = None
        with contextlib.suppress(RequestInvalid):
            checker = Schema(named)
        if checker is None:
            is_known = isinstance(schema, dict) and not schema.keys() <= CHECKS_NOTHING
            assert not is_known or file in REFERS_TO_OTHERS, (file, schema)
            continue
        for value, is_valid in values:
            assert (checker.misfit(value) == "") is is_valid, (file, schema, value)
            checked += 1
    assert checked > (800 if draft == "draft7" else 1100)


def test_every_text_of_the_suite_is_read_or_refused_by_answers_and_servers():
    for name, text in rows("json_test_suite.jsonl"):
        data = text.encode("latin-1")
        is_json = name.startswith("y_")
        is_none = name.startswith("n_")
        try:
            value = strict_json(data.decode())
            assert not is_none, name
            assert not is_json or decode(data) == value, name
        except ValueError:
            assert not is_json, name
            with contextlib.suppress(NotJsonError):  # servers may send what is not quite JSON
                decode(data)
