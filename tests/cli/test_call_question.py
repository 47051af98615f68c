from __future__ import annotations

import json

from rich.cells import cell_len

from lmchat.cli.call_question import call_question
from lmchat.sessions.message import ToolCallPart

_CHOICES = "? y once, s this session, a always, n no: "
_FORGED = f"files/read_text{_CHOICES}"
_HOSTILE = {
    "long": {"path": "x" * 100_000},
    "lines": {"path": "a\n" * 500 + _FORGED},
    "carriage returns": {"path": "a\r" * 500 + _FORGED},
    "controls": {"path": f"\x1b[2J\x1b[H\x9b2J{_FORGED}"},
    "wide": {"path": "漢字" * 5_000},
    "combining": {"path": ("e" + "\u0301" * 50) * 2_000},
    "blanks": {"path": " " * 50_000 + _FORGED},
    "joined": {"path": "\U0001f469\u200d\U0001f469\u200d\U0001f467" * 2_000},
    "many": {f"key{number}": number for number in range(3_000)},
    "long key": {"k" * 5_000 + "\n" + _FORGED: 1},
    "nested": {"a": {"b": [{"c": ["\n" * 90] * 90}] * 90}},
}


def question(arguments: object, *, name: str = "shell/run", columns: int = 80) -> list[str]:
    call = ToolCallPart(
        call_id="c1", name=name, arguments=json.dumps(arguments, ensure_ascii=False)
    )
    return call_question(call, columns).split("\n")


def test_each_argument_has_a_line_and_the_last_line_asks():
    assert question({"path": "a.md", "is_new": True, "odd key": None}) == [
        "shell/run wants to run:",
        '    path = "a.md"',
        "    is_new = true",
        '    "odd key" = null',
        f"shell/run{_CHOICES}",
    ]
    assert question({})[0] == "shell/run wants to run, without arguments:"


def test_no_arguments_hide_the_name_or_look_like_the_question():
    for columns in (0, 40, 120):
        for arguments in _HOSTILE.values():
            first, *between, last = question(arguments, columns=columns)
            assert first.startswith("shell/run wants to run")
            assert last == f"shell/run{_CHOICES}"
            assert len(between) <= 19
            assert all(line.startswith("    ") for line in between)
            assert all(cell_len(line) < max(columns, 40) for line in between)
            assert "more" in between[-1] or len(json.dumps(arguments)) < 200


def test_a_letter_keeps_two_marks_at_most():
    assert "e\u0301\u0301" in question(_HOSTILE["combining"])[1]
    assert "\u0301" * 3 not in "".join(question(_HOSTILE["combining"]))


def test_a_long_name_is_cut_before_the_keys():
    last = question({}, name=f"web/{'漢' * 400}\n{_FORGED}")[-1]
    assert last.startswith("web/漢")
    assert last.endswith(_CHOICES)
    assert cell_len(last) <= 60 + len(_CHOICES)
