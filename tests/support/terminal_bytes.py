"""Takes apart what a program sent to its terminal: which control sequences, of which kinds, and what else."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"(?P<csi>\x1b\[[0-?]*[ -/]*[@-~])"
    r"|(?P<osc>\x1b\][^\x07\x1b]*(?:\x07|\x1b\\))"
    r"|(?P<string>\x1b[PX^_][^\x1b]*(?:\x1b\\)?)"
    r"|(?P<escape>\x1b.?)"
    r"|(?P<control>[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f])"
    r"|(?P<hidden>[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e]"
    r"|[\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e00ff\U000e01f0-\U000e0fff])"
    r"|(?P<nothing>[\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0010ffff\udc80-\udcff])",  # no characters, no UTF-8
    re.DOTALL,
)
_TO_CLIPBOARD = re.compile(rb"\x1b\]52;c?;([A-Za-z0-9+/=]*)(?:\x07|\x1b\\)")
_WITH_PARAMETERS = "hlnqtuc"
"""Finals of CSI that switch or ask something: their parameters belong to their kind."""


def sequences(raw: bytes) -> Iterator[tuple[str, str]]:
    """Yield each control sequence, control character and invisible character: its name and its text."""
    for match in _TOKEN.finditer(raw.decode("utf-8", "surrogateescape")):
        yield str(match.lastgroup), match[0]


def kinds(raw: bytes) -> set[str]:
    """Return what kinds of them there are: colours and places differ from run to run, kinds do not."""
    return {_kind(name, text) for name, text in sequences(raw)}


def titles(raw: bytes) -> list[str]:
    """Return what was sent as title of the window."""
    found = [re.match(r"\x1b\][012];(.*?)(?:\x07|\x1b\\)\Z", text) for _, text in sequences(raw)]
    return [match[1] for match in found if match]


def _kind(name: str, text: str) -> str:
    if name == "csi" and text[-1] not in _WITH_PARAMETERS:
        return "csi " + re.sub(r"[0-9;:]", "", text[2:])
    if name == "osc":
        return "osc " + text[2:].partition(";")[0]
    return f"{name} {text[1:]!r}" if name != "control" else f"control {text!r}"


def copied(raw: bytes) -> list[str]:
    """Return what was sent to the clipboard of the terminal."""
    return [base64.b64decode(data).decode() for data in _TO_CLIPBOARD.findall(raw)]
