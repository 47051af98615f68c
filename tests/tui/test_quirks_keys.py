"""From the bytes of a terminal to keys, read by read."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual import events
from textual.message import Message

from lmchat.tui.quirks.keys import (
    ESCAPE_DELAY_S,
    BackgroundReported,
    KeyStream,
    mend_keys,
)

mend_keys()


class Reader:
    """A stream of keys with a clock that tests turn by hand."""

    def __init__(self) -> None:
        self.now = 100.0
        self.stream = KeyStream(clock=lambda: self.now)

    def read(self, *reads: str) -> list[str]:
        found = [
            event for data in reads for event in [*self.stream.tick(), *self.stream.feed(data)]
        ]
        return [name(event) for event in found if not isinstance(event, BackgroundReported)]

    def later(self, wait_s: float) -> list[str]:
        self.now += wait_s
        return [name(event) for event in self.stream.tick()]


def name(event: Message) -> str:
    match event:
        case events.Key(key=key):
            return key
        case events.Paste(text=text):
            return f"paste {text!r}"
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
    ("\x1b[A", ["up"]),
    ("\x1bx", ["alt+x"]),
    ("é", ["é"]),
    ("hi\r", ["h", "i", "enter"]),
    ("\r\x1b[<35;10;10M", ["enter", "MouseMove"]),
    ("\x1b\x1b[<35;10;10M", ["escape", "MouseMove"]),
    ("a\x1b]11;rgb:1/2/3\x1b\\b\x1b[A\x1b]4;1;?\x07\r", ["a", "b", "up", "enter"]),
]


def test_what_comes_in_one_read_is_its_keys_at_once() -> None:
    for sequence, keys in KEYS:
        assert Reader().read(sequence) == keys


def test_a_lone_escape_is_a_key_after_30_ms_and_not_before(reader: Reader) -> None:
    assert ESCAPE_DELAY_S <= 0.04
    assert reader.read("\x1b") == []
    assert reader.later(ESCAPE_DELAY_S - 0.001) == []
    assert reader.later(0.002) == ["escape"]


def test_a_sequence_cut_in_two_is_one_key() -> None:
    sequence = "\x1b[1;3A"
    for cut in range(1, 6):
        assert Reader().read(sequence[:cut], sequence[cut:]) == ["alt+up"]


@pytest.mark.parametrize("end", ["\r", "\r\n"])
def test_lines_in_one_read_are_a_paste_and_never_enter(reader: Reader, end: str) -> None:
    assert reader.read(f"one{end}two{end}") == ["paste 'one\\ntwo\\n'"]


def test_a_bracketed_paste_is_whole_wherever_it_is_cut() -> None:
    pasted = "\x1b[200~one\rtwo \x1b[31m!\x1b[201~a"
    for cut in range(1, 30):
        found = Reader().read(pasted[:cut], pasted[cut:])
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


ANSWERS = (
    "\x1b]52;c;aGVsbG8=\x07",  # a clipboard: its end is the key Ctrl+G, which opens the editor
    "\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\",
    "\x1b]4;1;rgb:ff/00/00\x07",
    "\x1b]lwindow title\x1b\\",
    "\x1bP>|XTerm(370)\x1b\\",
    "\x1bP1$r0m\x1b\\",
    "\x1bP1+r4d73=5c45\x1b\\",
    "\x1b_Gi=1;OK\x1b\\",
    "\x1b[?62;22;52c",
    "\x1b[>41;370;0c",
    "\x1b[0n",
    "\x1b[8;24;80t",
    "\x1b[?0u",
    "\x1b[12;3;4q",
    "\x1b[?997;1n",
)


def test_what_a_terminal_answers_is_never_typed() -> None:
    for answer in ANSWERS:
        for cut in range(1, len(answer)):
            reader = Reader()
            assert reader.read(answer[:cut], answer[cut:]) == []
            assert reader.later(1) == []
            assert reader.read("a") == ["a"]


@pytest.mark.parametrize("sequence", ["\x1b[99999999999u", "\x1b[1:u", "\x1b[2713201R"])
def test_a_key_of_an_impossible_number_is_no_key(reader: Reader, sequence: str) -> None:
    assert reader.read(sequence, "z") == ["z"]
