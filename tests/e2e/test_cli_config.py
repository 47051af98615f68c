from __future__ import annotations

import os
import pty
import shutil
import stat
from pathlib import Path

import pytest

from tests.support.programs import LMCHAT, WAIT_S, Inside, run
from tests.support.pty_program import PtyProgram
from tests.support.reference import example_text
from tests.support.scripted_products import plain
from tests.support.scripted_server import ScriptedServer

Cli = Inside


@pytest.fixture
def cli(tmp_path):
    return Cli(home=tmp_path)


def test_init_writes_the_example_for_its_owner_alone_and_overwrites_only_if_forced(cli):
    file = cli.folder / "config.toml"
    note = "lmchat: This file does not exist yet; `lmchat config init` writes it.\n"
    assert cli("config", "path").stderr == note
    assert cli("config", "init").stdout == f"Wrote {file}\n"
    assert file.read_text() == example_text()
    places = {Path(place).name for place in cli.json("config", "path", "--json").values()}
    assert places > {"config.toml", "mcp.json", "tools.py", "attachments", "tools.log", "editor"}
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(cli.folder.stat().st_mode) == 0o700
    cli.configure("model = 'mine'")
    assert cli("config", "init", "--force").returncode == 0
    assert file.read_text() == example_text()


def test_what_may_be_secret_of_tool_servers_is_not_shown_with_the_settings(cli):
    arguments = ["--token=marked1", "marked2", "KEY=marked3", "https://ada:marked4@a/?key=marked5"]
    plain = "http://127.0.0.1:9/mcp"
    cli.add_servers(
        files={"command": "no-such-server", "args": arguments, "env": {"API_KEY": "marked8"}},
        hook={"url": "http://127.0.0.1:9/s/marked6/mcp"},
        asked={"url": f"{plain}?key=marked7"},
        plain={"url": plain, "headers": {"Authorization": "Bearer marked9"}},
        wrong={"url": plain, "command": "marked10"},
        wrong_too={"args": "marked11", "approve": "marked12"},
    )
    cli.configure("[tools.approval]\n'files/read_text' = 'always'\n")
    printed = {}
    for words in (
        ("config", "show"),
        ("config", "show", "--json"),
        ("config", "check"),
        ("tools", "--json"),
        ("doctor", "--json"),
    ):
        done = cli(*words)
        printed[words] = done.stdout
        assert "marked" not in done.stdout + done.stderr, words
    for shown in (printed["config", "show"], printed["config", "show", "--json"]):
        for name in ("files", "hook", "asked", "plain"):
            assert f'"{name}"' in shown
        assert "tools.approval.files/read_text" in shown
    logs = [path.read_text() for path in cli.home.rglob("*.log*")]
    assert not any("marked" in log for log in logs)


def test_show_tells_the_origin_of_each_value(cli):
    cli.configure(
        "model = 'of-file'\n[chat]\nseed = 3\n[profiles.p]\ntop_p = 0.5\n[prompts.x]\ntext = 'y'\n"
        "[[endpoints]]\nname = 'box'\nurl = 'http://127.0.0.1:2'\n"
    )
    shown = cli(
        "config", "show", "--endpoint", "http://127.0.0.1:1", "--profile", "p", LLM_MAX_RETRIES="9"
    )
    rows = [" ".join(line.split()) for line in shown.stdout.splitlines()]
    assert 'endpoint = "http://127.0.0.1:1" # flag (--endpoint)' in rows
    assert 'model = "of-file" # file (config.toml)' in rows
    assert "limits.retries = 9 # environment (LLM_MAX_RETRIES)" in rows
    assert "chat.top_p = 0.5 # profile p" in rows
    assert 'prompts.x = { text = "y" } # file (config.toml)' in rows
    assert 'endpoints = ["box"] # file (config.toml)' in rows
    assert "chat.temperature = unset # default" in rows
    value = cli.json("config", "show", "--json")
    assert value["model"] == {"value": "of-file", "origin": "file (config.toml)"}


def require(shell: str) -> None:
    """Leave a test out where its shell is missing; .ci/run fetches zsh and fish, so there none is."""
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


