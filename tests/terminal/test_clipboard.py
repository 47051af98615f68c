from __future__ import annotations

import asyncio
import base64
import shutil
import stat
import time
from pathlib import Path

import pytest

from lmchat.domain.finding import Grade
from lmchat.errors import FileRefused
from lmchat.terminal.clipboard import OSC_52_LIMIT, Clipboard, osc_52
from lmchat.terminal.terminal_checks import clipboard_findings, tried_findings, try_ways
from tests.support.programs import is_running, until


class Place:
    """A machine with a few fake tools."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir()
        for name in ("cat", "rm", "sleep"):  # all that the fakes call: a real clipboard stays out
            (self.bin / name).symlink_to(shutil.which(name))
        self.environ = {"PATH": str(self.bin), "TERM": "xterm-256color"}
        self.written: list[str] = []
        self.has_terminal = True

    def add(self, name: str, script: str) -> None:
        file = self.bin / name
        file.write_text(f"#!/bin/sh\ncd {self.folder}\n{script}\n")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)

    def write(self, data: str) -> bool:
        self.written.append(data)
        return self.has_terminal

    def clipboard(self, timeout_s: float = 5) -> Clipboard:
        clipboard = Clipboard(
            environ=self.environ, write=self.write, file=self.folder / "state" / "copied.txt"
        )
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
        ({"wl-copy": "cat > wl", "xclip": "cat > clip"}, X, "xclip"),
        ({"xsel": "cat > clip"}, WAYLAND | X, "xsel"),
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
    copied = await place.clipboard().copy(text)
    assert (copied.way, copied.words) == (way, f"Copied ({way})")
    assert place.clip("clip").decode() == text
    assert place.written == []


@pytest.mark.parametrize(
    ("name", "environ", "given", "encoding"),
    [
        ("clip.exe", {}, "\n", "utf-16"),
        ("xclip", X, "-selection clipboard\n", "utf-8"),
        ("wl-copy", WAYLAND, "--type text/plain\n", "utf-8"),  # it would take `#!` for a program
    ],
)
async def test_each_tool_gets_what_it_reads(place: Place, name, environ, given, encoding) -> None:
    place.add(name, 'echo "$@" > args; cat > clip')
    place.environ |= environ
    await place.clipboard().copy("#!/bin/sh 漢")
    assert place.clip("args").decode() == given
    assert place.clip("clip").decode(encoding) == "#!/bin/sh 漢"


@pytest.mark.parametrize(
    ("script", "timeout_s", "way"),
    [
        ("exec sleep 60", 0.3, "file"),
        ("cat > x; (sleep 5) & exit 0", 5, "xclip"),
        ("exit 0", 5, "xclip"),
    ],
    ids=["hangs", "stays in the background", "reads nothing"],
)
async def test_a_tool_is_not_waited_for(
    place: Place, script: str, timeout_s: float, way: str
) -> None:
    place.add("xclip", script)
    place.environ["DISPLAY"] = ":0"
    begun = time.monotonic()
    assert (await place.clipboard(timeout_s).copy("a" * 200_000)).way == way
    assert time.monotonic() - begun < 3


@pytest.mark.parametrize("name", ["SSH_CONNECTION", "SSH_TTY", "SSH_CLIENT"])
async def test_over_ssh_the_native_tool_is_skipped(place: Place, name: str) -> None:
    place.add("pbcopy", "cat > mac")
    place.environ[name] = "x"
    assert (await place.clipboard().copy("garden 漢字")).way == "OSC 52"
    assert not (place.folder / "mac").exists()
    data = base64.b64encode("garden 漢字".encode()).decode()
    assert place.written == [f"\x1b]52;c;{data}\x07"]


async def test_gnu_screen_gets_it_in_pieces_that_it_lets_through(place: Place) -> None:
    place.environ |= {"STY": "1.pts", "TERM": "screen-256color"}
    await place.clipboard().copy("x" * 3000)
    pieces = place.written[0].split("\x1b\\")
    assert all(len(piece) <= 768 for piece in pieces)
    assert all(piece.startswith("\x1bP") for piece in pieces[:-1])
    inner = "".join(piece.removeprefix("\x1bP") for piece in pieces)
    assert base64.b64decode(inner.removeprefix("\x1b]52;c;").removesuffix("\x07")) == b"x" * 3000


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (OSC_52_LIMIT // 4 * 3, "(OSC 52)"),
        (OSC_52_LIMIT, "Too long for the terminal's clipboard; saved as "),
    ],
)
async def test_what_is_too_long_for_a_terminal_goes_into_a_file(
    place: Place, size: int, words: str
) -> None:
    assert words in (await place.clipboard().copy("x" * size)).words


@pytest.mark.parametrize("term", ["linux", "dumb", "", None])
async def test_without_a_terminal_that_has_a_clipboard_it_is_a_private_file(
    place: Place, term
) -> None:
    place.has_terminal = term is not None
    place.environ["TERM"] = "xterm" if term is None else term
    await place.clipboard().copy("first")
    copied = await place.clipboard().copy("second")
    assert copied.way == "file"
    assert copied.words == f"No clipboard is available; saved as {place.folder}/state/copied.txt"
    assert place.clip("state/copied.txt") == b"second"
    assert stat.S_IMODE((place.folder / "state/copied.txt").stat().st_mode) == 0o600


async def test_a_link_in_the_place_of_the_file_is_not_followed(place: Place) -> None:
    place.environ["TERM"] = "dumb"
    other = place.folder / "other"
    other.write_text("untouched")
    (place.folder / "state").mkdir()
    (place.folder / "state" / "copied.txt").symlink_to(other)
    await place.clipboard().copy("a")
    assert other.read_text() == "untouched"


async def test_when_nothing_works_it_says_so(place: Place) -> None:
    place.environ["TERM"] = "dumb"
    (place.folder / "state").write_text("in the way")
    with pytest.raises(FileRefused, match="Nothing can be copied") as caught:
        await place.clipboard().copy("a")
    assert "/doctor" in caught.value.hint


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


async def test_a_clipboard_with_too_much_is_refused_and_not_read_to_its_end(place, monkeypatch):
    monkeypatch.setattr("lmchat.terminal.clipboard._MOST_BYTES", 1_000_000)
    place.environ |= X
    place.add("xclip", "while :; do echo 0123456789012345678901234567890123456789; done")
    for paste in (place.clipboard().paste, place.clipboard().paste_image):
        with pytest.raises(FileRefused, match="The clipboard holds more than 1 MB"):
            await paste()


async def test_what_is_copied_is_safe(place: Place) -> None:
    place.add("pbcopy", "cat > mac")
    await place.clipboard().copy("a\x1b[31m\r\nb\u202e\udc80")
    assert place.clip("mac").decode() == "a\u241b[31m\nb\ufffd\ufffd"


async def test_the_doctor_says_which_way_works_and_puts_back_what_was_there(place: Place) -> None:
    place.add("xclip", 'case "$*" in *-o) cat x;; *) cat > x;; esac')
    place.add("pbcopy", "cat > /dev/null")
    place.add("pbpaste", "echo something else")
    place.add("clip.exe", "cat > windows")
    (place.folder / "x").write_text("mine")
    place.environ["DISPLAY"] = ":0"
    found = {way.way: (way.works, way.reason) for way in await try_ways(place.clipboard())}
    assert found == {
        "wl-copy": (False, "$WAYLAND_DISPLAY is not set"),
        "xclip": (True, "read back"),
        "xsel": (False, "not installed"),
        "pbcopy": (False, "lost"),
        "clip.exe": (None, "not tried: the clipboard holds something that could not be put back"),
        "tmux": (False, "$TMUX is not set"),
        "OSC 52": (None, "no terminal reports success; it is tried last"),
        "file": (None, f"if nothing else works: {place.folder}/state/copied.txt"),
    }
    assert place.clip("x") == b"mine"
    assert not (place.folder / "windows").exists()


@pytest.mark.parametrize("paste", ["exit 1", "head -c 200000 /dev/zero"])
async def test_the_doctor_leaves_a_text_alone_that_it_cannot_read(place: Place, monkeypatch, paste):
    monkeypatch.setattr("lmchat.terminal.clipboard._MOST_BYTES", 100_000)
    types = 'case "$*" in *TARGETS*) echo text/plain;;'
    place.add("xclip", f"{types} *-o) {paste};; *) cat > x;; esac")
    place.environ["DISPLAY"] = ":0"
    found = {way.way: way.works for way in await try_ways(place.clipboard())}
    assert found["xclip"] is None
    assert not (place.folder / "x").exists()


@pytest.mark.parametrize(
    ("option", "features", "reason"),
    [
        ("external", "clipboard", "it hands texts to the terminal around it"),
        ("on", "clipboard", "it hands texts to the terminal around it"),
        ("off", "clipboard", "tmux set-option -s set-clipboard external"),
        ("on", "", "older than 3.2"),
    ],
)
async def test_the_doctor_asks_tmux_whether_it_hands_a_text_on(
    place: Place, option: str, features: str, reason: str
) -> None:
    place.add(
        "tmux", f'case "$*" in *features*) echo {features};; *set-clipboard*) echo {option};; esac'
    )
    place.environ["TMUX"] = "/tmp/socket,1,0"  # noqa: S108 - a name
    found = {way.way: way for way in await try_ways(place.clipboard())}
    assert found["tmux"].works is reason.startswith("it hands")
    assert reason in found["tmux"].reason


async def test_what_was_there_is_put_back_when_the_check_is_cut_short(place: Place) -> None:
    place.add(
        "xclip",
        'case "$*" in *-o) cat x; [ "$(cat x)" = mine ] || exec sleep 60;; *) cat > x;; esac',
    )
    (place.folder / "x").write_text("mine")
    place.environ["DISPLAY"] = ":0"

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(1):  # less than the tool is given, which hangs after it was set
            await try_ways(place.clipboard())
    assert place.clip("x") == b"mine"


@pytest.mark.parametrize(
    ("features", "text", "words"),
    [
        ("bpaste,clipboard,title", "a", "Copied (tmux, passed on to its terminal)"),
        ("bpaste,title", "a", "Copied inside tmux: paste with prefix ]"),
        ("", "a", "Copied inside tmux: paste with prefix ]"),
        ("bpaste,clipboard,title", "a" * OSC_52_LIMIT, "Copied inside tmux: paste with prefix ]"),
    ],
)
async def test_what_tmux_keeps_to_itself_is_not_told_as_copied_everywhere(
    place: Place, features: str, text: str, words: str
) -> None:
    script = 'case $1 in load-buffer) echo "$@" > args; cat > buffer;; '
    place.add("tmux", f"{script} display*) echo {features};; esac")
    place.environ["TMUX"] = "socket,1,0"
    assert words in (await place.clipboard().copy(text)).words
    assert place.clip("buffer").decode() == text
    assert (b"-w" in place.clip("args")) is (len(text) < OSC_52_LIMIT), (
        "no terminal is sent what it cannot take"
    )


async def test_a_tmux_that_hands_nothing_on_lets_through_what_is_wrapped(place: Place) -> None:
    place.add(
        "tmux", 'case "$*" in *-w*) echo unknown option >&2; exit 1;; *) cat > /dev/null;; esac'
    )
    place.environ["TMUX"] = "socket,1,0"
    assert (await place.clipboard().copy("a")).way == "OSC 52"
    assert place.written == ["\x1b]52;c;YQ==\x07\x1bPtmux;\x1b\x1b]52;c;YQ==\x07\x1b\\"]


@pytest.mark.parametrize(
    ("told", "way"),
    [
        ("SSH_CONNECTION=1.2.3.4 5 6.7.8.9 22", "tmux"),  # begun here, looked at from elsewhere
        ("-SSH_CONNECTION", "xclip"),  # begun over ssh, looked at from here
        ("LANG=C", "xclip"),
    ],
)
async def test_in_tmux_it_counts_who_looks_on_now(place: Place, told: str, way: str) -> None:
    place.add("xclip", "cat > x")
    place.add(
        "tmux",
        f"case $1 in show-environment) echo '{told}'; echo DISPLAY=:5;; *) cat > buffer;; esac",
    )
    place.environ["TMUX"] = "socket,1,0"
    if told == "-SSH_CONNECTION":
        place.environ |= {"SSH_CONNECTION": "x", "SSH_TTY": "/dev/pts/1"}
    assert (await place.clipboard().copy("a")).way == way


async def test_what_a_tool_has_started_ends_with_it_when_it_takes_too_long(place: Place) -> None:
    place.add("xclip", "sleep 600 & echo $! > pid; wait")
    place.environ["DISPLAY"] = ":0"
    assert (await place.clipboard(timeout_s=1).copy("a")).way == "OSC 52"
    child = int(place.clip("pid"))
    await until(lambda: not is_running(child), "the child ends with it")


async def test_a_full_disk_leaves_the_file_as_it_was(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.environ["TERM"] = "dumb"
    clipboard = place.clipboard()
    await clipboard.copy("first")

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(FileRefused) as caught:
        await clipboard.copy("second")
    assert "No space left" in caught.value.details
    assert place.clip("state/copied.txt") == b"first"
    assert [file.name for file in (place.folder / "state").iterdir()] == ["copied.txt"]


# what the doctor must leave as it is


async def checked(place: Place) -> dict[str, bool | None]:
    return {way.way: way.works for way in await try_ways(place.clipboard())}


_KINDS = (
    "case \"$*\" in *TARGETS) printf 'UTF8_STRING\\n{}\\n';; *-o) echo words;; *) cat > x;; esac"
)


@pytest.mark.parametrize(
    ("tool", "script"),
    [
        ("xclip", _KINDS.format("image/png")),
        ("xclip", _KINDS.format("text/plain\\ntext/html")),
        ("xclip", _KINDS.format("text/uri-list\\ntext/plain")),
        ("xclip", _KINDS.format("application/x-thing")),
        ("xsel", 'case "$*" in *--output) ;; *) cat > x;; esac'),  # nothing, or a picture
    ],
)
async def test_more_than_plain_text_is_left_alone(place: Place, tool: str, script: str) -> None:
    place.add(tool, script)
    place.environ["DISPLAY"] = ":0"
    assert (await checked(place))[tool] is None
    assert not (place.folder / "x").exists()


async def test_an_empty_clipboard_is_empty_afterwards(place: Place) -> None:
    script = 'case "$*" in *TARGETS) exit 1;; *-o) [ -s x ] && cat x;; *) cat > x;; esac'
    place.add("xclip", script)
    place.environ["DISPLAY"] = ":0"
    assert (await checked(place))["xclip"] is True
    assert place.clip("x") == b""


async def test_what_was_copied_while_it_was_tried_stays(place: Place) -> None:
    place.add(
        "xclip",
        'case "$*" in *TARGETS) ;; *-o) cat x;; *) cat > /dev/null; printf theirs > x;; esac',
    )
    (place.folder / "x").write_text("mine")
    place.environ["DISPLAY"] = ":0"
    assert (await checked(place))["xclip"] is False
    assert place.clip("x") == b"theirs"


async def test_a_file_that_cannot_be_written_is_no_way(place: Place) -> None:
    (place.folder / "state").write_text("in the way")
    assert (await checked(place))["file"] is False


async def test_what_was_copied_into_the_file_stays(place: Place) -> None:
    place.environ["TERM"] = "dumb"
    await place.clipboard().copy("mine")
    await checked(place)
    assert [(file.name, file.read_text()) for file in (place.folder / "state").iterdir()] == [
        ("copied.txt", "mine")
    ]


@pytest.mark.parametrize(
    ("environ", "begins"),
    [
        ({"TERM": "xterm-256color"}, ["\x1b]52;"]),
        ({"TERM": "tmux-256color"}, ["\x1b]52;"]),
        ({"TERM": "screen.xterm-256color"}, ["\x1bP\x1b]52;"]),
        ({"TERM": "screen-256color"}, ["\x1bP\x1b]52;", "\x1b\\\x1b]52;"]),
        ({"TERM": "screen-256color", "STY": "1"}, ["\x1bP\x1b]52;"]),
        ({"TERM": "screen-256color", "TMUX": "1"}, ["\x1b]52;", "\x1bPtmux;\x1b\x1b]52;"]),
    ],
)
def test_each_multiplexer_gets_the_form_that_it_lets_through(
    environ: dict[str, str], begins: list[str]
) -> None:
    assert osc_52("YQ==", environ).split("c;YQ==\x07")[: len(begins)] == begins


def test_the_doctor_names_a_tmux_at_the_other_end_of_ssh(place: Place) -> None:
    place.environ["TERM"] = "tmux-256color"
    [way] = [way for way in place.clipboard().ways() if way.way == "OSC 52"]
    assert "tmux set-option -s set-clipboard on" in way.reason


async def test_the_clipboard_is_read_by_the_first_tool_that_has_it(place: Place) -> None:
    place.add("wl-copy", "")
    place.add("wl-paste", "exit 1")
    place.add("xclip", "echo from $3")
    place.environ |= WAYLAND | X
    assert await place.clipboard().paste() == "from -o\n"


async def test_a_clipboard_that_no_tool_reads_is_told(place: Place) -> None:
    with pytest.raises(FileRefused, match="The clipboard is empty, or no tool here can read it"):
        await place.clipboard().paste()


def test_the_doctor_tells_which_way_would_be_taken_without_copying_anything(place: Place) -> None:
    place.add("xclip", "cat > touched")
    place.environ["DISPLAY"] = ":0"
    [row] = clipboard_findings(place.clipboard())
    assert (row.grade, "xclip" in row.cause) == (Grade.OK, True)
    assert not (place.folder / "touched").exists()


@pytest.mark.parametrize(
    ("term", "way", "grade"),
    [("xterm", "OSC 52", Grade.OK), ("linux", "into a file", Grade.WARNING)],
)
def test_without_tools_it_is_the_terminal_or_a_file(
    place: Place, term: str, way: str, grade: Grade
) -> None:
    place.environ["TERM"] = term
    [row] = clipboard_findings(place.clipboard())
    assert (way in row.cause, row.grade) == (True, grade)
    assert row.next_step


async def test_a_tool_that_hangs_costs_its_time_alone(place: Place) -> None:
    place.add("pbcopy", "sleep 60")
    place.add("pbpaste", "echo mine")
    async with asyncio.timeout(10):
        found = {row.name: row for row in await tried_findings(place.clipboard(timeout_s=0.2))}
    assert found["pbcopy"].grade is Grade.WARNING


@pytest.mark.parametrize(
    ("term", "text", "why"),
    [
        ("linux", "garden", "No clipboard is available"),
        ("xterm-256color", "a" * OSC_52_LIMIT, "Too long for the terminal's clipboard"),
    ],
)
async def test_a_temporary_chat_is_never_copied_into_a_file(place: Place, term, text, why) -> None:
    clipboard = Clipboard(environ=place.environ | {"TERM": term}, write=place.write, file=None)
    with pytest.raises(FileRefused, match=f"^{why}, and a temporary chat is not written to a file"):
        await clipboard.copy(text)
    assert sorted(path.name for path in place.folder.rglob("*")) == ["bin", "cat", "rm", "sleep"]
    assert [way.reason for way in await try_ways(clipboard)][-1] == "not in a temporary chat"
