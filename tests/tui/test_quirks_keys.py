"""From the bytes of a terminal to keys, read by read."""

from __future__ import annotations

import pytest
import textual._parser
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events
from textual.message import Message

from lmchat.tui.quirks.keys import ESCAPE_DELAY_S, BackgroundReported, KeyParser, mend_keys

mend_keys()


class Reader:
    """A parser whose clock tests turn by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.parser = KeyParser()

    def read(self, *reads: str) -> list[str]:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(textual._parser, "get_time", lambda: self.now)
            return [name(event) for data in reads for event in self.parser.feed(data)]

    def later(self, wait_s: float) -> list[str]:
        self.now += wait_s
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(textual._parser, "get_time", lambda: self.now)
            return [name(event) for event in self.parser.tick()]


def name(event: Message) -> str:
    match event:
        case events.Key(key=key):
            return key
        case events.Paste(text=text):
            return f"paste {text!r}"
        case BackgroundReported(is_dark=is_dark):
            return "dark" if is_dark else "light"
        case _:
            return type(event).__name__


@pytest.fixture
def reader() -> Reader:
    return Reader()


KEYS = [
    ("\x1b\r", ["alt+enter"]),
    ("\x1b[13;3u", ["alt+enter"]),
    ("\x1b[27;3;13~", ["alt+enter"]),
    ("\x1b[13;2u", ["shift+enter"]),
    ("\x1b[27;2;13~", ["shift+enter"]),
    ("\r", ["enter"]),
    ("\n", ["ctrl+j"]),
    *((f"\x1b{digit}", [f"alt+{digit}"]) for digit in range(10)),
    ("\x1b[1;3A", ["alt+up"]),
    ("\x1b[1;3B", ["alt+down"]),
    ("\x1b\x1b[A", ["alt+up"]),
    ("\x1b\x1bOB", ["alt+down"]),
    ("\x1b[A", ["up"]),
    ("\x1bx", ["alt+x"]),
    ("\x1bno" + "o" * 40 + "\x1b[A", ["alt+n", *"o" * 41, "up"]),
    ("é", ["é"]),
    ("a\rb\r", ["a", "enter", "b", "enter"]),
    ("\r\x1b[<35;10;10M", ["enter", "MouseMove"]),
    ("\x1b\x1b[<35;10;10M", ["escape", "MouseMove"]),
    ("a\x1b]11;rgb:1/2/3\x1b\\b\x1b[A\r", ["dark", "a", "b", "up", "enter"]),
]


def test_what_comes_in_one_read_is_its_keys_at_once() -> None:
    for sequence, keys in KEYS:
        assert Reader().read(sequence) == keys


def test_a_lone_escape_is_a_key_after_30_ms_and_not_before(reader: Reader) -> None:
    assert ESCAPE_DELAY_S <= 0.04
    assert reader.read("\x1b") == []
    assert reader.parser.wait_s == ESCAPE_DELAY_S
    assert reader.later(ESCAPE_DELAY_S - 0.001) == []
    assert reader.later(0.002) == ["escape"]
    assert reader.parser.wait_s is None


def test_what_is_typed_later_than_escape_is_not_alt_even_if_it_is_read_late(reader: Reader) -> None:
    reader.read("\x1b")
    reader.now += 2 * ESCAPE_DELAY_S
    assert reader.read("n") == ["escape", "n"]
    reader.read("\x1b")
    reader.now += 2 * ESCAPE_DELAY_S
    assert reader.read("[A") == ["up"]


def test_a_sequence_cut_in_two_is_one_key_however_late_its_rest_comes() -> None:
    for sequence, key in (("\x1b[1;3A", "alt+up"), ("\x1b[<35;10;10M", "MouseMove")):
        for cut in range(2, len(sequence)):
            reader = Reader()
            assert reader.read(sequence[:cut]) + reader.later(1) == []
            assert reader.read(sequence[cut:]) == [key]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_a_bracketed_paste_is_whole_wherever_it_is_cut(end: str) -> None:
    pasted = f"\x1b[200~one{end}two \x1b[31m!\x1b[201~a"
    for cut in range(2, len(pasted)):
        reader = Reader()
        found = reader.read(pasted[:cut]) + reader.later(1) + reader.read(pasted[cut:])
        assert found == ["paste 'one\\ntwo \\x1b[31m!'", "a"]


def test_escapes_and_keys_inside_a_paste_do_nothing_else(reader: Reader) -> None:
    assert reader.read("\x1b[200~\x1b" + "z" * 40 + "\r\x03\x1b[201~") == [
        f"paste {chr(27) + 'z' * 40 + chr(10) + chr(3)!r}"
    ]


def test_a_megabyte_is_pasted_in_no_time(reader: Reader) -> None:
    text = "all the words\r" * 75_000
    reads = [text[start : start + 4096] for start in range(0, len(text), 4096)]
    found = reader.read("\x1b[200~", *reads, "\x1b[201~")
    assert len(found) == 1


SCRAPS = (
    "\x1b",
    "[",
    "O",
    "M",
    "<",
    "?",
    ";",
    ":",
    "1",
    "27",
    "99999999999",
    "200~",
    "201~",
    "~",
    "u",
    "A",
    "R",
)
MORE = ("m", "$", "y", "t", "a", "é", "\r", "\n", "\x00", "\udc80", "漢", "I", "-", "\x9b")


@settings(max_examples=400, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(SCRAPS + MORE), min_size=1, max_size=8).map("".join), max_size=4
    )
)
def test_no_bytes_end_the_input(reads: list[str]) -> None:
    reader = Reader()
    for data in reads:
        reader.read(data)
        reader.later(0.01)
    reader.later(1)
    assert reader.read("\x1b[201~", "z")[-1] in {"z", "paste 'z'"}


@pytest.mark.parametrize("sequence", ["\x1b[99999999999u", "\x1b[1:u", "\x1b[2713201R"])
def test_a_key_of_an_impossible_number_is_no_key(reader: Reader, sequence: str) -> None:
    assert reader.read(sequence, "z") == ["z"]


def test_the_background_that_a_terminal_reports_is_never_typed() -> None:
    for colour, shade in (("rgb:1e1e/1e1e/1e1e", "dark"), ("rgba:fd/f6/e3/ff", "light")):
        for end in ("\x1b\\", "\x07"):
            answer = f"\x1b]11;{colour}{end}"
            for cut in range(2, len(answer)):
                assert Reader().read(answer[:cut], answer[cut:], "a") == [shade, "a"]
