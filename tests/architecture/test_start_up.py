from __future__ import annotations

import asyncio
import json
import re

import pytest

from tests.support.chats import fill_long, store_at
from tests.support.programs import PYTHON, run
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import plain
from tests.support.scripted_server import ScriptedServer


def _imported(*argv, home):
    """Return the top-level packages, and lmchat's own modules, that a run imports."""
    done = run([PYTHON, "-X", "importtime", *argv], home=home)
    assert done.returncode == 0, done.stderr
    return set(re.findall(r"^import time:.*\| +([\w.]+)$", done.stderr, re.MULTILINE))


def _packages(modules):
    return {module.partition(".")[0] for module in modules}


def test_version_imports_next_to_nothing(tmp_path):
    modules = _imported("-m", "lmchat", "--version", home=tmp_path)
    assert not _packages(modules) & {
        "textual",
        "httpx",
        "rich",
        "asyncio",
        "sqlite3",
        "argparse",
        "dataclasses",
    }
    assert {module for module in modules if module.startswith("lmchat")} <= {
        "lmchat",
        "lmchat.__main__",
    }


_COMMANDS = """
import gc, sys
from lmchat.__main__ import main
for line in sys.argv[1:]:
    sys.argv[1:] = line.split()
    try:
        main()
    except SystemExit as ended:
        assert not ended.code, line
    assert gc.isenabled() or "--help" in line, f"nothing collects the garbage of {line}"
"""
_SCREEN_NETWORK_DISK = {"textual", "httpx", "rich", "asyncio", "sqlite3"}


@pytest.mark.parametrize(
    ("commands", "unwanted"),
    [
        (
            ["--help", "ask --help", "models load --help"],
            _SCREEN_NETWORK_DISK | {"platformdirs"},
        ),
        (["config show", "config path", "completion bash"], _SCREEN_NETWORK_DISK),
        (["metrics"], {"textual", "httpx", "rich"}),
        (["sessions", "search word", "stats"], {"textual", "httpx"}),
    ],
)
def test_a_command_imports_only_what_it_needs(tmp_path, commands, unwanted):
    assert not _packages(_imported("-c", _COMMANDS, *commands, home=tmp_path)) & unwanted


def test_next_to_nothing_is_imported_before_ctrl_c_ends_the_program_without_a_traceback(tmp_path):
    start = "import lmchat.__main__, lmchat.base.processes.signals"
    modules = _imported("-S", "-c", start, home=tmp_path)  # `site` may import more
    assert "signal" in modules
    assert not modules & {"typing", "re", "contextlib", "pathlib", "asyncio"}


@pytest.mark.parametrize("argv", [["health"], ["ask", "Hi"]], ids=" ".join)
def test_a_command_that_asks_a_server_does_without_the_screen(tmp_path, argv):
    with ScriptedServer() as server:
        plain(server, "tiny")
        modules = _imported("-m", "lmchat", *argv, "--endpoint", server.url, home=tmp_path)
    assert "httpx" in _packages(modules)
    assert not _packages(modules) & {"textual", "rich", "markdown_it", "pygments", "jsonschema_rs"}


def _at(moment, home, *arguments, env=None):
    """Return what is imported at a moment of a start."""
    file = home / f"{moment}.json"
    child = [PYTHON, "-m", "tests.support.start_child", file, moment, *arguments]
    with PtyProgram(child, home=home, env=env) as program:
        assert program.wait_exit(timeout_s=60) == 0, program.text
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def first_paint(tmp_path_factory):
    """What a first start of the chat screen has imported when it is painted."""
    return _at("painted", tmp_path_factory.mktemp("first-paint"))


@pytest.fixture(scope="module")
def bare_paint(tmp_path_factory):
    """What a screen of Textual's with an editor has imported when it is painted."""
    return _at("bare", tmp_path_factory.mktemp("bare-paint"))


@pytest.fixture
def with_long_session(tmp_path):
    """A home whose last session is long and holds no code."""

    async def make():
        store = store_at(tmp_path)
        await fill_long(store, 400)
        await store.aclose()

    asyncio.run(make())
    return tmp_path


_MORE_AT_FIRST_PAINT = {
    "lmchat",
    "msgspec",
    "gc",
    "queue",
    "_queue",
    "termios",
    "tty",
    "__mp_main__",
    "shlex",
    *("decimal", "_decimal"),  # imported by msgspec; before Python 3.15 by Textual, too
}
"""What the first paint imports beside what Textual itself does; every start pays for each further name."""
_NEVER_UNASKED = {
    *(
        "jsonschema_rs",
        "shtab",
        "click",
        "httpx._main",
        "rich.progress",
        "ctypes",
    ),
    *("textual.widgets._markdown", "http.server", "xllamacpp"),
}
"""What no screen at rest has imported."""


def test_the_first_paint_imports_nothing_but_textual_msgspec_and_lmchat(first_paint, bare_paint):
    more = _packages(first_paint["modules"]) - _packages(bare_paint["modules"])
    assert more <= _MORE_AT_FIRST_PAINT


def test_a_session_without_code_is_shown_without_pygments(with_long_session):
    modules = set(_at("session", with_long_session, "-r", "last")["modules"])
    assert "markdown_it" in modules
    assert modules & _NEVER_UNASKED == set()
    assert not _packages(modules) & {"pygments"}


def test_a_screen_at_rest_has_imported_only_what_it_works_with(tmp_path):
    with ScriptedServer() as server:
        plain(server, "tiny")
        modules = set(_at("server", tmp_path, "--endpoint", server.url)["modules"])
    assert {"httpx", "sqlite3"} <= modules
    assert modules & _NEVER_UNASKED == set()
    assert not _packages(modules) & {"markdown_it", "pygments"}


def test_the_first_paint_waits_for_nothing_that_answers(first_paint):
    rooms = (
        "cli.parser",
        "cli.setup",
        "commands.shared",
        "services",
        "servers.client",
        "servers.http",
        "servers.local.engine",
        "storage",
        "formats.",
        "tui.d",
        "tui.co",
    )
    imported_later = tuple(f"lmchat.{room}" for room in rooms)
    waited = {module for module in first_paint["modules"] if module.startswith(imported_later)}
    assert waited == set()


def test_importing_the_package_does_nothing(tmp_path):
    done = run(
        [
            PYTHON,
            "-c",
            "import lmchat, lmchat.__main__, lmchat.base.files.paths, lmchat.app.cli.run",
        ],
        home=tmp_path,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []


def test_the_process_that_colours_code_imports_little_beside_pygments(tmp_path):
    modules = _imported("-c", "import lmchat.app.markdown_lines.lexer_child", home=tmp_path)
    assert not modules & {"asyncio", "logging", "ssl", "msgspec", "lmchat.base.processes.child"}
