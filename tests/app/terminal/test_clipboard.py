from __future__ import annotations

import shutil
from base64 import b64decode
from pathlib import Path

import pytest

from lmchat.app.terminal.clipboard import Clipboard, terminal_copy
from lmchat.base.errors import FileRefused
from tests.support.programs import put_script

pytestmark = pytest.mark.posix  # its programs are scripts of sh


class LogPosition:
    """A machine with a few fake tools."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        for name in ("cat", "rm", "sleep"):  # all that the fakes call: a real clipboard stays out
            (self.bin / name).symlink_to(shutil.which(name))
        self.environ = {"PATH": str(self.bin)}

    def add(self, name: str, script: str):
        put_script(self.bin / name, f"cd {self.folder}\n{script}")

    @property
    def clipboard(self) -> Clipboard:
        return Clipboard(self.environ)

    def clip(self, name: str) -> str:
        return (self.folder / name).read_text(encoding="utf-8")


@pytest.fixture
def place(tmp_path: Path) -> LogPosition:
    return LogPosition(tmp_path)


WAYLAND = {"WAYLAND_DISPLAY": "wayland-0"}
X = {"DISPLAY": ":0"}


@pytest.mark.parametrize(
    ("tools", "environ", "way"),
    [
        ({"wl-copy": "cat > clip", "xclip": "cat > x"}, WAYLAND | X, "wl-copy"),
        ({"wl-copy": "exit 1", "xclip": "cat > clip"}, X, "xclip"),
        ({"xclip": "echo rubbish; kill -9 $$", "xsel": "cat > clip"}, X, "xsel"),
        ({"xclip": "cat > x", "pbcopy": "cat > clip"}, X, "pbcopy"),  # a Mac with XQuartz
    ],
)
async def test_the_first_tool_that_can_work_and_does_is_taken(
    place: LogPosition, tools, environ, way
) -> None:
    for name, script in tools.items():
        place.add(name, script)
    place.environ |= environ
    text = "garden 漢字\n" * 20_000 + "."
    assert await place.clipboard.copy(f"{text} \r\n  \n\t") == way  # no shell runs what is pasted
    assert place.clip("clip") == text


async def test_a_mac_gets_and_gives_utf_8_whatever_the_locale_is(place: LogPosition):
    place.environ |= {"LC_ALL": "C", "LANG": "en_US"}
    place.add("pbcopy", 'cat > clip; echo "$LC_ALL" > locale')
    place.add("pbpaste", 'echo "$LC_ALL"')
    assert await place.clipboard.copy("garden 漢字") == "pbcopy"
    assert (place.clip("clip"), place.clip("locale")) == ("garden 漢字", "en_US.UTF-8\n")
    assert await place.clipboard.paste() == "en_US.UTF-8\n"


async def test_over_ssh_no_tool_is_run(place: LogPosition):
    place.add("pbcopy", "cat > mac")
    place.add("pbpaste", "touch mac")
    place.environ["SSH_CONNECTION"] = "x"
    assert await place.clipboard.copy("garden 漢字") == ""
    with pytest.raises(FileRefused, match="The clipboard is empty"):
        await place.clipboard.paste()
    assert not (place.folder / "mac").exists()


async def test_in_tmux_its_terminal_copies_also_over_ssh(place: LogPosition):
    place.add("tmux", '[ "$*" = "load-buffer -w -" ] && cat > clip')
    place.add("xclip", "cat > x")
    place.environ |= {"TMUX": "default,1,0"}
    assert await place.clipboard.copy("on this desktop") == "xclip"
    place.environ["SSH_TTY"] = "/dev/pts/0"
    assert await place.clipboard.copy("peas\n") == "tmux"
    assert place.clip("clip") == "peas"
    place.add("tmux", "exit 1")  # an older one, without -w
    assert await place.clipboard.copy("peas") == ""


def test_screen_passes_a_copy_on_in_short_pieces():
    text = "garden 漢字\n" * 100
    plain = terminal_copy(text, {})
    assert plain == terminal_copy(text.strip(), {})
    assert b64decode(plain.removeprefix("\x1b]52;c;").removesuffix("\a")).decode() == text.strip()
    pieces = terminal_copy(text, {"STY": "1.pts"}).removesuffix("\x1b\\").split("\x1b\\")
    assert all(piece.startswith("\x1bP") and len(piece) < 100 for piece in pieces)
    assert "".join(piece.removeprefix("\x1bP") for piece in pieces) == plain


PNG = b"\x89PNG\r\n\x1a\n and more"
JPEG = b"\xff\xd8\xff and more"
TIFF = b"II*\0 and more"
HEX = f"«data PNGf{PNG.hex().upper()}»"


def offers(types: str) -> str:
    """A script that prints the types, or the file with the last part of the name of one."""
    return (
        f'last=$(for one; do :; done; echo "$one"); '
        f"case $last in --list-types|TARGETS) printf '{types}\\n';; "
        f"image/png) cat image;; */*) cat ${{last#*/}};; *) cat text;; esac"
    )


@pytest.mark.parametrize(
    ("tools", "environ"),
    [
        ({"wl-copy": "", "wl-paste": offers("image/png")}, WAYLAND),
        ({"xclip": offers("TARGETS\nimage/png")}, X),
        ({"wl-copy": "", "wl-paste": "exit 1", "xclip": offers("image/png")}, WAYLAND | X),
        ({"pbcopy": "", "osascript": f"echo '{HEX}'"}, {}),
    ],
)
async def test_an_image_comes_from_the_first_tool_that_has_one(place, tools, environ):
    place.environ |= environ
    (place.folder / "image").write_bytes(PNG)
    for name, script in tools.items():
        place.add(name, script)
    assert await place.clipboard.paste_image() == PNG


async def test_an_image_that_a_tool_does_not_give_is_named_with_the_way_out(place):
    place.environ |= X
    for kind in ("x-foo", "png"):  # of an unknown form, or of a program that has ended since
        place.add("xclip", offers(f"image/{kind}"))
        (place.folder / kind).write_text("words")
        assert await place.clipboard.paste_image() == b""
        with pytest.raises(FileRefused, match=rf"The clipboard has image/{kind}\.") as refused:
            await place.clipboard.paste()
        assert refused.value.next_step == "Attach it as a file instead."


@pytest.mark.parametrize(
    ("types", "data", "image", "files"),
    [
        ("image/jpeg", {"jpeg": JPEG}, JPEG, ""),
        ("text/html\nimage/tiff", {"tiff": TIFF}, TIFF, ""),
        ("image/x-foo\nimage/jpeg\nimage/png", {"jpeg": JPEG, "x-foo": b"foo"}, JPEG, ""),
        (
            "x-special/gnome-copied-files\ntext/plain",
            {"gnome-copied-files": b"copy\nfile:///beds%20a.txt\nfile:///b.txt"},
            b"",
            "file:///beds%20a.txt\nfile:///b.txt",
        ),
        ("text/uri-list", {"uri-list": b"# a\r\nfile:///b.txt\r\n"}, b"", "file:///b.txt"),
        ("text/uri-list", {"uri-list": b"https://example.org/\r\n"}, b"", ""),
    ],
)
async def test_of_the_types_on_offer_the_first_that_can_be_read_is_taken(
    place, types, data, image, files
):
    place.environ |= X | WAYLAND
    place.add("wl-copy", "")
    for name, content in data.items():
        (place.folder / name).write_bytes(content)
    for tool in ("wl-paste", "xclip"):
        place.add(tool, offers(types))
        assert await place.clipboard.paste_image() == image
        assert await place.clipboard.paste_files() == files
        (place.bin / tool).unlink()


async def test_what_is_copied_commands_no_shell_and_is_else_exact(place: LogPosition):
    place.add("pbcopy", "cat > mac")
    await place.clipboard.copy("a\x1b[31m\r\nb\u202e\udc80 soft\xadware\rend")
    assert place.clip("mac") == "a\u241b[31m\nb\u202e\ufffd soft\xadware\nend"


async def test_the_clipboard_is_read_by_the_first_tool_that_has_it(place: LogPosition):
    place.add("wl-copy", "")
    place.add("wl-paste", "exit 1")
    place.add("xclip", 'case "$*" in *TARGETS) echo STRING;; *) echo from $3;; esac')
    place.environ |= WAYLAND | X
    assert await place.clipboard.paste() == "from -o\n"
