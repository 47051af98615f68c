"""From the bytes of a terminal to keys, read by read."""

from __future__ import annotations

from ast import literal_eval
from codecs import getincrementaldecoder
from collections.abc import Iterable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from textual import events
from textual.message import Message

from lmchat.app.terminal.tty import LONGEST_WAIT_S, PASTE_END, PASTE_START
from lmchat.app.tui.quirks.console_keys import ConsoleKeys
from lmchat.app.tui.quirks.keys import (
    ESCAPE_DELAY_S,
    BackgroundReported,
    KeyParser,
    Paste,
)
from tests.support.counting import calls_of


class Reader:
    """A parser whose clock tests turn by hand."""

    def __init__(self, *, has_kitty: bool = False) -> None:
        self.now = 100.0
        self.parser = KeyParser(now=lambda: self.now)
        self.read("\x1b[?29u" if has_kitty else "\x1b[?0u")

    def read(self, *reads: str) -> list[str]:
        return [name(event) for data in reads for event in self.parser.feed(data)]

    def later(self, wait_s: float) -> list[str]:
        self.now += wait_s
        return [name(event) for event in self.parser.tick()]


def name(event: Message) -> str:
    match event:
        case events.Key(key=key):
            return key
        case Paste(text=text, is_marked=is_marked):
            return f"{'paste' if is_marked else 'text'} {text!r}"
        case BackgroundReported(is_dark=is_dark):
            return "dark" if is_dark else "light"
        case _:
            return type(event).__name__


def test_letters_of_one_read_cost_about_as_much_as_a_marked_paste():
    letters = "sow peas\t漢" * 500
    costs = [
        calls_of(lambda text=text: list(KeyParser().feed(text)))
        for text in (f"{PASTE_START}{letters}{PASTE_END}", letters, letters * 9)
    ]
    assert max(costs[1:]) <= 3 * costs[0]


def one_by_one(names: Iterable[str]) -> list[str]:
    """Name the keys that made the pieces of text; leave out the background."""
    keys = []
    for found in names:
        text = literal_eval(found[5:]) if found.startswith("text ") else ""
        keys += [{"\n": "enter", "\t": "tab"}.get(char, char) for char in text] or [found]
    return [key for key in keys if key != "dark"]


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
    ("\x1bno" + "o" * 40 + "\x1b[A", ["escape", f"text 'no{'o' * 40}'", "up"]),
    ("é", ["é"]),
    ("\x1b\x1b[3~", ["alt+delete"]),
    ("\x1b\x1bOH", ["alt+home"]),
    ("\x1bOXa\x1bOlb\x1bOEc", ["text '=a,b'", "kp_begin", "text 'c'"]),
    ("\x1b\x7f", ["alt+backspace"]),
    ("\x1b ", ["alt+space"]),
    ("\x1b.", ["alt+full_stop"]),
    ("\x1bD", ["alt+shift+d"]),
    ("\x1b\x03", ["alt+ctrl+c"]),
    ("sow\r", ["text 'sow'", "enter"]),
    ("a\r", ["a", "enter"]),
    ("\ra", ["text '\\na'"]),
    ("\tsow\t", ["text '\\tsow'", "tab"]),
    ("a\rb\r", ["text 'a\\nb\\n'"]),
    ("one\r\n\ttwo\r\nthree", ["text 'one\\n\\ttwo\\nthree'"]),
    ("sow\x7f\x7fo\r", ["text 'sow'", "backspace", "backspace", "text 'o'", "enter"]),
    ("\r\r", ["enter", "enter"]),
    ("\x1b[115;;115u\x1b[111;;111u\x1b[13u", ["text 'so'", "enter"]),
    ("\x1bOK then", ["escape", "text 'OK then'"]),
    ("\r\x1b[<35;10;10M", ["enter", "MouseMove"]),
    ("\x1b\x1b[<35;10;10M", ["escape", "MouseMove"]),
    ("a\x1b]11;rgb:1/2/3\x1b\\b\x1b[A\r", ["dark", "text 'ab'", "up", "enter"]),
    ("a\x1b[?997;2nb", ["LooksReported", "text 'ab'"]),
    ("\x1b[200~\x1bzz\r\x03\x1b[201~", ["paste '\\x1bzz\\n\\x03'"]),
]


