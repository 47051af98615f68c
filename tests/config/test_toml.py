from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmchat.config.credentials import Credentials
from lmchat.config.load import load
from lmchat.config.state import State, read_state

_LINE = "write lines as in name = value"
_STRAIGHT, _QUOTES, _NAME = (
    "straight quotes",
    'a text in quotes, as in name = "text"',
    "needs quotes, as in [models",
)
_CLOSE, _TWICE = 'put """ around a text of several lines', "exists above already"


@pytest.mark.parametrize(
    ("text", "line", "cure"),
    [
        ("\n[models.qwen3*]", 2, _NAME),
        ("[models.qwen2.5:7b]", 1, _NAME),
        ("[models.meta/llama]", 1, _NAME),
        ("[profiles.My profile]", 1, _NAME),
        ("[chat]\nmy key = 1", 2, _NAME),
        ("größe = 1", 1, _NAME),
        ("[chat]\nsystem_prompt = \u2018Be brief\u2019", 2, _STRAIGHT),
        ("model = “x”", 1, _STRAIGHT),
        ("stop = [„x“]", 1, _STRAIGHT),
        ("model = llama3", 1, _QUOTES),
        ("model = qwen3:8b # best", 1, _QUOTES),
        ("endpoint = http://localhost:1234", 1, _QUOTES),
        ("stop = [a, b]", 1, _QUOTES),
        ("endpoint = 192.168.1.5:8080", 1, "or a text in quotes"),
        ("[chat]\ntemperature = 0,7", 2, "a decimal point, not a comma"),
        ("temperature = .7", 1, "a number as in 0.7"),
        ('[chat]\nsystem_prompt = "a\nb"\n', 2, _CLOSE),
        ("[chat]\nsystem_prompt = 'a\nb'\n", 2, _CLOSE),
        ('model = "x', 1, _CLOSE),
        ("model = 'x", 1, _CLOSE),
        ('model = """x', 1, _CLOSE),
        ('ca_file = "C:\\Users\\me"', 1, "in single quotes"),
        ('ca_file = "C:\\data"', 1, "in single quotes"),
        ('[[mcp]]\ncwd = "D:\\" # notes', 2, "in single quotes"),
        ("[chat]\n[ui]\n[chat]", 3, _TWICE),
        ("[chat]\nseed = 1\nseed = 2", 3, _TWICE),
        ("[[mcp]]\n[mcp]", 2, _TWICE),
        ("env = { A = 1, A = 2 }", 1, _TWICE),
        ('{"model": "x"}', None, "is JSON, not TOML"),
        ('"model": "x",', 1, "name = value, not name: value"),
        ("model: x", 1, "name = value, not name: value"),
        ("env = { A = 1", 1, "on one line"),
        ("mouse = True", 1, "true or false, in small letters"),
        ("mouse = no", 1, "true or false, in small letters"),
        ("model = null", 1, "leave out the line"),
        ("model =", 1, "a value behind ="),
        ('model = "x",', 1, "the sign at the end"),
        ('model = "x" // best', 1, "a comment with #"),
        ("; comment", 1, "a comment with #"),
        ("system_prompt = 'it's'", 1, "a text with quotes in it"),
        ('stop = ["a" "b"]', 1, "with commas between"),
        ("[chat", 1, "a section on a line of its own"),
        ("[chat] seed = 1", 1, "a section on a line of its own"),
        ("model\u00a0= 'x'", 1, "the blanks again"),
        ("= 1", 1, _LINE),
        ("- model", 1, _LINE),
        ("a = '\x1b'", 1, _LINE),
    ],
)
def test_a_mistake_is_told_with_its_line_and_its_cure(tmp_path, text, line, cure):
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8", newline="")
    (problem,) = load(file, {}).problems
    assert (problem.line, cure in problem.sentence) == (line, True), problem.sentence


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ("a = 1\n".encode("utf-16"), "UTF-16"),
        ("a = 1\n".encode("utf-16-le"), "UTF-16"),
        (b"a = 1\n" + bytes(64), "UTF-16 or no text"),
        (b"a = '\xe4'", "line 1: is not UTF-8 text: save it as UTF-8"),
        (b"a = " + b"[" * 100_000, "nested too deeply"),
        (b"a." * 100_000 + b"a = 1", "more than 100 parts"),
        (b"a = { " + b"'a' ." * 100_000 + b"a = 1 }", "more than 100 parts"),
    ],
)
def test_bytes_that_are_no_toml_end_in_one_sentence_in_all_three_files(tmp_path, data, words):
    path = tmp_path / "f.toml"
    path.write_bytes(data)
    (problem,) = load(path, {}).problems
    state, warning = read_state(path)
    assert state == State()
    for sentence in (problem.sentence, warning, Credentials(path).load()):
        assert words in sentence


def test_a_file_of_more_than_a_mebibyte_is_refused(tmp_path):
    path = tmp_path / "f.toml"
    path.write_bytes(b"# " + b"x" * 1024 * 1024)
    (problem,) = load(path, {}).problems
    assert "File too large" in problem.sentence
    assert "File too large" in read_state(path)[1]


def test_a_byte_order_mark_is_no_mistake_in_any_of_the_three_files(tmp_path):
    path = tmp_path / "f.toml"
    path.write_bytes(b"\xef\xbb\xbftheme = 'x'\r\n")
    assert read_state(path) == (State(theme="x"), "")
    path.write_bytes(b"\xef\xbb\xbf['http://a:1']\r\nkey = 'k'\r\n")
    credentials = Credentials(path)
    assert (credentials.load(), credentials.keys) == ("", {"http://a:1": "k"})


_PIECES = [
    "s3cret",
    '"',
    "'",
    "[",
    "]",
    "=",
    "{",
    "}",
    "\n",
    ",",
    "#",
    ":",
    ".",
    "key",
    " ",
    "\\",
    "*",
]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sampled_from(_PIECES), max_size=14).map("".join))
def test_no_mistake_quotes_the_file(tmp_path, text):
    path = tmp_path / "f.toml"
    path.write_text(text, encoding="utf-8")
    told = Credentials(path).load() + read_state(path)[1]
    assert "s3cret" not in told
