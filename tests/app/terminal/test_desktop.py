from __future__ import annotations

import sys
from contextlib import ExitStack

import pytest

from lmchat.app.terminal.programs import notification, open_file, open_in_browser
from tests.support.programs import put_script, until

pytestmark = pytest.mark.posix  # its programs are scripts of sh

PAGE = "https://example.org/a?b=c&d=$(id)"


@pytest.fixture
def programs(tmp_path):
    """Programs that write down what they were asked for; no other program is found."""

    def make(name):
        put_script(
            tmp_path / name,
            f"printf '%s|' {name} \"$@\" $LMCHAT_API_KEY > {tmp_path}/new\necho noise\n"
            f"/bin/mv {tmp_path}/new {tmp_path}/log",
        )

    make.log = tmp_path / "log"
    make.environ = {"PATH": str(tmp_path), "TERM": "xterm", "LMCHAT_API_KEY": "k"}
    return make


@pytest.mark.parametrize(
    ("name", "environ", "words"),
    [
        ("xdg-open", {"DISPLAY": ":9"}, f"xdg-open|{PAGE}|"),
        ("wslview", {"WSL_DISTRO_NAME": "d"}, f"wslview|{PAGE}|"),
        ("open", {}, f"open|{PAGE}|"),
        ("mine", {"BROWSER": "mine --new-tab %s"}, f"mine|--new-tab|{PAGE}|"),
        ("mine", {"BROWSER": "mine", "SSH_TTY": "/dev/pts/9"}, f"mine|{PAGE}|"),
    ],
)
async def test_the_page_is_handed_to_the_browser_as_one_word_and_nothing_is_printed(
    programs, capfd, monkeypatch, name, environ, words
):
    if name == "open":  # of macOS
        monkeypatch.setattr(sys, "platform", "darwin")
    programs(name)
    programs("lynx")
    assert await open_in_browser(PAGE, environ=programs.environ | environ)
    await until(programs.log.exists, "the browser is asked")
    assert programs.log.read_text(encoding="utf-8") == words
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize(
    "environ",
    [{}, {"BROWSER": "/no/such/w3m"}, {"DISPLAY": ":9", "PATH": "."}, {"SSH_TTY": "/dev/pts/9"}],
)
async def test_no_browser_is_run_that_needs_the_terminal_or_lies_in_the_current_folder(
    programs, environ, monkeypatch
):
    for name in ("lynx", "w3m", "www-browser", "xdg-open"):
        programs(name)
    monkeypatch.chdir(programs.log.parent)
    assert not await open_in_browser(PAGE, environ=programs.environ | environ)
    assert not programs.log.exists()


async def test_nothing_but_pages_of_the_web_is_opened(programs):
    programs("xdg-open")
    for address in ("file:///etc/passwd", "javascript:alert(1)", "--help", ""):
        assert not await open_in_browser(address, environ=programs.environ | {"DISPLAY": ":9"})
    assert not programs.log.exists()


async def test_over_ssh_a_file_is_left_where_its_path_says_until_the_end(
    programs, tmp_path, monkeypatch
):
    def copies() -> list[bytes]:
        return [file.read_bytes() for file in tmp_path.glob("lmchat-*/*")]

    programs("xdg-open")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    environ = programs.environ | {"SSH_CONNECTION": "10.0.0.1 5 10.0.0.2 22"}
    with ExitStack() as folders:
        path = await open_file("a/garden.png", b"png", folders=folders, environ=environ)
        assert path.startswith(str(tmp_path))
        assert copies() == [b"png"]
        shown = environ | {"DISPLAY": "localhost:10.0"}
        assert not await open_file("garden.png", b"png", folders=folders, environ=shown)
        await until(programs.log.exists, "the viewer of a forwarded screen is asked")
    assert copies() == []


def test_each_way_sends_its_bytes():
    for how, environ, sent in [
        ("bell", {}, "\x07"),
        ("none", {}, ""),
        ("desktop", {"TERM": "xterm"}, "\x1b]9;done\x07"),
        ("desktop", {"VTE_VERSION": "1"}, "\x1b]777;notify;lmchat;done\x07"),
        ("desktop", {"TERM": "foot"}, "\x1b]777;notify;lmchat;done\x07"),
        (
            "desktop",
            {"TMUX": "x", "TERM": "rxvt"},
            "\x1bPtmux;\x1b\x1b]777;notify;lmchat;done\x07\x1b\\\x07",
        ),
    ]:
        assert notification(how, "done", environ) == sent


def test_words_from_outside_cannot_end_the_sequence():
    sent = notification("desktop", "a\x07\x1b]0;evil\x07;b\n" + "x" * 500, {"TERM": "foot"})
    inner = sent.removeprefix("\x1b]777;notify;lmchat;").removesuffix("\x07")
    assert inner.isprintable()
    assert ";" not in inner
    assert len(inner) <= 120