def test_what_comes_in_one_read_is_its_keys_at_once():
    for sequence, keys in KEYS:
        assert Reader().read(sequence) == keys


# answers to a program that has ended, such as vim, and keys that neither Textual nor lmchat knows
UNKNOWN = [
    *("\x1b[?1;2c", "\x1b[>41;354;0c", "\x1b[?1u", "\x1b[0n", "\x1b[8;24;80t"),
    *("\x1b[214z", "\x1b[1;2y", "\x1b[99~", "\x1b[99A", "\x1b[?12;2$z"),
    *("\x1bP>|XTerm(380)\x1b\\", "\x1bP1+r436f=3235\x1b\\", "\x1b_Gi=1;OK\x1b\\"),
    *("\x1b]10;rgb:1/2/3\x07", "\x1b]4;1;rgb:12/34/56\x1b\\"),
    "\x1b[99999999999u",  # of an impossible number
    "\x1b[1:u",
    "\x1b[2713201R",
]


def test_what_is_no_known_key_types_nothing():
    for sequence in UNKNOWN:
        typed = [key for key in Reader().read(f"a{sequence}b") if key != "<ignore>"]
        assert typed in (["text 'ab'"], ["text 'a'", "text 'b'"]), sequence
    # a number in brackets behind a key with Alt is typed
    assert Reader().read("\x1bP", "12") == ["alt+shift+p", "text '12'"]
    assert Reader().read("\x1b[", "h") == []


def test_a_lone_escape_is_a_key_after_30_ms_and_not_before(reader: Reader):
    assert ESCAPE_DELAY_S <= 0.04
    assert reader.read("\x1b") == []
    assert reader.parser.wait_s == ESCAPE_DELAY_S
    assert reader.later(ESCAPE_DELAY_S - 0.001) == []
    assert reader.later(0.002) == ["escape"]
    assert reader.parser.wait_s is None


def test_alt_and_o_which_may_begin_a_sequence_types_nothing(reader: Reader):
    assert reader.read("\x1bO") == []
    reader.now += 1
    assert [event.character for event in reader.parser.tick()] == [None]


def test_what_is_typed_later_than_escape_is_not_alt_even_if_it_is_read_late(reader: Reader):
    reader.read("\x1b")
    reader.now += 2 * ESCAPE_DELAY_S
    assert reader.read("n") == ["escape", "n"]
    reader.read("\x1b")
    reader.now += 2 * ESCAPE_DELAY_S
    assert reader.read("[A") == ["up"]


# of kitty, of xterm with modifyOtherKeys, and of all terminals
SEQUENCES = [
    *("\x1b[27u", "\x1b[13;2u", "\x1b[97;;97u", "\x1b[1092::97;5u", "\x1b[57441;2u", "\x1b[1;5P"),
    *("\x1b[27;2;13~", "\x1b[27;5;99~", "\x1b[27;3;1092~", "\x1b[27;6;67~"),
    *(
        "\x1b[1;5C",
        "\x1b[A",
        "\x1b[15~",
        "\x1b[3;5~",
        "\x1bOP",
        "\x1bOH",
        "\x1b[[A",
        "\x1b[200~a\x1b[201~",
    ),
    *("\x1b[<35;10;10M", "\x1b[<0;10;10m", "\x1b[I", "\x1b[O", "\x1b[?2026;2$y", "\x1b[?1;2c"),
    *("\x1b]11;rgb:1e1e/1e1e/1e1e\x1b\\", "\x1b]11;rgb:1/2/3\x07"),
]


# https://sw.kovidgoyal.net/kitty/keyboard-protocol/#functional-key-definitions; xterm sends most of
# them so, too. `ESC [1;2R` may be the place of the cursor: kitty sends F3 as `ESC [13~`.
CODES = (
    "1A 1B 1C 1D 1E 1F 1H 1P 1Q 13~ 1S 15~ 17~ 18~ 19~ 20~ 21~ 23~ 24~"
    " 2~ 3~ 5~ 6~ 7~ 8~ 9u 13u 27u 127u 57361u 57363u 57376u"
)
NAMES = (
    "up down right left kp_begin end home f1 f2 f3 f4 f5 f6 f7 f8 f9 f10 f11 f12"
    " insert delete pageup pagedown home end tab enter escape backspace print_screen menu f13"
)
MODIFIERS = ("shift", "alt", "ctrl", "super", "hyper", "meta")


