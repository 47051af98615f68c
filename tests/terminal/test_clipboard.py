from __future__ import annotations

import shutil
import stat
from pathlib import Path

import pytest

from lmchat.errors import FileRefused
from lmchat.terminal.clipboard import Clipboard


class Place:
    """A machine with a few fake tools."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for name in ("cat", "rm", "sleep"):  # all that the fakes call: a real clipboard stays out
            (self.bin / name).symlink_to(shutil.which(name))
        self.environ = {"PATH": str(self.bin)}

    def add(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(f"#!/bin/sh\ncd {self.folder}\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def clipboard(self, timeout_s: float = 5) -> Clipboard:
        clipboard = Clipboard(self.environ)
        clipboard.timeout_s = timeout_s
        return clipboard

    def clip(self, name: str) -> bytes:
        return (self.folder / name).read_bytes()


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


WAYLAND, X = {"WAYLAND_DISPLAY": "wayland-0"}, {"DISPLAY": ":0"}


@pytest.mark.parametrize(
    ("tools", "environ", "way"),
    [
        ({"wl-copy": "cat > clip", "xclip": "cat > x"}, WAYLAND | X, "wl-copy"),
        ({"wl-copy": "exit 1", "xclip": "cat > clip"}, X, "xclip"),
        ({"xclip": "kill -9 $$", "xsel": "cat > clip"}, X, "xsel"),
        (
            {"xclip": "cat > /dev/null; echo rubbish; echo more >&2; exit 3", "xsel": "cat > clip"},
            X,
            "xsel",
        ),
        ({"pbcopy": "cat > clip"}, {}, "pbcopy"),
    ],
)
async def test_the_first_tool_that_can_work_and_does_is_taken(
    place: Place, tools, environ, way
) -> None:
    for name, script in tools.items():
        place.add(name, script)
    place.environ |= environ
    text = "garden 漢字\n" * 20_000
    assert await place.clipboard().copy(text) == way
    assert place.clip("clip").decode() == text


@pytest.mark.parametrize("name", ["SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"])
async def test_over_ssh_no_tool_is_run(place: Place, name: str) -> None:
    place.add("pbcopy", "cat > mac")
    place.add("pbpaste", "touch mac")
    place.environ[name] = "x"
    assert await place.clipboard().copy("garden 漢字") == ""
    with pytest.raises(FileRefused, match="The clipboard is empty"):
        await place.clipboard().paste()
    assert not (place.folder / "mac").exists()


PNG = b"\x89PNG\r\n\x1a\n and more"
HEX = f"«data PNGf{PNG.hex().upper()}»"


@pytest.mark.parametrize(
    ("tools", "environ"),
    [
        ({"wl-copy": "", "wl-paste": '[ "$2" = image/png ] && cat image'}, WAYLAND),
        ({"xclip": 'case "$*" in *"-t image/png") cat image;; esac'}, X),
        ({"wl-copy": "", "wl-paste": "exit 1", "xclip": "cat image"}, WAYLAND | X),
        ({"pbcopy": "", "osascript": f"echo '{HEX}'"}, {}),
    ],
)
async def test_an_image_comes_from_the_first_tool_that_has_one(place, tools, environ):
    place.environ |= environ
    (place.folder / "image").write_bytes(PNG)
    for name, script in tools.items():
        place.add(name, script)
    assert await place.clipboard().paste_image() == PNG


@pytest.mark.parametrize("script", ["echo words", "exit 1", "sleep 60", "kill -9 $$"])
async def test_a_tool_that_lies_fails_or_hangs_has_no_image(place, script):
    place.environ |= X
    place.add("xclip", script)
    assert await place.clipboard(timeout_s=0.3).paste_image() == b""


async def test_what_is_copied_is_safe(place: Place) -> None:
    place.add("pbcopy", "cat > mac")
    await place.clipboard().copy("a\x1b[31m\r\nb\u202e\udc80")
    assert place.clip("mac").decode() == "a\u241b[31m\nb\ufffd\ufffd"


async def test_the_clipboard_is_read_by_the_first_tool_that_has_it(place: Place) -> None:
    place.add("wl-copy", "")
    place.add("wl-paste", "exit 1")
    place.add("xclip", "echo from $3")
    place.environ |= WAYLAND | X
    assert await place.clipboard().paste() == "from -o\n"
