"""Other programs: none of the current folder is run by mistake, and none gets what is lmchat's own."""

from __future__ import annotations

import os

import pytest

from lmchat.app.terminal.clipboard import Clipboard
from lmchat.app.terminal.programs import Editor, show_in_pager
from lmchat.base.errors import EngineUnavailable, LMChatError, WrongUse
from lmchat.base.processes.environment import (
    command_line,
    command_words,
    environment_for_others,
    find_program,
    needed_environment,
)
from lmchat.core.servers.local.demo import find_installer
from tests.support.small_programs import put

PROGRAMS = (
    "uv",
    "pip",
    "pip3",
    "lsof",
    "wl-copy",
    "wl-paste",
    "vi",
    "nano",
    "less",
    "more",
)
RELATIVE = ["", ".", "bin", f"{os.pathsep}bin", f"bin{os.pathsep}"]


@pytest.fixture
def in_a_strange_folder(tmp_path, monkeypatch):
    """Stand in a folder with programs of well-known names, each of which leaves a trace when it is run."""
    for name in PROGRAMS:
        for folder in (tmp_path, tmp_path / "bin"):
            put(folder, name, f"open({str(tmp_path / 'trace')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.posix
@pytest.mark.parametrize("path", RELATIVE)
def test_only_folders_that_are_named_in_full_count(in_a_strange_folder, path):
    assert find_program("uv", path) == ""
    full = in_a_strange_folder / "bin"
    assert find_program("uv", f"{path}{os.pathsep}{full}") == str(full / "uv")


def test_windows_does_not_take_a_program_of_the_current_folder(in_a_strange_folder, monkeypatch):
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("PATHEXT", ".exe")
    put(in_a_strange_folder, "less.exe", "")
    assert find_program("less.exe", "/usr/bin") == ""


@pytest.mark.posix
def test_a_program_with_a_folder_is_found_below_the_folders_that_count_only(in_a_strange_folder):
    assert find_program("bin/uv", "/usr/bin") == ""
    assert find_program("bin/uv", str(in_a_strange_folder)) == str(
        in_a_strange_folder / "bin" / "uv"
    )
    assert find_program(str(in_a_strange_folder / "bin" / "uv"), "") == str(
        in_a_strange_folder / "bin" / "uv"
    )


@pytest.mark.parametrize("path", RELATIVE)
def test_no_installer_of_the_current_folder_is_taken(in_a_strange_folder, monkeypatch, path):
    monkeypatch.setattr("lmchat.core.servers.local.demo.importlib.util.find_spec", lambda _: None)
    with pytest.raises(EngineUnavailable, match="needs pip or uv"):
        find_installer({"PATH": path})


@pytest.mark.parametrize("path", RELATIVE)
async def test_no_tool_of_a_terminal_is_taken_out_of_the_current_folder(in_a_strange_folder, path):
    environ = {"PATH": path, "WAYLAND_DISPLAY": "wayland-0", "EDITOR": "vi"}
    assert await Clipboard(environ).copy("words") == ""
    with pytest.raises(WrongUse, match="vi cannot be run"):
        await Editor("words", environ=environ).run()
    with pytest.raises(WrongUse, match="less cannot be run"):
        await show_in_pager("words", environ=environ | {"PAGER": "less -R"})
    with pytest.raises(WrongUse, match="No editor"):
        await Editor("words", environ={"PATH": path}).run()
    with pytest.raises(WrongUse, match="No pager"):
        await show_in_pager("words", environ={"PATH": path})
    assert not (in_a_strange_folder / "trace").exists()


@pytest.mark.posix
async def test_no_tool_of_a_terminal_gets_a_variable_of_lmchat(tmp_path):
    told = f"import os; open({str(tmp_path / 'told')!r}, 'a').write(' '.join(os.environ) + '\\n')"
    for name in ("wl-copy", "ed", "pg"):
        put(tmp_path / "bin", name, told)
    environ = {
        "PATH": str(tmp_path / "bin"),
        "LMCHAT_API_KEY": "sk-secret",
        "WAYLAND_DISPLAY": "wayland-0",
        "EDITOR": "ed",
        "PAGER": "pg",
    }
    assert await Clipboard(environ).copy("words") == "wl-copy"
    with pytest.raises(LMChatError, match="ed returned at once"):
        await Editor("words", environ=environ).run()
    await show_in_pager("words", environ=environ)
    lines = (tmp_path / "told").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert all("EDITOR" in line and "LMCHAT" not in line for line in lines)


def test_the_variables_of_lmchat_are_kept_back():
    environ = {"LMCHAT_API_KEY": "sk-secret", "PIP_INDEX_URL": "https://mirror", "PATH": "/bin"}
    assert environment_for_others(environ) == {"PIP_INDEX_URL": "https://mirror", "PATH": "/bin"}


def test_what_lmchat_runs_for_itself_gets_no_variable_that_may_hold_a_key():
    keys = (
        *("LMCHAT_API_KEY", "OPENAI_API_KEY", "HF_TOKEN", "AWS_SECRET_ACCESS_KEY"),
        *("NVIDIA_API_KEY", "CUDA_TOKEN", "XDG_PASSWORD", "PROXY_PASSWORD", "SSL_CERT_KEY"),
        *("CERTAINTY", "DISPLAY_NAME"),
    )
    needed = (
        *("PATH", "LC_ALL", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SystemRoot"),
        # certificates, proxies, windows
        *("SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS", "DENO_CERT", "AWS_CA_BUNDLE", "GIT_SSL_CAINFO"),
        *("https_proxy", "NO_PROXY", "npm_config_proxy", "XDG_RUNTIME_DIR"),
        *("DISPLAY", "WAYLAND_DISPLAY", "XAUTHORITY", "DBUS_SESSION_BUS_ADDRESS"),
    )
    environ = dict.fromkeys((*keys, *needed), "x")
    assert set(needed_environment(environ)) == set(needed)


def test_a_program_of_windows_is_found_without_its_ending(tmp_path):
    endings = (".exe", ".cmd")
    put(tmp_path, "npx", "")  # for another shell, beside that of Windows
    put(tmp_path, "npx.cmd", "")
    put(tmp_path, "tool.exe", "")
    folder = str(tmp_path)
    assert find_program("npx", folder, endings) == str(tmp_path / "npx.cmd")
    assert find_program("npx.cmd", folder, endings) == str(tmp_path / "npx.cmd")
    assert find_program(str(tmp_path / "tool"), "", endings) == str(tmp_path / "tool.exe")
    assert find_program("none", folder, endings) == ""


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (r"C:\Windows\notepad.exe", [r"C:\Windows\notepad.exe"]),
        (r'"C:\My Tools\code.cmd" --wait', [r"C:\My Tools\code.cmd", "--wait"]),
        (
            r"C:\a.md 'C:\b c.md' # not a comment",
            [r"C:\a.md", r"C:\b c.md", *["#", "not", "a", "comment"]],
        ),
    ],
)
def test_a_backslash_in_a_command_of_windows_divides_folders(command, words):
    assert command_words(command, is_windows=True) == words


def test_a_command_to_type_is_quoted_as_the_shells_of_the_system_read_it():
    words = ["lmchat", "batch", "my prompts.jsonl"]
    assert command_line(words, is_windows=True) == 'lmchat batch "my prompts.jsonl"'
    assert command_line(words, is_windows=False) == "lmchat batch 'my prompts.jsonl'"
