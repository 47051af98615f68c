"""The filter through which every foreign text goes before terminal, log or file."""

from __future__ import annotations

import codecs
import re
import sys
from contextlib import suppress
from typing import NewType

NO_HEADER_VALUE = "has control characters or letters beyond ASCII"
_SHORTEST_SECRET = 3  # a shorter one is in many words
_SUBSTITUTE = "\ufffd"  # in place of a character that is not safe
WINDOWS = "cp1252"  # Windows-1252, which has Latin-1
# Three letters beyond ASCII in a row, or a sign between two letters, but for an apostrophe: they
# are hardly ever in a text of Windows-1252, but often in one of another encoding.
_NO_WINDOWS = r"[^\0-\x7f]{3}|[^\W\d_][^\w\0-\x7f’][^\W\d_]"
_ASCII = r"[\0-\x7f]+"
# but that of UTF-8; that of UTF-32 starts as that of UTF-16 does
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
# ZWNJ, ZWJ and variation selectors change how the characters beside them look
_JOINERS = "\u200c\u200d"
SELECTORS = "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"  # in a class
# A selector acts on a character beyond ASCII before it, or on a digit, # or * (drawn as a key by
# U+20E3); a joiner on two characters beyond ASCII. Others have no effect.
_IDLE_SELECTOR = rf"(?<![^\s\0-\"$-)+-/:-\x7f{_JOINERS}{_SELECTORS}])[{_SELECTORS}]"
_IDLE_JOINER = (
    rf"(?<![^\s\0-\x7f{_JOINERS}])[{_JOINERS}]"
    rf"|[{_JOINERS}](?![^\s\0-\x7f{_JOINERS}{_SELECTORS}])"
)
# symbols of controls: ␛ for Escape; line ends and tab have none here
_CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
del _CONTROL_PICTURES[ord("\t")], _CONTROL_PICTURES[ord("\n")], _CONTROL_PICTURES[ord("\r")]
# what programs send to a terminal: strings, with their ends on the same line, and other sequences
_SEQUENCE = r"\x1b(?:[]PX^_][^\x00-\x1f\x7f]*(?:\x07|\x1b\\)|\[[0-?]*[ -/]*[@-~]|[ -/]*[0-~])"
_ERASE_LINE = "\x1b[2K"
# the last two code points of each plane: U+FFFE and U+FFFF, U+1FFFE and U+1FFFF, …
_NONCHARACTERS = [chr(end) for end in range(0xFFFE, 0x110000, 0x10000)]
_NONCHARACTERS += [chr(end) for end in range(0xFFFF, 0x110000, 0x10000)]
# what a terminal or a shell could take for a command; one byte of C1 can be a whole sequence
_CONTROLS = "\x00-\x08\x0b-\x1f\x7f-\x9f"
_SURROGATES = "\ud800-\udfff"  # lone ones cannot be written
# what reorders the text around it, ends a line elsewhere, or is no letter: tags too
MARKED = (
    "\u2028-\u202e\u2066-\u2069\ufff0-\ufff8\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
    f"\ufdd0-\ufdef{''.join(_NONCHARACTERS)}"
)
# of ordinary text, such as the soft hyphen
UNSEEN = (
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180e\u180f\u200b\u200e\u200f"
    "\u2060\u2061\u2062\u2063\u2064\u2065\u206a\u206b\u206c\u206d\u206e\u206f"
    "\u3164\ufeff\uffa0\ufff9\ufffa\ufffb"
    f"{''.join(map(chr, range(0x13430, 0x13440)))}"
    f"{''.join(map(chr, range(0x1BCA0, 0x1BCA4)))}{''.join(map(chr, range(0x1D173, 0x1D17B)))}"
)
# classes of a pattern: a table would take 0.5 MB and five times as long. Most texts need only the
# two that are compiled at once.
_COMMANDING = re.compile(f"[{_CONTROLS}{_SURROGATES}]")
_HOSTILE = f"[{_CONTROLS}{_SURROGATES}{MARKED}]"
_UNSEEN = f"[{UNSEEN}]"
_NOT_PLAIN = re.compile(f"[{_CONTROLS}{_SURROGATES}{MARKED}{UNSEEN}{_JOINERS}{_SELECTORS}]")
_NOT_PRINTABLE_ASCII = r"[^\n\t -~]"
# also the empty cell of Braille, an empty note and a filler of Khitan
_BLANKS = f"[\\s\u2800\U0001d159\U00016fe4{UNSEEN}{_JOINERS}{_SELECTORS}]+"
_BLANK = "\u2423"
_MOST_ASKED = 600  # characters above a question, and of it: they fit on 24 lines of 80 columns
_LEAST_OF_ROW = 25  # as which a shorter row counts

