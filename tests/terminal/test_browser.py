"""Pages of the web are opened by the browser of the user, quietly, and by nothing that takes the terminal."""

from __future__ import annotations

import os
import stat

import pytest

from lmchat.terminal.desktop import browser_commands, open_page

PAGE = "https://example.org/a?b=c&d=$(id)"


@pytest.fixture
def programs(tmp_path):
    """A folder of programs that write down what they were asked for."""

    def make(name, status=0):
        path = tmp_path / name
        log = tmp_path / "log"
        path.write_text(f"#!/bin/sh\nprintf '%s|' {name} \"$@\" >> {log}\necho noise\nexit {status}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        return path

    make.log = tmp_path / "log"
    make.environ = {"PATH": f"{tmp_path}:{os.defpath}", "DISPLAY": ":9", "LMCHAT_API_KEY": "k"}
    return make


async def test_the_page_is_handed_to_the_desktop_as_one_word(programs, capfd):
    programs("xdg-open")
    assert await open_page(PAGE, environ=programs.environ, platform="linux")
    assert programs.log.read_text() == f"xdg-open|{PAGE}|"
    assert capfd.readouterr().out == ""


async def test_what_fails_gives_way_to_the_next(programs):
    programs("xdg-open", status=3)
    programs("gio")
    assert await open_page(PAGE, environ=programs.environ, platform="linux")
    assert programs.log.read_text() == f"xdg-open|{PAGE}|gio|open|{PAGE}|"


async def test_where_all_fail_it_is_said(programs):
    programs("xdg-open", status=3)
    programs("gio", status=1)
    assert not await open_page(PAGE, environ=programs.environ, platform="linux")


@pytest.mark.parametrize("address", ["file:///etc/passwd", "javascript:alert(1)", "--help", "", "ftp://a"])
async def test_nothing_but_pages_of_the_web_is_opened(programs, address):
    programs("xdg-open")
    assert not await open_page(address, environ=programs.environ, platform="linux")
    assert not programs.log.exists()


@pytest.mark.parametrize(
    ("environ", "platform", "expected"),
    [
        ({}, "linux", []),  # a terminal of another machine: nothing there would be seen
        ({"DISPLAY": ":0"}, "linux", [["xdg-open"], ["gio", "open"]]),
        ({"WAYLAND_DISPLAY": "w"}, "linux", [["xdg-open"], ["gio", "open"]]),
        ({}, "darwin", [["open"]]),
        ({"WSL_DISTRO_NAME": "d"}, "linux", [["wslview"]]),
        ({"TERMUX_VERSION": "1"}, "linux", [["termux-open-url"]]),
        ({"BROWSER": "firefox --new-tab %s"}, "linux", [["firefox", "--new-tab"]]),
        ({"BROWSER": "/usr/bin/w3m"}, "linux", []),
        ({"BROWSER": "'open quote"}, "linux", []),
        ({"BROWSER": "lynx:firefox"}, "linux", [["firefox"]]),
    ],
)
def test_who_is_asked_depends_on_the_place(environ, platform, expected):
    assert list(browser_commands(environ, platform)) == expected


async def test_a_windows_without_its_call_opens_nothing(monkeypatch):
    monkeypatch.delattr(os, "startfile", raising=False)
    assert not await open_page(PAGE, environ={}, platform="win32")
