from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmchat.core.config.credentials import Credentials
from lmchat.core.config.load import load
from lmchat.core.config.state import State, read_state

_HINT = "write lines as in name = value, with text in quotes, and each name once"


@pytest.mark.parametrize(
    ("text", "line", "words"),
    [
        ("[chat]\ntemperature = 0,7", 2, "expected newline or end of document after a statement"),
        ("model = “x”\n", 1, "invalid value"),
        ("[models.qwen2.5:7b]", 1, "expected ']' at the end of a table declaration"),
        ('ca_file = "C:\\data"', 1, "unescaped '\\' in a string"),
        ("[chat]\n[ui]\n[chat]", 3, "cannot declare ('chat',) twice"),
        ("[[endpoints]]\nname = 'x'\nurl = 'y\n\n", 3, 'expected "\'"'),
        ('[chat]\nsystem_prompt = """x\n\n', 2, "unterminated string"),
        ("a = '\x1b'", 1, r"found invalid character '\x1b'"),
        ('{"model": "x"}', 1, "invalid statement"),
        ("['a (at line 7']\n" * 2, 2, "cannot declare ('a (at line 7',) twice"),
    ],
)
def test_a_mistake_is_told_with_its_line_and_the_words_of_the_parser(tmp_path, text, line, words):
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8", newline="")
    (problem,) = load(file, {}).problems
    assert problem.line == line
    assert problem.reason == f"is not valid TOML: {words}; {_HINT}"


def test_a_name_of_any_length_is_cut_in_its_mistake(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(f"[{'x' * 100_000}]\n" * 2, encoding="utf-8")
    (problem,) = load(file, {}).problems
    assert problem.reason.startswith("is not valid TOML: cannot declare ('xxx")
    assert len(problem.reason) < 300


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


_TEXTS = st.lists(st.sampled_from(_PIECES), max_size=7).map("".join)


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(_TEXTS, _TEXTS)
def test_no_mistake_quotes_the_file(tmp_path, before, after):
    """The parser quotes a name that is there twice, as that of a section; values, never."""
    path = tmp_path / "f.toml"
    for text in (f"{before}s3cret{after}", f'{before}\nkey = "s3cret"{after}\nkey = "s3cret"'):
        path.write_text(text, encoding="utf-8")
        told = Credentials(path).load() + read_state(path)[1]
        assert "s3cret" not in told, text
