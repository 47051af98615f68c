"""What a terminal is sent when a long answer ends out of sight."""

from __future__ import annotations

import pytest

from lmchat.terminal.desktop import notification


@pytest.mark.parametrize(
    ("how", "environ", "sent"),
    [
        ("bell", {}, "\x07"),
        ("none", {}, ""),
        ("desktop", {}, "\x1b]9;done\x07\x1b]777;notify;lmchat;done\x07"),
        ("desktop", {"TERM_PROGRAM": "WezTerm"}, "\x1b]9;done\x07"),
        ("desktop", {"KITTY_WINDOW_ID": "1"}, "\x1b]9;done\x07"),
        ("desktop", {"TERM": "foot"}, "\x1b]777;notify;lmchat;done\x07"),
        ("desktop", {"TMUX": "x", "TERM": "rxvt"}, "\x1bPtmux;\x1b\x1b]777;notify;lmchat;done\x07\x1b\\\x07"),
    ],
)
def test_each_way_sends_its_bytes(how: str, environ: dict[str, str], sent: str) -> None:
    assert notification(how, "done", environ) == sent


def test_words_from_outside_cannot_end_the_sequence() -> None:
    sent = notification("desktop", "a\x07\x1b]0;evil\x07;b\n" + "x" * 500, {"TERM": "foot"})
    inner = sent.removeprefix("\x1b]777;notify;lmchat;").removesuffix("\x07")
    assert inner.isprintable()
    assert ";" not in inner
    assert len(inner) <= 120