def with_modifiers(bits: int, key: str) -> str:
    """Name a key with its modifiers, which are in the order of the alphabet."""
    held = (name for index, name in enumerate(MODIFIERS) if bits & (1 << index))
    return "+".join((*sorted(held), key))


TABLES = {  # without the locks, and with them
    f"\x1b[{code[:-1]};{bits + locks + 1}{code[-1]}": with_modifiers(bits, key)
    for code, key in zip(CODES.split(), NAMES.split(), strict=True)
    for bits in range(64)
    for locks in (0, 192)
}
for key in ("a", "z"):  # Shift alone types a capital
    for bits in range(2, 64):
        TABLES[f"\x1b[{ord(key)};{bits + 1}u"] = with_modifiers(bits, key)
        code = ord(key.upper() if bits & 1 else key)
        TABLES[f"\x1b[27;{bits + 1};{code}~"] = with_modifiers(bits, key)


def test_the_keys_of_kitty_and_of_xterm_have_all_their_modifiers():
    assert Reader(has_kitty=True).read(*TABLES) == [*TABLES.values()]
    assert Reader().read("\x1b\b", "\x1b\n") == ["alt+backspace", "alt+enter"]
    # the small letter of İ is two characters
    assert Reader().read("\x1bİ", "b") == ["alt+shift+İ", "b"]
    assert Reader(has_kitty=True).read("\x1b[304;3u", "b") == ["alt+İ", "b"]


def test_where_escape_has_a_sequence_keys_are_the_same_wherever_they_are_cut():
    for sequence in SEQUENCES:
        keys = Reader(has_kitty=True).read(sequence)
        for cut in range(1, len(sequence)):
            reader = Reader(has_kitty=True)
            got = reader.read(sequence[:cut]) + reader.later(LONGEST_WAIT_S - 0.1)
            assert got + reader.read(sequence[cut:], "z") == [*keys, "z"], (sequence, cut)


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([*SEQUENCES, *TABLES]),
            st.integers(1, 12),
            st.sampled_from((0.01, 0.05, 0.2, 1.9)),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
@example([("\x1b[I", 1, 0.05, False), ("\x1b[O", 1, 0.05, False)])  # the focus
def test_a_sequence_that_is_cut_anywhere_types_nothing_and_leaves_no_key_dead(sequences):
    reader = Reader()
    keys = []
    got = []
    read = ""
    for sequence, cut, wait_s, is_joined in sequences:
        # Alt+O is ESC O; behind a late ESC, O and a letter are text
        is_ss3 = sequence.startswith("\x1bO")
        place = 0 if is_ss3 else cut
        keys += Reader().read(sequence)
        got += reader.read(read + sequence[:place]) + reader.later(wait_s)
        read = sequence[place:]
        if read and (is_ss3 or not is_joined):
            got += reader.read(read)
            read = ""
    got += (reader.read(read) if read else []) + reader.later(LONGEST_WAIT_S)
    assert {*one_by_one(got)} <= {"escape", *one_by_one(keys)}  # a lone ESC is Esc
    assert reader.read("z") == ["z"]


def test_a_lone_escape_is_no_key_where_escape_has_a_sequence():
    reader = Reader(has_kitty=True)
    for later in ("n", "\x1b[110u", "é"):
        assert reader.read("\x1b") + reader.later(0.2) + reader.read(later) in (["n"], ["é"])
    assert reader.read("\x1b") + reader.later(LONGEST_WAIT_S) + reader.read("[1;5C", "n") == ["n"]


def test_behind_a_lone_escape_only_a_burst_of_the_form_of_a_sequence_is_dropped():
    for late, keys in (
        ("[1;5C", []),
        ("[<35;10;10M\x1b[<35;11;10M", ["MouseMove"]),
        ("OK then", ["text 'OK then'"]),
        *((text, [f"text {text!r}"]) for text in ("OK", "On", "[1]", "[x", "[no", "[ ]")),
        ("[", ["left_square_bracket"]),
    ):
        reader = Reader()
        assert reader.read("\x1b") + reader.later(0.2) + reader.read(late) == ["escape", *keys]
    reader = Reader()
    assert reader.read("\x1b") + reader.later(0.2) + reader.read("n", "[A") == [
        *("escape", "n", "text '[A'")
    ]


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n"])
def test_a_bracketed_paste_is_whole_wherever_it_is_cut(end: str):
    pasted = f"\x1b[200~one{end}two \x1b[31m!\x1b[201~a"
    for cut in range(2, len(pasted)):
        reader = Reader()
        found = reader.read(pasted[:cut]) + reader.later(1) + reader.read(pasted[cut:])
        assert found == ["paste 'one\\ntwo \\x1b[31m!'", "a"]


