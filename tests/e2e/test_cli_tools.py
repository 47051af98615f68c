"""Tools on the command line: functions of a real `tools.py`, and a model that calls them."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import sys
import time
import tomllib
from pathlib import Path

import httpx
import psutil
import pytest

from lmchat.app.leaves.doctor import checks
from lmchat.core.config.credentials import Credentials
from tests.support import mcp_server, programs
from tests.support.oauth_server import OAuthServer
from tests.support.programs import FUNCTIONS, Inside, is_running, processes, wait_until, write_tools
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT, calling, chat_reply
from tests.support.scripted_server import (
    AUTHORITY,
    DONE,
    Pause,
    Reply,
    ScriptedServer,
    Seen,
    delta,
    error_reply,
    finish,
    json_reply,
    lead_here,
    sse,
    text_reply,
    usage,
)
from tests.support.small_programs import put

Cli = Inside

_SCRIPTED = {"command": sys.executable, "args": [mcp_server.__file__]}
_ALLOWED = "[tools.approval]\n'python/add' = 'always'\n"


def test_the_list_has_servers_with_their_state_and_tools_with_their_approval(alone):
    write_tools(alone, config=_ALLOWED)
    alone.add_servers(away={"url": "http://192.0.2.1/mcp"}, off={"command": "x", "disabled": True})
    done = alone("tools")
    away, python, _, head, *rows = done.stdout.splitlines()
    assert done.stderr.startswith("lmchat: away: ")
    assert away.startswith("away: failed. Endpoint not allowed: ")
    assert "--allow-host 192.0.2.1" in away
    assert python == "python: ready, 2 tools."
    assert head.split() == ["TOOL", "APPROVAL", "DESCRIPTION"]
    assert [row.split()[:2] for row in rows] == [["python/add", "always"], ["python/fail", "ask"]]
    assert "\x1b" not in "".join(rows)
    servers = alone.json("tools", "--json")["data"]
    assert [server["state"] for server in servers] == ["failed", "ready"]
    tool = servers[1]["tools"][0]
    assert (tool["wire_name"], tool["approval"]) == ("python__add", "always")
    assert tool["schema"]["required"] == ["a"]


def test_a_call_prints_its_result_and_starts_no_other_server(alone):
    started = alone.folder / "started"
    alone.folder.mkdir()
    alone.add_servers(files=_SCRIPTED, other={"command": "touch", "args": [str(started)]})
    failed = alone.json("tools", "call", "files/fail", "--json", code=1)
    assert (failed["tool"], failed["state"]) == ("files/fail", "failed")
    assert failed["result"] == "It went wrong"
    end = "\n[cut: 100000 characters, the first 32000 are here]\n"
    long = json.dumps({"text": 100_000 * "y"})
    assert alone("tools", "call", "files/echo", long).stdout == 32_000 * "y" + end
    assert not started.exists()
    alone("tools", "call", "other/x")
    assert started.exists()


def test_a_server_that_ignores_every_request_to_end_ends_with_lmchat(alone):
    """It is a group of two processes; the second one has the folder of this user in its command."""
    mark = str(alone.home)
    alone.add_servers(files=_SCRIPTED | {"env": {"IGNORE_END": mark}})
    with alone.start("tools", "call", "files/never") as process:
        wait_until(lambda: processes("time.sleep(600)", mark), "the server has started")
        [second] = processes("time.sleep(600)", mark)
        first = psutil.Process(second).ppid()
        process.send_signal(signal.SIGTERM)
        process.wait()
        wait_until(lambda: not (is_running(first) or is_running(second)), "the end of the group")


def test_who_waits_for_a_tool_server_is_told_so_and_can_stop(cli, server, tmp_path):
    """The server starts when the test lets it."""
    gate = tmp_path / "gate"
    wait = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.02)\n"
    slow = put(tmp_path, "slow", f"{wait}exec(open({mcp_server.__file__!r}).read())")
    cli.add_servers(slow={"command": slow})
    server.on(CHAT, chat_reply("Done."))
    words = "lmchat: starting slow … Ctrl+C stops"
    with PtyProgram(cli.argv("tools"), home=cli.home, size=(100, 20)) as program:
        program.wait_for(words)
        program.type("\x03")
        assert program.wait_exit() == 130
    with PtyProgram(cli.argv("ask", "--tools", "hi"), home=cli.home, size=(100, 20)) as program:
        program.wait_for(words)
        gate.touch()
        assert program.wait_exit() == 0
        assert "Done." in program.text


def tools_rows(cli, code: int = 0) -> list[dict]:
    checks = cli.json("doctor", "--json", code=code)["checks"]
    return [row for row in checks if row["group"] == "Tools"]


def test_the_doctor_has_a_row_for_each_server_and_none_without_tools(cli, monkeypatch):
    assert tools_rows(cli) == []
    write_tools(cli, "def add(:\n")
    [row] = tools_rows(cli, code=1)
    assert (row["name"], row["verdict"]) == ("python", "fault")
    assert "tools.py, line 1: SyntaxError" in row["cause"]
    assert row["next_step"] == f"Correct {cli.folder / 'tools.py'}"
    done = cli("ask", "--tools", "hi")
    step = f"Correct {cli.folder / 'tools.py'}.\n"
    assert (done.returncode, step in done.stderr) == (1, True)
    write_tools(cli)
    [row] = tools_rows(cli)
    assert (row["verdict"], "2 tools" in row["cause"]) == ("ok", True)
    waiting = ["-c", "import time; time.sleep(600)"]
    cli.add_servers(silent={"command": sys.executable, "args": waiting})
    monkeypatch.setattr(checks, "_TOOLS_S", 0.5)
    row, _ = tools_rows(cli)
    said = (row["name"], row["verdict"], row["cause"])
    assert said == ("silent", "warning", "No answer within 0.5 s.")


_ECHO = calling(("files__echo", '{"text": "5"}'))


@pytest.fixture
def adding(cli, server):
    """Yield lmchat with an allowed tool that the model calls."""
    cli.configure("[tools.approval]\n'files/echo' = 'always'\n'files/never' = 'always'\n")
    cli.add_servers(files=_SCRIPTED)
    server.on(CHAT, _ECHO, chat_reply("It is 5."))
    return cli


def test_a_call_runs_once_and_only_if_its_answer_is_whole_and_was_asked_for(adding, server):
    call = {"id": "a1", "function": {"name": "files__echo", "arguments": '{"text": "5"}'}}
    called = delta(tool_calls=[call])
    message = {"tool_calls": [{**call, "id": "b7"}]}
    other = {"index": 1, "delta": {"tool_calls": [call]}, "finish_reason": "tool_calls"}
    for chunks, code, runs in (
        ((called, {"choices": [{"message": message, "finish_reason": "tool_calls"}]}), 0, 1),
        ((called, {"error": {"message": "The sampler has stopped"}}, finish("tool_calls")), 1, 0),
        ((called, {"choices": [other]}, "It is 5.", finish()), 0, 1),
        (("It is 5.", {"choices": [other]}, finish()), 0, 0),
        ((called,), 0, 1),
    ):
        server.on(CHAT, sse(*chunks, DONE), chat_reply("It is 5."))
        done = adding("ask", "--tools", "3 and 2?")
        assert (done.returncode, done.stderr.count('files/echo("5")')) == (code, runs), chunks
        assert ("The sampler has stopped" in done.stderr) is bool(code)


def test_an_answer_with_an_allowed_tool_has_its_steps(adding, server):
    done = adding("ask", "--tools", "--json", "3 and 2?")
    value = json.loads(done.stdout)
    assert (value["reply"], value["tool_calls"]) == ("It is 5.", [])
    [step] = value["steps"]
    assert step.pop("elapsed_ms") > 0
    assert step == {
        "tool": "files/echo",
        "arguments": {"text": "5"},
        "result": "5",
        "state": "complete",
    }
    assert done.stderr == 'lmchat: files/echo("5")\n'
    first, second = server.seen(CHAT)
    assert {tool["function"]["name"] for tool in first.json["tools"]} == {
        f"files__{name}" for name in mcp_server.NAMES
    }
    assert second.json["messages"][-1] == {"role": "tool", "tool_call_id": "call_0", "content": "5"}
    server.on(CHAT, _ECHO, chat_reply("It is 5."))
    done = adding("ask", "--tools", "--stream-json", "?")
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [next(iter(line)) for line in lines] == ["chunk", "tool", "chunk", "done"]
    assert lines[1]["tool"]["result"] == "5"
    server.on(CHAT, _ECHO, chat_reply("It is 5."))
    assert adding("ask", "--tools", "?").stdout == "Let me see.\nIt is 5.\n"


def test_the_tokens_and_the_time_of_a_turn_are_those_of_all_its_answers(adding, server, tmp_path):
    call = {"index": 0, "id": "a", "function": {"name": "files__echo", "arguments": "{}"}}
    called = (delta(tool_calls=[call]), Pause(0.2), finish("tool_calls"))
    last = sse("It is 5.", finish(), usage(31, 5), DONE)
    for counts, reply, total in (
        ([usage(23, 4)], last, {"prompt_tokens": 54, "estimated": False}),
        ([usage(23, 4)], error_reply(401, "no"), {"completion_tokens": 4, "estimated": True}),
        ([], last, {"estimated": True}),
    ):
        server.on(CHAT, sse(*called, *counts, DONE), reply)
        value = json.loads(adding("ask", "--tools", "--json", "?").stdout)
        assert value["usage"] == value["usage"] | total
        assert value["elapsed_ms"] > 200
    assert value["usage"]["prompt_tokens"] > 31, "that of the first request is estimated"
    started = tmp_path / "started"
    call["function"] = {"name": "files__never", "arguments": f'{{"started": "{started}"}}'}
    server.on(CHAT, sse(*called, usage(23, 4), DONE))
    with adding.start("ask", "--tools", "--json", "?") as program:
        wait_until(started.exists, "the call")
        program.send_signal(signal.SIGINT)
        value = json.loads(program.communicate()[0])
    assert value["usage"]["total_tokens"] == 27


def test_without_a_terminal_a_tool_that_asks_is_refused_and_the_way_to_allow_it_told(cli, server):
    cli.add_servers(files=_SCRIPTED)
    assert cli("ask", "?").returncode == 0
    assert "tools" not in server.seen(CHAT)[0].json
    server.on(CHAT, _ECHO, chat_reply("I cannot."))
    done = cli("ask", "--tools", "--json", "?")
    assert done.returncode == 0
    way = 'Not allowed: files/echo. To allow it, set [tools.approval] "files/echo" = "always" in config.toml.'
    assert done.stderr.splitlines()[0] == f"lmchat: {way}"
    assert json.loads(done.stdout)["steps"][0]["state"] == "stopped"
    assert "without a terminal" in server.seen(CHAT)[-1].json["messages"][-1]["content"]


def test_at_a_terminal_each_call_is_asked_about_and_always_holds_until_the_tool_changes(
    cli, server
):
    write_tools(cli)
    server.on(
        CHAT,
        calling(("python__add", '{"a": 3}'), ("python__fail", '{"why":' + "\n" * 5000 + '"x"}')),
        chat_reply("It is 5."),
    )
    with PtyProgram(cli.argv("ask", "--tools", "?"), home=cli.home, size=(100, 20)) as program:
        words = '    {"a": 3}\npython/add? y once, s this session, a always, n no:'
        program.wait_for(words, 50)
        program.type("what\r")
        program.wait_until(lambda: program.text.count("python/add? y") == 2, "asked again")
        program.type("a\r")
        # a run of blanks is one mark, so that it does not scroll the name of the tool away
        program.wait_for(
            re.compile(r'fail wants to run:\n    \{"why":␣"x"\}\npython/fail\? y once')
        )
        program.type("n not that\r")
        assert program.wait_exit() == 0
        assert "It is 5." in program.text
    first, second = server.seen(CHAT)[1].json["messages"][-2:]
    assert first["content"] == "5"
    assert second["content"].endswith("Reason: not that")
    state = tomllib.loads((cli.folder / "state.toml").read_text())
    assert list(state["allowed_tools"]) == ["python/add"]
    server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("Done."))
    assert "Not allowed" not in cli("ask", "--tools", "?").stderr
    write_tools(cli, FUNCTIONS.replace("Add two numbers.", "Add two numbers, and send them away."))
    server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("Done."))
    with PtyProgram(cli.argv("ask", "--tools", "?"), home=cli.home, size=(100, 20)) as program:
        program.wait_for(re.compile("(?s)python/add is not what you always allowed: .*n no:"), 50)
        program.type("\x04", sees="Done.")  # Ctrl+D is a no
        assert program.wait_exit() == 0


_PRINTING = """
def note(text: str) -> str:
    'Note a text.'
    print('noted', text)
    return 'ok'
