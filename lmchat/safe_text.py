"""The filter through which every foreign text goes before terminal, log or file."""

from __future__ import annotations

import re
from typing import NewType

NO_HEADER_VALUE = "has control characters or letters beyond ASCII"
_SHORTEST_SECRET = 3  # a shorter one is in many words, which would be cut with it
_SUBSTITUTE = "\ufffd"  # shown in place of a character that is not safe
# joiners (ZWNJ and ZWJ) and variation selectors: they change how the characters beside them look
_JOINERS = "\u200c\u200d"
_SELECTORS = "\ufe00-\ufe0f\U000e0100-\U000e01ef"
_SHAPING = f"[{_JOINERS}{_SELECTORS}]"
# Joiners and selectors that have no effect. A joiner needs a character beyond ASCII on both sides.
# A selector acts on such a character before it, or on a digit, # or * (drawn as a key by U+20E3).
_WITHOUT_EFFECT = re.compile(
    rf"(?<![^\s\0-\x7f{_JOINERS}])[{_JOINERS}]"
    rf"|[{_JOINERS}](?![^\s\0-\x7f{_JOINERS}{_SELECTORS}])"
    rf"|(?<![^\s\0-\"$-)+-/:-\x7f{_JOINERS}{_SELECTORS}])[{_SELECTORS}]"
)
# visible symbols of control characters: ␛ for Escape; newline and tab have none here
_CONTROL_PICTURES = {code: chr(0x2400 + code) for code in range(0x20)} | {0x7F: "\u2421"}
del _CONTROL_PICTURES[ord("\t")], _CONTROL_PICTURES[ord("\n")]
# the last two code points of each plane: U+FFFE and U+FFFF, U+1FFFE and U+1FFFF, …
_NONCHARACTERS = [chr(end) for end in range(0xFFFE, 0x110000, 0x10000)]
_NONCHARACTERS += [chr(end) for end in range(0xFFFF, 0x110000, 0x10000)]
# code points that must not reach a terminal; a table would take 0.5 MB and five times as long
_HOSTILE = re.compile(
    "["
    "\x00-\x08\x0b-\x1f\x7f"
    "\x80-\x9f"  # C1: one byte can be a whole control sequence
    "\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u3164\ufeff\uffa0"
    "\u180b-\u180f\U00013430-\U0001343f\U0001bca0-\U0001bca3"
    "\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"  # bidi and invisible
    "\ufff0-\ufffb\U0001d173-\U0001d17a\U000e0000-\U000e00ff\U000e01f0-\U000e0fff"
    f"\ufdd0-\ufdef{''.join(_NONCHARACTERS)}"  # YAML refuses a file that holds one of them
    "\ud800-\udfff"  # lone surrogates cannot be written at all
    "]"
)
_NOT_PRINTABLE_ASCII = r"[^\n\t -~]"

SafeText = NewType("SafeText", str)  # text that has passed the filter of `safe_text`


def safe_text(text: str) -> SafeText:
    """Return text that sends no commands to a terminal and hides nothing.

    CRLF becomes LF; newline and tab stay. Other ASCII control characters become their visible
    symbols, and other code points of `_HOSTILE` become U+FFFD. Joiners (ZWJ, ZWNJ) and variation
    selectors without an effect on the characters beside them become U+FFFD, too: a row of them
    can hide any message.
    """
    if text.isascii() and text.isprintable():  # most text, which is returned without a search
        return SafeText(text)
    text = text.replace("\r\n", "\n")
    if text.isascii():
        return SafeText(text.translate(_CONTROL_PICTURES))
    visible = _HOSTILE.sub(
        lambda hostile: _CONTROL_PICTURES.get(ord(hostile[0]), _SUBSTITUTE), text
    )
    return SafeText(_WITHOUT_EFFECT.sub(_SUBSTITUTE, visible))


def on_one_line(text: str) -> SafeText:
    """Return safe text with blanks for line breaks and tabs; blanks at its ends stay."""
    return SafeText(safe_text(text).replace("\n", " ").replace("\t", " "))


def safe_line(text: str, *, limit: int | None = None) -> SafeText:
    """Return safe text on one line without blanks at its ends, for titles, names and errors.

    With `limit`, a longer line is cut to at most that many characters, the last of which is `…`.
    """
    line = on_one_line(text).strip()
    if limit is not None and len(line) > limit:
        # a limit of 0 leaves `…` alone
        line = line[: max(limit - 1, 0)].rstrip() + "…"
    return SafeText(line)


def safe_json(text: str, *, is_ascii: bool = False) -> SafeText:
    """Return JSON text that is safe on a terminal and decodes to the same value.

    If `safe_text` would change the text, all hostile characters, joiners and selectors are escaped.
    With `is_ascii`, all characters beyond ASCII are escaped.
    """
    if is_ascii:
        return SafeText(re.sub(_NOT_PRINTABLE_ASCII, _json_escape, text))
    if safe_text(text) == text:
        return SafeText(text)
    # all joiners: a joiner may lose its effect when the character beside it is escaped
    return SafeText(re.sub(f"{_HOSTILE.pattern}|{_SHAPING}", _json_escape, text))


def shell_word(name: str) -> str:
    """Return a name from outside as one word of a command that a person may paste into a shell."""
    import shlex  # noqa: PLC0415 - few messages hold a command

    return shlex.quote(safe_line(name))


def header_value(text: str) -> str:
    """Return text without blanks and line ends around it, as the value of an HTTP header.

    Raises `ValueError` for control characters and letters beyond ASCII. Its message does not
    quote the text, which may be an API key.
    """
    value = text.strip()
    if not (value.isascii() and value.isprintable()):
        raise ValueError(NO_HEADER_VALUE)
    return value


def without_secret(text: str, secret: str) -> str:
    """Return a text in which `…` replaces a key or header value, also in its URL-encoded form.

    A secret of fewer than `_SHORTEST_SECRET` characters is not replaced.
    """
    from urllib.parse import quote  # noqa: PLC0415 - a start without an error does not need it

    secret = secret.strip()
    if len(secret) < _SHORTEST_SECRET:
        return text
    return text.replace(secret, "…").replace(quote(secret, safe=""), "…")


def _json_escape(unsafe: re.Match[str]) -> str:
    """Return a matched character as JSON writes it in ASCII."""
    import json  # noqa: PLC0415 - most runs escape nothing

    return json.dumps(unsafe[0])[1:-1]  # without its quotes


def decoded_text(data: bytes) -> str:
    """Return bytes as text: as UTF-8 if they are valid UTF-8, else as the likelier encoding.

    Bytes of another encoding hardly ever form a UTF-8 character beyond ASCII by chance. So bytes
    with such a character are taken for damaged UTF-8, others for Windows-1252, which is common for
    old files. Bytes that the encoding does not have become U+FFFD.
    """
    try:
        return data.decode()
    except UnicodeDecodeError:
        text = data.decode("utf-8", "replace")
        valid_text = text.replace(_SUBSTITUTE, "")
        return data.decode("cp1252", "replace") if valid_text.isascii() else text
