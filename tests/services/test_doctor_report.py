from __future__ import annotations

import json

from lmchat.domain.candidate import Finding, Grade, Group
from lmchat.services.doctor import report_json, report_text, without_home


def row(name: str, grade: Grade, cause: str, step: str = "", group: Group = Group.FILES) -> Finding:
    return Finding(check="x", group=group, name=name, grade=grade, cause=cause, next_step=step)


ROWS = [
    row("Jan", Grade.FAULT, "It wants a key.", "Settings", Group.SERVERS),
    row("模型", Grade.ABSENT, "Nothing answers.", "start it", Group.SERVERS),
    row("Folder", Grade.OK, "/home/ada/x is fine."),
]


def test_columns_stand_under_each_other_whatever_is_written_in_them():
    lines = report_text(ROWS).splitlines()
    assert lines == [
        "Servers",
        "  fault   Jan     It wants a key.",
        "                  next: Settings",
        "  absent  模型    Nothing answers.",
        "",
        "Files",
        "  ok      Folder  /home/ada/x is fine.",
        "",
        "1 fault in 3 checks",
    ]


def test_a_step_is_told_only_where_one_is_needed():
    assert "start it" not in report_text(ROWS)


def test_a_narrow_terminal_wraps_and_a_pipe_does_not():
    rows = [row("N", Grade.OK, "word " * 40)]
    assert max(len(line) for line in report_text(rows, width=60).splitlines()) <= 60
    assert max(len(line) for line in report_text(rows).splitlines()) > 190


def test_an_address_or_path_is_never_broken_by_wrapping():
    path = "/" + "long/" * 30
    assert path in report_text([row("N", Grade.OK, f"At {path} it is.")], width=60)


def test_what_came_from_outside_is_made_safe():
    row = Finding(
        check="a",
        group=Group.FILES,
        name="a\x1b[2J",
        grade=Grade.FAULT,
        cause="b\n\u202ec",
        next_step="d\x07",
    )
    text = report_text([row])
    assert not {"\x1b", "\u202e", "\x07"} & set(text)
    assert len(text.splitlines()) == 5


def test_colours_are_of_the_words_alone():
    text = report_text(ROWS, paint=lambda word, grade: f"<{word}>")
    assert "<fault>   Jan" in text
    assert "<Servers>" in text


def test_home_is_written_so_that_a_shell_still_finds_it():
    assert without_home("chmod 600 /home/ada/x", "/home/ada") == "chmod 600 ~/x"
    assert without_home("rm '/home/ada/my file'", "/home/ada/") == "rm ~/'my file'"
    assert without_home("/home/adam/x", "/home/ada") == "/home/adam/x"
    assert without_home("/srv/x", "") == "/srv/x"
    assert without_home("/x/y", "/") == "/x/y"


def test_the_document_has_stable_keys_and_all_steps():
    value = json.loads(json.dumps(report_json(ROWS, "2026-11-20T08:00:00.000Z")))
    assert list(value) == ["healthy", "verdict", "counts", "checks", "timestamp"]
    assert (value["healthy"], value["verdict"]) == (False, "fault")
    assert value["counts"] == {"ok": 1, "warning": 0, "fault": 1, "absent": 1, "not_tried": 0}
    assert list(value["checks"][0]) == ["check", "group", "name", "verdict", "cause", "next_step", "facts"]
    assert value["checks"][1]["next_step"] == "start it"
    assert value["checks"][2]["next_step"] is None