"""
_SAID = "the plan of the garden"


def ask_with_note(cli, server, *flags: str):
    write_tools(cli, _PRINTING, "[tools]\napprove = 'always'\n")
    server.on(CHAT, calling(("python__note", json.dumps({"text": _SAID}))), chat_reply("Done."))
    done = cli("ask", "--tools", *flags, "Note it")
    assert done.stdout.endswith("Done.\n"), done.stderr


def logs_with(words: str, folder) -> set[str]:
    return {path.name for path in folder.rglob("*.log*") if words in path.read_text()}


def test_a_temporary_chat_leaves_nothing_in_the_log_of_the_tools_and_a_purge_empties_it(
    cli, server
):
    ask_with_note(cli, server, "--temporary")
    assert logs_with(_SAID, cli.home) == set()
    ask_with_note(cli, server, "--save")
    assert logs_with(_SAID, cli.home) == {"tools.log"}
    assert cli("sessions", "delete", "last").returncode == 0
    assert logs_with(_SAID, cli.home)
    assert cli("sessions", "purge", "--yes").returncode == 0
    assert logs_with(_SAID, cli.home) == set()


_SERVERS = {
    "notes": _SCRIPTED | {"env": {"K": "s3cret"}, "approve": "always"},
    "gone": {"command": "no-such-program"},
    "hub": {"url": "http://127.0.0.1:1/mcp", "headers": {"X-A": "${API_KEY}", "X-B": "${env:K}"}},
    "old": {"command": "${input:place}/server"},
    "bad": {"command": "uvx", "url": "http://127.0.0.1:1/mcp"},
    "off": {"command": "uvx", "disabled": True, "autoApprove": []},
}


def written(alone):
    return (alone.folder / "mcp.json").read_text(encoding="utf-8")


def test_the_first_server_is_added_in_an_empty_home(alone):
    words = ("tools", "add", "wiki", "--", sys.executable, mcp_server.__file__)
    done = alone(*words, LMCHAT_HOME="", XDG_CONFIG_HOME=str(alone.home / "settings"))
    assert (done.returncode, done.stderr) == (0, "")
    assert (alone.home / "settings" / "lmchat" / "mcp.json").exists()


def test_a_server_is_added_when_it_starts_and_removed_with_all_else_kept(alone):
    alone.configure("# mine\n[ui] # screen\nascii = true\n")
    alone.add_servers(tree={"command": "no-such-program", "disabled": True, "theirs": [1]})
    before = json.loads(written(alone))
    words = ("--env", "WIKI_KEY", "wiki", "--", sys.executable, mcp_server.__file__, "--", "-x")
    without = alone("tools", "add", *words)
    assert (without.returncode, json.loads(written(alone))) == (1, before)
    missing = "The environment variable WIKI_KEY of the server wiki is not set."
    assert (
        without.stderr
        == f"lmchat: wiki was not added: {missing} Set it, or write its value there.\n"
    )
    done = alone("tools", "add", *words, WIKI_KEY="s3cret")
    added = f"Added wiki: {len(mcp_server.NAMES)} tools.\n"
    restart = "Windows of lmchat that are open need a restart for it.\n"
    assert (done.returncode, done.stdout) == (0, added + restart)
    text = written(alone)
    assert json.loads(text)["mcpServers"] == before["mcpServers"] | {
        "wiki": {
            "command": sys.executable,
            "args": [mcp_server.__file__, "--", "-x"],
            "env": {"WIKI_KEY": "${WIKI_KEY}"},
        }
    }
    called = alone("tools", "call", "wiki/environment", WIKI_KEY="s3cret")
    assert json.loads(called.stdout)["env"]["WIKI_KEY"] == "s3cret"
    assert missing in alone("tools", "call", "wiki/environment").stderr
    assert "s3cret" not in done.stderr + text + alone("config", "show").stdout
    again = alone("tools", "add", *words, WIKI_KEY="a")
    assert (again.returncode, "has a server of this name" in again.stderr) == (1, True)
    assert alone("tools", "remove", "wiki").returncode == 0
    assert json.loads(written(alone)) == before
    assert alone("tools", "remove", "wiki").returncode == 2
    commented = written(alone).replace("{", "{ // mine", 1)
    (alone.folder / "mcp.json").write_text(commented, encoding="utf-8")
    kept = alone("tools", "add", *words, WIKI_KEY="s3cret")
    assert (kept.returncode, written(alone)) == (2, commented)
    assert 'Paste among its servers: "wiki": {"command": ' in kept.stderr


def test_servers_of_a_file_are_added_after_a_question_and_each_refusal_is_told(alone, tmp_path):
    file = tmp_path / ".lmstudio" / "mcp.json"
    file.parent.mkdir()
    file.write_text(json.dumps({"mcpServers": _SERVERS}), encoding="utf-8")
    assert alone("tools", "add", "--from", str(file)).returncode == 2

    command = alone.argv("tools", "add", "--from", str(file))
    with PtyProgram(command, home=alone.home, size=(160, 30), env={"K": "a"}) as program:
        program.wait_for("Start notes, gone, hub, old? [y/N]")
        assert f"notes: {sys.executable} {mcp_server.__file__}" in program.text
        assert "sets variables, which can change what runs: K=s3cret" in program.text
        assert "gets the variables API_KEY, K" in program.text
        assert not (alone.folder / "mcp.json").exists()
        program.type("y\r")
        program.wait_for("hub was not added", 50)
        assert program.wait_exit() == 1
        said = program.text
    for reason in (
        "gone was not added: The server gone cannot start: no-such-program",
        "The server old has ${input:place}, which lmchat does not know.",
        "bad was not added: needs command or url, but not both.",
        "off was not added: it is disabled in its file.",
    ):
        assert reason in said
    table = json.loads(written(alone))["mcpServers"]
    assert table == {"notes": _SCRIPTED | {"env": {"K": "s3cret"}}}
    assert alone.json("tools", "call", "notes/environment")["env"]["K"] == "s3cret"

    with PtyProgram(alone.argv("tools", "add", "far", "http://far.example/mcp")) as program:
        program.wait_for("Start far, and allow connections to far.example:80? [y/N]")
        program.type("n\r")
        program.wait_for("Nothing was added.")
    assert json.loads(written(alone))["mcpServers"] == table


def mcp_reply(seen: Seen) -> Reply:
    if seen.body and (found := mcp_server.replies(seen.json)):
        return json_reply(found[-1])
    return text_reply("", status=202 if seen.body else 405)


def test_a_tool_server_over_https_gets_requests_if_a_variable_names_its_authority(tmp_path):
    cli = programs.Cli(home=tmp_path)
    with ScriptedServer(certificate="hosts") as server:
        server.unknown = mcp_reply
        cli.add_servers(wiki={"url": f"{server.url}/mcp"})
        place = f"localhost:{server.port}"
        told = (
            f"wiki: failed. The certificate of {place} is not trusted: unable to get local issuer"
        )
        assert cli("tools").stdout.startswith(told)
        assert (server.connections, server.requests) == (0, [])
        assert cli("tools", SSL_CERT_FILE=AUTHORITY).stdout.startswith("wiki: ready, ")


def test_a_host_that_a_yes_allows_stays_allowed_for_tool_servers_alone(alone, server, monkeypatch):
    lead_here(monkeypatch, "far.example")
    server.unknown = mcp_reply
    place = f"far.example:{server.port}"
    address = f"http://{place}/mcp"
    done = alone("tools", "add", "--yes", "far", "http://${FAR}/mcp", FAR=place)
    told = "    far: http://${FAR}/mcp\n    gets the variable FAR\n"
    assert (done.returncode, done.stderr) == (0, told)
    assert alone("tools", FAR=place).stdout.startswith("far: ready, ")
    alone.add_servers(far={"url": address})
    assert alone("tools").stdout.startswith("far: ready, ")
    assert alone("config", "check").returncode == 0
    assert not (alone.folder / "config.toml").exists()
    assert alone("--endpoint", address, "ask", "hi").returncode == 2


def test_a_question_shows_all_that_a_yes_starts(alone, tmp_path):
    """Blanks, letters without a look and other servers push nothing off the screen."""
    blanks = ["-c", f"touch RAN;{2000 * ' '}exec cat", "\n\t" * 999, *30 * ["\u2800\u200b" * 80]]
    env = {"K": "1", "SPADES": "a, K=2", "KEY": "${K}"}
    bad = {"command": "sh", "args": blanks, "cwd": str(tmp_path), "env": env, "timeout_s": 900}
    servers = {"garden": bad}
    file = tmp_path / "mcp.json"
    file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
    command = alone.argv("tools", "add", "--from", str(file))
    with PtyProgram(command, home=alone.home, size=(80, 24), env={"K": "1"}) as program:
        program.wait_for("Start garden? [y/N]")
        shown = "".join(line.ljust(80) for line in program.screen())
        marks = " ".join(30 * ["'␣'"])
        assert f"garden: {shutil.which('sh')} -c 'touch RAN;␣exec cat' '␣' {marks}" in shown
        assert f"starts in the folder {tmp_path}" in shown
        assert "which can change what runs: K=1 'SPADES=a, K=2' 'KEY=${K}'" in shown
        assert "gets the variable K" in shown
        assert "may take 900 s to start, and for each call" in shown
        program.type("n\r")
        program.wait_for("Nothing was added.")

    hidden = {**bad, "args": ["-c", "touch RAN; exec cat #" + "水" * 600]}
    many = {"garden": bad} | {f"harmless-{number}": {"command": "cat"} for number in range(40)}
    for servers, words in (
        ({"garden": hidden}, "garden was not added: Its command is too long to show."),
        (
            many,
            "The servers are too many to show in one question.\nName one of them before --from.\n",
        ),
    ):
        file.write_text(json.dumps({"mcpServers": servers}), encoding="utf-8")
        done = alone("tools", "add", "--yes", "--from", str(file), K="1")
        assert (done.returncode, done.stderr[: len(words) + 8]) == (1, f"lmchat: {words}")
    assert not (tmp_path / "RAN").exists()


def test_the_program_that_a_question_shows_is_that_of_the_user_and_starts(alone, tmp_path):
    """The folder of the file has one of the same name, and a variable that leads there."""
    mine = tmp_path / "mine"
    folder = tmp_path / "cloned"
    serve = Path(put(mine, "serve", Path(mcp_server.__file__).read_text(encoding="utf-8")))
    put(folder / "bin", "serve", f"open({str(tmp_path / 'RAN')!r}, 'w')")
    there = {"command": serve.stem, "env": {"PATH": "${PWD}/bin:/bin", "LOG": "off"}}
    file = folder / ".mcp.json"
    file.write_text(json.dumps({"mcpServers": {"clock": there}}), encoding="utf-8")
    user = {"PATH": f"{mine}{os.pathsep}{os.environ['PATH']}", "PWD": str(folder)}
    command = alone.argv("tools", "add", "--from", str(file))
    with PtyProgram(command, home=alone.home, size=(100, 24), env=user) as program:
        program.wait_for("Start clock? [y/N]")
        assert f"clock: {serve}\n" in program.text
        assert "which can change what runs: 'PATH=${PWD}/bin:/bin' LOG=off" in program.text
        assert "gets the variable PWD" in program.text
        program.type("y\r")
        program.wait_for("Added clock: ", 50)
        assert program.wait_exit() == 0
    found = alone("tools", "call", "clock/environment", **user)
    assert json.loads(found.stdout)["env"]["PATH"] == f"{folder}/bin:/bin"
    assert not (tmp_path / "RAN").exists()


def test_neither_arguments_that_cannot_be_shown_run_nor_a_server_asks_and_the_turn_continues(
    cli, server
):
    cli.configure("[tools.approval]\n'files/ask' = 'always'\n")
    cli.add_servers(files=_SCRIPTED)
    hidden = json.dumps({"why": "a" * 1700 + " and more"})
    server.on(CHAT, calling(("files__ask", "{}"), ("files__fail", hidden)), chat_reply("Then."))
    with PtyProgram(cli.argv("ask", "--tools", "?"), home=cli.home, size=(100, 20)) as program:
        program.wait_for("Its arguments do not fit on the screen: call it in the chat screen", 50)
        assert program.wait_exit() == 0
        assert '[tools.approval] "files/fail" = "always"' in program.text.replace("\n", "")
        assert "Then." in program.text
    results = [message["content"] for message in server.seen(CHAT)[-1].json["messages"][-2:]]
    assert "Elicitation not supported" in results[0]
    assert "too long to show" in results[1]


def test_a_removed_server_takes_its_sign_in_along_but_no_key_and_no_other_sign_in(alone):
    wiki = "http://127.0.0.1:1/mcp"
    garden = "http://127.0.0.1:2"
    credentials = Credentials(alone.folder / "credentials.toml")
    alone.add_servers(
        wiki={"url": wiki}, copy={"url": wiki}, garden={"url": garden}, unset={"url": "${NO_URL}"}
    )
    credentials.set(garden, "key")
    credentials.set_sign_in(wiki, "{}")
    credentials.set_sign_in(garden, "{}")
    for name, says_so in (("copy", False), ("garden", True), ("wiki", True), ("unset", False)):
        done = alone("tools", "remove", name)
        assert done.returncode == 0
        assert (f"\nDeleted the sign-in to {name}\n" in done.stdout) == says_so
    assert (credentials.sign_in(wiki), credentials.sign_in(garden)) == ("", "")
    assert wiki not in (alone.folder / "credentials.toml").read_text(encoding="utf-8")
    assert credentials.load() == ""
    assert credentials.keys == {garden: "key"}


def test_a_sign_in_without_a_browser_prints_its_address_and_is_kept(alone):
    with OAuthServer() as garden:
        script = alone("tools", "add", "garden", garden.url)
        assert "Declined without a terminal: Sign in to garden?" in script.stderr
        assert "You are not signed in to garden." in script.stderr
        command = alone.argv("tools", "add", "garden", garden.url)
        env = {"BROWSER": "false"}
        with PtyProgram(command, home=alone.home, size=(900, 20), env=env) as program:
            program.wait_for("Open the address in your browser? [y/N]", 50)
            thought_s = time.monotonic() + 2.5  # longer than a start without a word
            program.wait_until(lambda: time.monotonic() > thought_s, "an answer that takes time")
            program.type("y\r")
            program.wait_for("No browser is available: open the address yourself.")
            assert "This page is at 127.0.0.1\n" in program.text
            [address] = re.findall(rf"^{garden.origin}/authorize\S+", program.text, re.MULTILINE)
            page = httpx.get(address, follow_redirects=True, trust_env=False)
            assert "You can close this page." in page.text
            program.wait_for("Added garden: 1 tool.", 50)
            assert program.wait_exit() == 0
        assert alone("tools").stdout.startswith("garden: ready, 1 tool.")
        assert garden.signed_in == 1
        shown = program.text + written(alone) + alone("config", "show").stdout
        assert "s3cret" not in shown
        assert "s3cret" in (alone.folder / "credentials.toml").read_text(encoding="utf-8")