def test_the_scripts_for_shells_complete(cli):
    (cli.home / "garden.md").write_text("")
    (cli.home / "gone").mkdir()
    for typed, offered in (
        ("mod", "models"),
        ("import gar", "garden.md"),
        ("export --all g", "gone"),
        ("export --format h", "html"),
    ):
        assert completed(cli, typed) == f"{offered}\n"
    require("zsh")
    script = cli.home / "_lmchat"
    script.write_text(cli("completion", "zsh").stdout)
    start = f"fpath+=({cli.home}); autoload -U compinit; compinit -u -d {cli.home}/dump"
    for line in (":", f"eval \"$(cat '{script}')\"", f"source <(cat '{script}')"):
        told = run(["zsh", "-c", f"{start}; {line}; echo $_comps[lmchat]"], home=cli.home)
        function = "_lmchat" if line == ":" else "_shtab_lmchat"
        assert (told.stdout, told.stderr) == (f"{function}\n", "")


def completed(cli, typed):
    """Return what the script for bash offers."""
    (cli.home / "script").write_text(cli("completion", "bash").stdout)
    words = typed.split()
    ask = (
        f'compopt() {{ :; }}; source "$1"; COMP_WORDS=(lmchat {typed}); COMP_CWORD={len(words)}; '
        '_shtab_lmchat; echo "${COMPREPLY[@]}"'
    )
    return run(["bash", "-c", ask, "bash", cli.home / "script"], cwd=cli.home).stdout


HOSTILE = ("$(touch${IFS}ran)", "`touch${IFS}ran`", "q;touch${IFS}ran", "q'$(touch${IFS}ran)'")


def test_names_of_models_are_completed_without_a_server_and_run_nothing(tmp_path):
    with ScriptedServer() as server:
        names = ("llama3.2:3b", "llama3.2:1b", "qwen3-8b", *HOSTILE)
        cli = Cli(home=tmp_path, url=plain(server, *names).url)
        cli("models")
    assert completed(cli, "-m q") == "qwen3-8b\n"
    assert not (tmp_path / "ran").exists()
    require("fish")
    (cli.home / "script").write_text(cli("completion", "fish").stdout)
    ask = f"source {cli.home / 'script'}; complete --do-complete 'lmchat compare -m qwen'"
    assert run(["fish", "-c", ask], home=cli.home).stdout.startswith("qwen3-8b")

    (tmp_path / "script").write_text(f"PS1=ready; {cli('completion', 'bash').stdout}")
    with PtyProgram(["bash", "--rcfile", tmp_path / "script", "-i"], home=tmp_path) as shell:
        shell.wait_for("ready")
        for typed in ("models load ll", "compare -m qwen3-8b -m ll"):
            shell.type(f"lmchat {typed}\t", sees=f"lmchat {typed}ama3.2:")
            shell.type("1\t", sees=f"lmchat {typed}ama3.2:1b")
            shell.type("\x15")
        shell.type("lmchat --endpoint http://127.0.0.1:1 doc\t", sees="127.0.0.1:1 doctor")


def test_the_screen_needs_a_terminal_and_names_ask(cli):
    done = cli()
    assert (done.returncode, done.stdout) == (2, "")
    told = "lmchat: The chat screen needs a terminal, but stdin is not one.\n"
    assert done.stderr.startswith(told)
    assert "lmchat ask" in done.stderr
    ours, theirs = pty.openpty()
    with os.fdopen(ours), os.fdopen(theirs):
        program = cli.start(stdin=theirs)
        _, told = program.communicate(timeout=WAIT_S)
    assert (program.returncode, b"but stderr is not one." in told) == (2, True)


def test_a_wrong_address_is_told_before_the_screen_is_painted(tmp_path):
    argv = [*LMCHAT, "--endpoint", "http://ada:secret@box:1"]
    with PtyProgram(argv, home=tmp_path) as program:
        assert program.wait_exit() == 2
        said = program.text.replace("\n", "")  # without the line ends of the terminal
        words = "addresses with a user name or password are not accepted"
        assert f"lmchat: Endpoint not allowed: {words}" in said
        assert "secret" not in said