@pytest.mark.parametrize(
    ("started", "text"),
    [
        ("\x1b[200~one\ttwo", "one\ttwo"),
        ("\x1b[200~", ""),
        ("\x1b[200~one\r\x1b[31m\x1b[201", "one\n\x1b[31m"),  # a mark is no text
        ("\x1b[200~漢 \x1b[200~b", "漢 \x1b[200~b"),
    ],
)
def test_a_paste_without_its_end_mark_is_text_after_two_seconds(started: str, text: str):
    for cut in range(1, len(started)):
        reader = Reader()
        assert reader.read(started[:cut], started[cut:]) + reader.later(LONGEST_WAIT_S - 0.1) == []
        assert reader.later(0.1) == [f"paste {text!r}"]
        assert reader.later(9) + reader.read("a", "\x03", "\x1b[A") == ["text 'a'", "ctrl+c", "up"]


def test_each_byte_of_a_paste_begins_the_two_seconds_again(reader: Reader):
    assert reader.read("\x1b[200~") == []
    for letter in "slowly":
        assert reader.later(LONGEST_WAIT_S - 0.1) + reader.read(letter) == []
    assert reader.later(LONGEST_WAIT_S) == ["paste 'slowly'"]


@pytest.mark.parametrize(
    ("key", "name_of_key"),
    [
        *(("\x03", "ctrl+c"), ("\x1b[99;5u", "ctrl+c"), ("\x1b[27;5;99~", "ctrl+c")),
        *(("\x1b", "escape"), ("\x1b[27u", "escape"), ("\x1b[27;129u", "escape")),
    ],
)
def test_escape_and_ctrl_c_in_reads_of_their_own_end_a_paste(key: str, name_of_key: str):
    for started in ("\x1b[200~one\r", "\x1b[200~one\r\ufffd"):
        reader = Reader()
        found = reader.read(started, key) + reader.later(ESCAPE_DELAY_S)
        assert found == [f"paste {started[6:].replace(chr(13), chr(10))!r}", name_of_key]
        rest = reader.read("z", "\r", key) + reader.later(ESCAPE_DELAY_S)
        assert rest == ["text 'z'", "text '\\n'", name_of_key]
    for half in ("\x1b[1;", "\x1b]11;rgb:1/2", "\x1b[?2026;2$"):
        reader = Reader()
        assert (reader.read(half, key) + reader.later(ESCAPE_DELAY_S))[-1] == name_of_key


def test_of_the_marks_of_a_paste_nothing_is_typed_wherever_they_stall():
    for cut in range(1, len(PASTE_END)):
        begun = f"{PASTE_START}sow\rwater{PASTE_END[:cut]}"
        rest = PASTE_END[cut:]
        for reads, found in (
            ((rest, "\r"), ["paste ''", "enter"]),
            ((*rest, "a\r"), ["paste ''", "a", "enter"]),
            (("hi",), ["text 'hi'"]),
            (("peas\r" + PASTE_END[:cut], rest, "\r"), ["text 'peas\\n'", "paste ''", "enter"]),
        ):
            reader = Reader()
            assert reader.read(begun) + reader.later(LONGEST_WAIT_S) == ["paste 'sow\\nwater'"]
            got = [key for read in reads for key in reader.read(read) + reader.later(0)]
            assert got == found, (cut, reads)
        reader = Reader()
        reader.read(PASTE_START[:cut])
        reader.later(LONGEST_WAIT_S)
        assert reader.read(PASTE_START[cut:], "a\r", f"b{PASTE_END}") == ["paste 'a\\nb'"]
    reader = Reader()
    reader.read(f"{PASTE_START}sow", "\x1b")
    assert reader.later(ESCAPE_DELAY_S) == ["paste 'sow'", "escape"]
    assert reader.read(PASTE_END[1:], "\r") == ["paste ''", "enter"]


# of the keypad, of kitty with and without locks, and of xterm
ENTERS = ("\x1bOM", "\x1b[13u", "\x1b[57414u", "\x1b[13;129u", "\x1b[57414;65u", "\x1b[27;1;13~")


