from __future__ import annotations

import json
import os
import sys
from contextlib import redirect_stdout
from io import BytesIO, StringIO, TextIOWrapper

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.app.terminal.output import Output, SafeStream, pipe_utf8, table, to_json
from lmchat.base.errors import LMChatError, WrongUse
from lmchat.base.safe_text import safe_text
from tests.support.programs import Cli

_HOSTILE = "a\x1b]0;owned\x07b\x9b31mc\u202ed\x7fe\u2066f\U000e0041g\ud800h\u200d"


class TerminalText(StringIO):
    """What a terminal gets."""

    def isatty(self) -> bool:
        return True


def test_text_is_made_safe_for_a_terminal_and_ends_in_one_newline():
    terminal = TerminalText()
    with redirect_stdout(terminal):
        Output().print_text(_HOSTILE)
        Output().print_text("line\n")
    assert terminal.getvalue() == safe_text(_HOSTILE) + "\nline\n"
    assert "\x1b" not in terminal.getvalue()


def test_a_pipe_gets_text_as_it_is(capsys):
    for text in ("soft\xadware \u200b\ufeff\u202e\r\n\x1b[1m\x9b\x00", "no line end"):
        stream = SafeStream()
        for char in text:
            stream.write(char)
        stream.end()
        Output().print_text(text)
        assert capsys.readouterr().out == 2 * f"{text}\n"


_PIECES = st.text(st.sampled_from("aé❤葛1\xad\u200b\u200c\u200d\ufe0f\u202e\r\n\x1b\t"))


@given(st.lists(_PIECES))
def test_a_terminal_gets_the_same_in_pieces_and_at_once(pieces):
    stdout = TerminalText()
    with redirect_stdout(stdout):
        stream = SafeStream()
        for piece in pieces:
            stream.write(piece)
        stream.end()
    text = safe_text("".join(pieces))
    assert stdout.getvalue() == (f"{text}\n" if text[-1:] not in ("", "\n") else text)


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r", "\v", "\x85", "\u2028", "\x1b[1E"])
def test_a_name_in_a_line_begins_no_other_line(capsys, end):
    name = f"model{end}\tlmchat: forged"
    Output().print_lines([f"  {name} is loaded", "next"])
    Output().print_result({}, f"{name}: loaded")
    Output().note(f"lmchat: {name}", "hint")
    Output().print_error(LMChatError(f"{name} failed.", next_step="Try again."))
    captured = capsys.readouterr()
    assert [line.strip()[:4] for line in captured.out.splitlines()] == ["mode", "next", "mode"]
    assert [line[:13] for line in captured.err.splitlines()] == [
        *("lmchat: model", "hint"),
        *("lmchat: model", "Try again."),
    ]
    assert "\x1b" not in captured.out + captured.err


@given(st.text(st.characters(codec="utf-16", exclude_categories=())))
def test_any_text_comes_back_out_of_json(text):
    written = to_json(text)
    assert json.loads(written) == text
    assert safe_text(written) == written
    assert "é 日本 🎉" in to_json({text: ["é 日本 🎉"]})


def test_a_failure_is_a_sentence_a_hint_and_a_document_where_one_is_wanted(capsys):
    error = LMChatError("It\x1b[1m broke.", next_step="Mend it.", kind="offline")
    Output(is_json=True).print_error(error)
    captured = capsys.readouterr()
    detail = json.loads(captured.out)["detail"]
    assert (detail["error"], detail["message"]) == ("offline", "It\x1b[1m broke.")
    assert detail["timestamp"].endswith("Z")
    assert captured.err == "lmchat: It␛[1m broke.\nMend it.\n"


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_a_stream_that_is_closed_from_the_start_does_no_harm(monkeypatch, capsys, stream):
    monkeypatch.setattr(f"sys.{stream}", None)
    Output().print_text("printed")
    Output().note("noted")
    printed, noted = capsys.readouterr()
    assert printed.strip() == ("" if stream == "stdout" else "printed")
    assert noted.strip() == ("" if stream == "stderr" else "noted")


def test_an_error_keeps_its_exit_code_if_the_reader_of_its_document_is_gone(capsys):
    reading, writing = os.pipe()
    os.close(reading)
    wrong = WrongUse("There is no such option.")
    with os.fdopen(writing, "w", encoding="utf-8") as pipe, redirect_stdout(pipe):
        assert Output(is_json=True).print_error(wrong) == 2
        assert Output(is_json_lines=True).print_error(wrong) == 2
        os.dup2(os.open(os.devnull, os.O_WRONLY), writing)  # for what the pipe has not taken
    assert "There is no such option." in capsys.readouterr().err


def test_a_stream_that_is_not_utf_8_gets_what_it_can_show_and_json_loses_nothing(monkeypatch):
    stdout = TextIOWrapper(BytesIO(), encoding="ascii")
    monkeypatch.setattr("sys.stdout", stdout)
    Output().print_text("café 日")
    Output(is_json=True).print_json("café 日")
    first, second = stdout.buffer.getvalue().splitlines()
    assert first == b"caf? ?"
    assert json.loads(second) == "café 日"


def test_half_a_character_of_a_server_is_no_error(monkeypatch):
    stdout = TextIOWrapper(BytesIO(), encoding="utf-8", newline="\n")
    monkeypatch.setattr("sys.stdout", stdout)
    Output().print_safe("half \ud83d")
    assert stdout.buffer.getvalue() == b"half ?\n"


def test_columns_fit_wide_characters_and_hostile_names():
    assert table(("A", "B"), [("日本", "x"), ("a\x1b[2J\nb", "")]) == [
        "A        B",
        "日本     x",
        "a␛[2J b",
    ]


def test_one_endless_name_does_not_widen_every_row_without_end():
    lines = table(["NAME", "SIZE"], [["x" * 1_000_000, "1"], ["y", "2"]])
    assert max(map(len, lines)) < 250
    assert lines[1].split()[0].endswith("…")


@pytest.mark.parametrize(
    ("platform", "environ", "written"),
    [
        ("win32", {}, "你好 🙂".encode()),
        ("win32", {"PYTHONIOENCODING": "cp1252"}, b"?? ?"),
        ("linux", {}, b"?? ?"),
    ],
)
def test_pipes_of_windows_get_utf8_unless_the_user_names_an_encoding(
    monkeypatch, platform, environ, written
):
    pipe = BytesIO()
    monkeypatch.setattr(sys, "stdout", TextIOWrapper(pipe, encoding="cp1252", newline="\n"))
    pipe_utf8((sys.stdout, None), environ, platform)
    Output().print_text("你好 🙂")
    assert pipe.getvalue() == written + b"\n"


@pytest.mark.windows
def test_a_pipe_gets_utf8_from_a_command(tmp_path):
    done = Cli(tmp_path)("export", "你好")
    assert "你好" in done.stderr