SafeText = NewType("SafeText", str)  # has passed `safe_text`


def safe_text(text: str) -> SafeText:
    """Make text that sends no commands to a terminal and reorders nothing.

    Each line end becomes LF; tabs stay. Other controls become their symbols, other code points of
    `_HOSTILE` U+FFFD. Invisible characters are left out, and joiners and selectors without an
    effect: how much room a terminal gives them is not known.
    """
    if text.isascii() and text.isprintable():  # most text
        return SafeText(text)
    if _NOT_PLAIN.search(text) is None:
        return SafeText(text)
    text = re.sub(_UNSEEN, "", with_line_feeds(text))
    visible = re.sub(_IDLE_SELECTOR, "", re.sub(_HOSTILE, _visible, text))
    return SafeText(re.sub(_IDLE_JOINER, "", visible))


def with_line_feeds(text: str) -> str:
    """Make CRLF and CR, which end a line for CommonMark, too, LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n")


def as_printed(text: str) -> str:
    """Return the output of a program as a terminal shows it, without colours.

    Of a line, that is what follows its last CR or erasure; a backspace deletes a character. What
    remains may have controls.
    """
    lines = (re.sub(_SEQUENCE, "", line.rpartition(_ERASE_LINE)[2]) for line in text.split("\n"))
    return "\n".join(_backspaced(line.rstrip("\r").rpartition("\r")[2]) for line in lines)


def _backspaced(line: str) -> str:
    if "\b" not in line:
        return line
    printed: list[str] = []
    for char in line:
        if char != "\b":
            printed.append(char)
        elif printed:
            printed.pop()
    return "".join(printed)


def without_controls(text: str) -> str:
    """Make text for a clipboard, an export or a widget that filters what it paints.

    Each line end becomes LF; what could be a command becomes visible. All else stays.
    """
    if (text.isascii() and text.isprintable()) or _COMMANDING.search(text) is None:
        return text
    return _COMMANDING.sub(_visible, with_line_feeds(text))


def _visible(hostile: re.Match[str]) -> str:
    return _CONTROL_PICTURES.get(ord(hostile[0]), _SUBSTITUTE)


def on_one_line(text: str) -> SafeText:
    """Blanks at its ends stay."""
    return SafeText(safe_text(text).replace("\n", " ").replace("\t", " "))


def controls_on_one_line(text: str) -> str:
    return without_controls(text).replace("\n", " ").replace("\t", " ")


def safe_line(text: str, *, limit: int | None = None) -> SafeText:
    """Put safe text on one line, for titles, names and errors; `…` ends a cut one."""
    return SafeText(_cut(on_one_line(text).strip(), limit))


def marked_line(text: str) -> SafeText:
    """Put foreign text of a question on one line.

    A run of blanks or of letters that show nothing is one mark, but for a blank between words: it
    would push what follows off the screen.
    """
    return safe_text(re.sub(_BLANKS, lambda run: " " if run[0] == " " else _BLANK, text))


def bounded_rows(*texts: str) -> list[SafeText]:
    """Put all of foreign texts on rows for a question about them; none if they are too long."""
    rows = [marked_line(text) for text in texts]
    return rows if sum(max(len(row), _LEAST_OF_ROW) for row in rows) <= _MOST_ASKED else []


def line_without_controls(text: str, *, limit: int | None = None) -> str:
    """Put text on one line as `safe_line` does, but by `without_controls`."""
    return _cut(controls_on_one_line(text).strip(), limit)


def os_text(text: str) -> str:
    """Make text of the system, such as an argument, fit to be sent, stored and shown.

    Python keeps bytes that it cannot decode as lone surrogates; they are decoded as UTF-8.
    """
    text = re.sub("[\ud800-\udc7f\udd00-\udfff]", _SUBSTITUTE, text)  # they stand for no byte
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _cut(line: str, limit: int | None) -> str:
    if limit is None or len(line) <= limit:
        return line
    return line[: max(limit - 1, 0)].rstrip() + "…"  # a limit of 0 leaves `…` alone


def safe_json(text: str, *, is_ascii: bool = False) -> SafeText:
    """It decodes to the same value."""
    if is_ascii:
        return SafeText(re.sub(_NOT_PRINTABLE_ASCII, _json_escape, text))
    if safe_text(text) == text:
        return SafeText(text)
    # all joiners: one may lose its effect when its neighbour is escaped
    return SafeText(_NOT_PLAIN.sub(_json_escape, text))


def shell_word(name: str) -> str:
    import shlex  # noqa: PLC0415 - few messages hold a command
    import subprocess  # noqa: PLC0415

    word = safe_line(name)
    return subprocess.list2cmdline([word]) if sys.platform == "win32" else shlex.quote(word)


def header_value(text: str) -> str:
    """Strip the value of an HTTP header.

    Raises `ValueError` for controls and letters beyond ASCII, without the text, which may be an API
    key.
    """
    value = text.removeprefix("\ufeff").strip()  # a byte order mark, as of a file
    if not (value.isascii() and value.isprintable()):
        raise ValueError(NO_HEADER_VALUE)
    return value


def without_secret(text: str, *secrets: str) -> str:
    """Replace keys and header values by `…`, also URL-encoded, or in JSON as PHP writes them."""
    from urllib.parse import quote  # noqa: PLC0415 - a start without an error does not need it

    # the longest first: one may be a part of another
    for secret in sorted(map(str.strip, secrets), key=len, reverse=True):
        if len(secret) >= _SHORTEST_SECRET:
            for written in (secret, quote(secret, safe=""), secret.replace("/", r"\/")):
                text = text.replace(written, "…")
    return text


def _json_escape(unsafe: re.Match[str]) -> str:
    import json  # noqa: PLC0415 - most runs escape nothing

    return json.dumps(unsafe[0])[1:-1]  # without its quotes


def encoding_of(data: bytes) -> str:
    """Return the encoding that a byte order mark names, UTF-8, or Windows-1252; else "".

    Bytes of another encoding hardly ever form UTF-8. So bytes of which most form it are damaged
    UTF-8, and others Windows-1252 if nothing speaks against it.
    """
    encoding = _marked_encoding(data)
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        foreign = re.sub(_ASCII, "", data.decode("utf-8", "replace"))
        is_damaged_utf_8 = 2 * foreign.count(_SUBSTITUTE) <= len(foreign)
        if not (is_damaged_utf_8 or data.startswith(codecs.BOM_UTF8)):
            with suppress(UnicodeDecodeError):
                return "" if re.search(_NO_WINDOWS, data.decode(WINDOWS)) else WINDOWS
            return ""
    return encoding


def json_text(data: bytes) -> str:
    """Decode UTF-8, or what a byte order mark names; raises `UnicodeDecodeError`."""
    return data.decode(_marked_encoding(data))


def _marked_encoding(data: bytes) -> str:
    for mark, encoding in _MARKS.items():
        if data.startswith(mark):
            with suppress(UnicodeDecodeError):
                data.decode(encoding)
                return encoding
    return "utf-8-sig"