def test_behind_a_paste_without_its_mark_the_user_still_has_enter_escape_and_ctrl_c():
    for keys, found in (
        (("\r",), ["enter"]),
        (("\x03", "\r"), ["ctrl+c", "enter"]),
        (("\x1b[27u", "\r"), ["escape", "enter"]),
        *(((enter,), ["enter"]) for enter in ENTERS),
        *(((enter[:2], enter[2:]), ["enter"]) for enter in ENTERS),
    ):
        reader = Reader()
        reader.read("\x1b[200~one\r")
        reader.later(LONGEST_WAIT_S)
        assert reader.read("a", "\x1b[A") == ["text 'a'", "up"]
        assert reader.read(*keys) + reader.later(LONGEST_WAIT_S) == found
        assert reader.read("b", "\r") == ["b", "enter"]
    for enter in ENTERS:  # the user was too early
        reader = Reader()
        reader.read(f"{PASTE_START}one")
        reader.later(LONGEST_WAIT_S)
        assert reader.read(enter, f"two{PASTE_END}", "\r") == ["paste '\\ntwo'", "enter"]


def test_a_paste_of_more_than_eight_megabytes_is_several():
    reader = Reader()
    text = "all the words\r" * 700_000
    reads = [text[start : start + 65_536] for start in range(0, len(text), 65_536)]
    found = reader.read("\x1b[200~", *reads, "\x1b[201~", "z")
    pastes = [paste.removeprefix("paste ").strip("'") for paste in found[:-1]]
    assert len(pastes) == 2
    assert "".join(pastes) == text.replace("\r", "\\n")
    assert found[-1] == "z"


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


PIECES = [piece.encode("utf-8", "surrogatepass") for piece in (*SCRAPS, *MORE)]
PIECES += [
    b"\x1b[200~",
    b"\x1b[201~",
    b"\x1b]11;rgb:1/2",
    b"\x1bP1+r",
    b"\x1b_G",
    b"\xe6",
    b"\xff",
    b"\x03",
]
reads_and_waits = st.lists(
    st.tuples(
        st.lists(st.sampled_from(PIECES), min_size=1, max_size=6).map(b"".join),
        st.integers(0, 30),
        st.sampled_from((0, 0.01, 0.05, 1, 3)),
    ),
    max_size=5,
)


@settings(max_examples=200, deadline=None)
@given(reads_and_waits)
@example([(b"\x1b[200~\xe6", 0, 3)])
@example([(b"\x1b[200~\r", 0, 0)])
def test_no_bytes_leave_a_key_dead_however_they_are_cut_and_whenever_they_come(reads):
    for has_kitty, waits_s, last, key in (
        (False, LONGEST_WAIT_S, b"z", "z"),
        (True, LONGEST_WAIT_S, b"z", "z"),
        (False, LONGEST_WAIT_S, b"\r", "enter"),
        (False, 0, b"\x03", "ctrl+c"),
        (True, 0, b"\x03", "ctrl+c"),
        (False, 0, b"\x1b", "escape"),
        (True, 0, b"\x1b[27u", "escape"),
    ):
        reader = Reader(has_kitty=has_kitty)
        decode = getincrementaldecoder("utf-8")("replace").decode
        for data, cut, wait_s in reads:
            for part in filter(None, (data[:cut], data[cut:])):
                reader.read(decode(part))
                reader.later(wait_s)
        reader.later(waits_s)
        # half a character may be left in front of it
        found = (reader.read(decode(last)) + reader.later(LONGEST_WAIT_S))[-1]
        assert found in (key, f"text '\ufffd{key}'", f"text '{key}'")


def test_the_background_that_a_terminal_reports_is_never_typed():
    for colour, shade in (("rgb:1e1e/1e1e/1e1e", "dark"), ("rgba:fd/f6/e3/ff", "light")):
        for end in ("\x1b\\", "\x07"):
            answer = f"\x1b]11;{colour}{end}"
            for cut in range(2, len(answer)):
                assert Reader().read(answer[:cut], answer[cut:], "a") == [shade, "a"]


# what the key of C, of Q and of D types with usual layouts
LETTERS = {
    "ru": "сйв",
    "uk": "сйв",
    "el": "ψ;δ",
    "he": "ב/ג",
    "ar": "ؤضي",
    "fa": "زضی",
    "ka": "ცქდ",
    "hy": "ցքդ",
    "th": "แๆก",
    "hi": "मौ्",
    "ta": "மௌ்",
    "ko": "ㅊㅂㅇ",
}


def test_ctrl_and_alt_mean_the_place_of_a_key_with_each_layout(reader: Reader):
    for letters in LETTERS.values():
        for letter, place in zip(letters, "cqd", strict=True):
            code = ord(letter)
            at = ord(place)
            shifted = ord(letter.upper())
            for bits, modifier in ((5, "ctrl"), (3, "alt"), (6, "ctrl+shift"), (69, "ctrl")):
                forms = [f"{code}::{at};{bits}u", f"{code}:{shifted}:{at};{bits}u"]
                if not letter.isascii():
                    forms += [f"{code};{bits}u", f"{shifted};{bits}u", f"27;{bits};{code}~"]
                for form in forms:
                    assert reader.read(f"\x1b[{form}") == [f"{modifier}+{place}"]
            if not letter.isascii():
                assert reader.read(f"\x1b{letter}") == [f"alt+{place}"]
                assert reader.read(f"\x1b[{code};1;{code}u") == reader.read(letter)


def test_the_layout_of_the_users_language_goes_before_others(monkeypatch):
    assert Reader().read("\x1b[1092;5u") == ["ctrl+a"]  # ф with a Russian keyboard
    monkeypatch.setenv("LC_ALL", "bg_BG.UTF-8")
    assert Reader().read("\x1b[1092;5u", "\x1b[1098;5u") == ["ctrl+b", "ctrl+c"]
    monkeypatch.setenv("LC_ALL", "sr_RS.UTF-8")
    assert Reader().read("\x1b[1094;5u", "\x1b[1113;5u") == ["ctrl+c", "ctrl+q"]


def test_latin_layouts_keep_their_letters_and_have_figures_where_they_are():
    for sequence, key in (
        ("\x1b[97::113;5u", "ctrl+a"),  # A of France
        ("\x1b[233::50;3u", "alt+2"),
        ("\x1b[38:49:49;4u", "alt+1"),  # Alt, Shift and &
        ("\x1b[246::59;5u", "ctrl+ö"),
        ("\x1b[1633;3u", "alt+1"),  # in Arabic
        ("\x1b[1093::91;5u", "ctrl+left_square_bracket"),
        ("\x1b[67;5u", "ctrl+c"),  # Caps Lock
        ("\x1b[99:67:99;133u", "ctrl+c"),  # Num Lock
        ("\x1b[106;5;106u", "ctrl+j"),  # with a text, as some terminals send it
        ("\x1b[106;3;106u", "alt+j"),
        ("\x1b[106;3;8710u", "increment"),  # Option and J
        ("\x1b[64;7;8364u", "euro_sign"),  # AltGr as Ctrl and Alt
    ):
        assert Reader().read(sequence) == [key]


def test_keys_of_the_keypad_and_with_shift_are_those_of_the_rest_without_a_text():
    signs = ["slash", "asterisk", "minus", "plus"]
    keypad = [f"\x1b[{code}u" for code in range(57410, 57414)]
    assert Reader().read(*keypad) == signs
    assert Reader().read("\x1b[57399;129u", "\x1b[57414;129u", "\x1b[57400;3u") == [
        "0",
        "enter",
        "alt+1",
    ]
    for sequence, char in (
        ("\x1b[97;2u", "A"),
        ("\x1b[97;65u", "A"),
        ("\x1b[97:65;66u", "a"),  # Shift and Caps Lock
        ("\x1b[27;2;65~", "A"),
        ("\x1b[49:33;2u", "exclamation_mark"),
        ("\x1b[1089;2u", "\u0421"),
        ("\x1b[97;129u", "a"),
    ):
        assert Reader().read(sequence) == [char]
    assert Reader().read("\x1b[1u", "\x1b[57500u", "\x1b[57500;5u") == []


def test_a_character_whose_halves_come_in_two_reads_of_a_console_is_one_key():
    keys = ConsoleKeys()
    reads = ("a\ud83d", "\ude42", "\ud83d", "b")  # of the third, the second half never comes
    found = [name(key) for read in reads for key in keys.feed(read)]
    assert found == ["a", "slightly_smiling_face", "text '\ufffdb'"]
