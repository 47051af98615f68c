"""Tools on the command line: functions of a real `tools.py`, and a model that calls them."""

from __future__ import annotations

import json
import signal
import sys
import tomllib

import psutil
import pytest

from lmchat.domain.tool import MAY_STILL_RUN
from tests.support import mcp_server
from tests.support.programs import (
    FUNCTIONS,
    WAIT_S,
    is_running,
    processes,
    wait_until,
    write_tools,
)
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import CHAT, calling, chat_reply
from tests.support.scripted_server import Hold, sse

_ALLOWED = "[tools.approval]\n'python/add' = 'always'\n"


@pytest.fixture
def with_tools(alone):
    write_tools(alone)
    return alone


def test_the_list_has_servers_with_their_state_and_tools_with_their_approval(with_tools):
    with_tools.configure(f"{_ALLOWED}[[mcp]]\nname = 'away'\nurl = 'http://192.0.2.1/mcp'\n")
    away, python, _, head, *rows = with_tools("tools").stdout.splitlines()
    assert away.startswith("away: failed. Endpoint not allowed: ")
    assert "--allow-host 192.0.2.1" in away
    assert python == "python: ready, 2 tools."
    assert head.split() == ["TOOL", "APPROVAL", "DESCRIPTION"]
    assert [row.split()[:2] for row in rows] == [["python/add", "always"], ["python/fail", "ask"]]
    assert "\x1b" not in "".join(rows)
    servers = with_tools.json("tools", "--json")["data"]
    assert [server["state"] for server in servers] == ["failed", "ready"]
    tool = servers[1]["tools"][0]
    assert (tool["name"], tool["wire_name"], tool["approval"]) == (
        "python/add",
        "python__add",
        "always",
    )
    assert tool["schema"]["required"] == ["a"]


def test_without_tools_the_list_says_how_to_add_some(alone):
    done = alone("tools")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr.startswith("lmchat: no tools are configured. Add [[mcp]] to ")
    assert alone.json("tools", "--json")["data"] == []


@pytest.mark.parametrize(
    ("words", "code", "out", "err"),
    [
        (["python/add", '{"a": 3}'], 0, "5\n", ""),
        (
            ["python/fail", '{"why": "no"}'],
            1,
            "",
            "lmchat: python/fail failed: tools.py, line 9: ValueError",
        ),
        (
            ["python/add"],
            1,
            "",
            "lmchat: python/add failed: The arguments do not match the schema: at $: ",
        ),
        (["python/add", "[3]"], 2, "", "lmchat: The arguments are not a JSON object.\n"),
        (
            ["python/ad", "{}"],
            2,
            "",
            "lmchat: There is no tool python/ad.\nDid you mean python/add?",
        ),
    ],
)
def test_a_call_prints_its_result_or_says_what_is_wrong(with_tools, words, code, out, err):
    done = with_tools("tools", "call", *words)
    assert (done.returncode, done.stdout) == (code, out)
    assert done.stderr.startswith(err)


def test_a_long_result_is_cut_and_says_how_long_it_was(alone):
    write_tools(alone, "def fill() -> str:\n    'Fill the screen.'\n    return 100_000 * 'y'\n")
    end = "\n[cut: 100000 characters, the first 32000 are here]\n"
    assert alone("tools", "call", "python/fill").stdout == 32_000 * "y" + end


def test_a_failed_call_as_json_has_its_error(with_tools):
    failed = with_tools.json("tools", "call", "python/fail", '{"why": "no"}', "--json", code=1)
    assert (failed["tool"], failed["state"]) == ("python/fail", "failed")
    assert "ValueError: no" in failed["result"]


def test_a_call_starts_no_other_server(with_tools):
    started = with_tools.folder / "started"
    with_tools.configure(f"[[mcp]]\nname = 'other'\ncommand = 'touch'\nargs = ['{started}']\n")
    assert with_tools("tools", "call", "python/add", '{"a": 3}').stdout == "5\n"
    assert not started.exists()
    with_tools("tools")
    assert started.exists()


def test_the_doctor_has_a_row_for_each_server_and_none_without_tools(cli):
    assert [row for row in cli.json("doctor", "--json")["checks"] if row["group"] == "Tools"] == []
    write_tools(cli)
    [row] = [row for row in cli.json("doctor", "--json")["checks"] if row["group"] == "Tools"]
    assert (row["name"], row["verdict"]) == ("python", "ok")
    assert "2 tools" in row["cause"]
    write_tools(cli, "def add(:\n")
    [row] = [
        row for row in cli.json("doctor", "--json", code=1)["checks"] if row["group"] == "Tools"
    ]
    assert row["verdict"] == "fault"
    assert "tools.py, line 1: SyntaxError" in row["cause"]
    assert row["next_step"].endswith("tools.py, then lmchat tools")
    step = f"Correct {cli.folder / 'tools.py'}, then lmchat tools.\n"
    for words in (["tools"], ["ask", "--tools", "hi"]):
        done = cli(*words)
        assert (done.returncode, step in done.stderr) == (1, True)


@pytest.mark.slow
def test_the_doctor_says_which_server_hangs_and_does_not_wait_for_it(cli):
    write_tools(cli)
    silent = f"command = '{sys.executable}'\nargs = ['-c', 'import time; time.sleep(600)']\n"
    cli.configure(f"[[mcp]]\nname = 'silent'\n{silent}")
    rows = [row for row in cli.json("doctor", "--json")["checks"] if row["group"] == "Tools"]
    assert [(row["name"], row["verdict"]) for row in rows] == [
        ("silent", "warning"),
        ("python", "ok"),
    ]
    assert rows[0]["cause"] == "No answer within 8 s."


@pytest.fixture
def adding(cli, server):
    """Yield lmchat with an allowed tool that the model calls."""
    write_tools(cli, config=_ALLOWED)
    server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("It is 5."))
    return cli


def test_an_answer_with_an_allowed_tool_has_its_steps(adding, server):
    done = adding("ask", "--tools", "--json", "3 and 2?")
    value = json.loads(done.stdout)
    assert (value["reply"], value["tool_calls"]) == ("It is 5.", [])
    [step] = value["steps"]
    assert step.pop("elapsed_ms") > 0
    assert step == {"tool": "python/add", "arguments": {"a": 3}, "result": "5", "state": "complete"}
    assert done.stderr == "lmchat: python/add(3)\n"
    first, second = server.seen(CHAT)
    assert {tool["function"]["name"] for tool in first.json["tools"]} == {
        "python__add",
        "python__fail",
    }
    assert second.json["messages"][-1] == {"role": "tool", "tool_call_id": "call_0", "content": "5"}


def test_each_call_is_a_line_of_the_stream(adding):
    lines = [
        json.loads(line)
        for line in adding("ask", "--tools", "--stream-json", "?").stdout.splitlines()
    ]
    assert [next(iter(line)) for line in lines] == ["chunk", "tool", "chunk", "done"]
    assert lines[1]["tool"]["result"] == "5"


def test_the_texts_around_a_call_are_on_lines_of_their_own(adding):
    assert adding("ask", "--tools", "?").stdout == "Let me see.\nIt is 5.\n"


def test_without_a_terminal_a_tool_that_asks_is_refused_and_the_way_to_allow_it_told(cli, server):
    write_tools(cli)
    server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("I cannot."))
    done = cli("ask", "--tools", "--json", "?")
    assert done.returncode == 0
    way = 'Not allowed: python/add. To allow it, set [tools.approval] "python/add" = "always".'
    assert done.stderr.splitlines()[0] == f"lmchat: {way}"
    assert json.loads(done.stdout)["steps"][0]["state"] == "failed"
    assert "without a terminal" in server.seen(CHAT)[1].json["messages"][-1]["content"]


def test_nothing_is_offered_unless_asked_for_and_asking_needs_a_tool(cli, server):
    done = cli("ask", "--tools", "?")
    assert (done.returncode, done.stdout, len(server.seen(CHAT))) == (2, "", 0)
    assert done.stderr.startswith("lmchat: No tools are configured.\nAdd [[mcp]] to ")
    write_tools(cli, config=_ALLOWED)
    assert cli("ask", "?").returncode == 0
    assert "tools" not in server.seen(CHAT)[0].json


def test_a_model_that_cannot_use_tools_answers_without_them(cli, server):
    write_tools(cli, config="[tools]\noffer_when_unknown = false\n")
    server.on(CHAT, chat_reply("Hello."))
    done = cli("ask", "--tools", "?")
    words = "lmchat: tiny cannot use tools; it answers without them.\n"
    assert (done.stdout, done.stderr) == ("Hello.\n", words)
    assert "tools" not in server.seen(CHAT)[0].json


def test_a_loop_without_an_end_is_a_failure_that_has_its_steps(cli, server):
    write_tools(cli, config=f"[tools]\nmax_steps = 1\n{_ALLOWED}")
    server.on(CHAT, calling(("python__add", '{"a": 3}')))
    done = cli("ask", "--tools", "--json", "?")
    value = json.loads(done.stdout)
    assert (done.returncode, value["detail"]["error"], len(value["steps"])) == (1, "tool_limit", 1)
    assert done.stderr.endswith("Change the prompt, or raise max_steps under [tools].\n")


def test_at_a_terminal_each_call_is_asked_about_and_always_is_remembered(cli, server):
    write_tools(cli)
    server.on(
        CHAT,
        calling(("python__add", '{"a": 3}'), ("python__fail", '{"why": "x"}')),
        chat_reply("It is 5."),
    )
    with PtyProgram(cli.argv("ask", "--tools", "?"), home=cli.home, size=(100, 20)) as program:
        program.wait_for("    a = 3\npython/add? y once, s this session, a always, n no:")
        program.type("what\r")
        program.wait_until(lambda: program.text.count("python/add? y") == 2, "asked again")
        program.type("a\r")
        program.wait_for('    why = "x"\npython/fail? y once')
        program.type("n not that\r")
        assert program.wait_exit() == 0
        assert "It is 5." in program.text
    first, second = server.seen(CHAT)[1].json["messages"][-2:]
    assert first["content"] == "5"
    assert second["content"].endswith("Reason: not that")
    state = tomllib.loads((cli.folder / "state.toml").read_text())
    assert list(state["allowed_tools"]) == ["python/add"]


def test_always_ends_with_the_description_and_with_a_rule_and_the_question_says_why(cli, server):
    def ask(sees: str) -> None:
        server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("Done."))
        with PtyProgram(cli.argv("ask", "--tools", "?"), home=cli.home, size=(120, 20)) as program:
            program.wait_for(f"{sees}python/add wants to run")
            program.type("a\r")
            program.wait_for("Done.")
            assert program.wait_exit() == 0

    write_tools(cli)
    ask("")
    server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("Done."))
    done = cli("ask", "--tools", "?")
    assert done.stdout.endswith("Done.\n")
    assert "Not allowed" not in done.stderr
    write_tools(cli, FUNCTIONS.replace("Add two numbers.", "Add two numbers, and send them away."))
    ask("its server, description or arguments have changed.\n")
    write_tools(cli, config='[tools.approval]\n"python/add" = "ask"\n')
    ask("although you once chose “always”.\n")


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


def test_a_temporary_chat_leaves_nothing_in_the_log_of_the_tools(cli, server):
    ask_with_note(cli, server, "--temporary")
    assert logs_with(_SAID, cli.home) == set()
    ask_with_note(cli, server)
    assert logs_with(_SAID, cli.home) == {"tools.log"}


def test_a_purge_empties_the_log_of_the_tools(cli, server):
    for _ in range(2):
        ask_with_note(cli, server, "--save")
    assert logs_with(_SAID, cli.home) == {"tools.log", "tools.log.1"}
    assert cli("sessions", "delete", "last").returncode == 0
    assert logs_with(_SAID, cli.home)
    assert cli("sessions", "purge", "--yes").returncode == 0
    assert logs_with(_SAID, cli.home) == set()


def test_an_interrupted_call_ends_the_answer_as_stopped(cli, server, tmp_path):
    begun = tmp_path / "begun"
    slow = f"    open({str(begun)!r}, 'w')\n    time.sleep(60)\n"
    write_tools(
        cli,
        f"import time\ndef wait() -> str:\n    'Wait.'\n{slow}",
        "[tools]\napprove = 'always'\n",
    )
    server.on(CHAT, calling(("python__wait", "{}")), sse(Hold()))
    process = cli.start("ask", "--tools", "--json", "?")
    wait_until(begun.exists, "the call")
    process.send_signal(2)
    out, _ = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130
    assert (json.loads(out)["state"], json.loads(out)["reply"]) == ("stopped", "Let me see.")


_STUCK = """
import re
from pathlib import Path

def holds_the_lock() -> bool:
    "Never return, and let no other thread run."
    Path(__file__).with_name("begun").touch()
    return bool(re.match("(a*)*b", "a" * 50))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_no_process_is_left_when_lmchat_ends_while_a_function_holds_the_lock(cli, number):
    sign = f"{cli.folder}/of-the-server"
    server = f"command = '{sys.executable}'\nargs = ['{mcp_server.__file__}']\nenv = {{IGNORE_END = '{sign}'}}\n"
    write_tools(
        cli, _STUCK, f"[tools.approval]\n'python' = 'always'\n[[mcp]]\nname = 'files'\n{server}"
    )
    process = cli.start("tools", "call", "python/holds_the_lock", "{}")
    wait_until((cli.folder / "begun").exists, "the function")
    own = psutil.Process(process.pid).children(recursive=True)
    assert own
    process.send_signal(number)
    process.communicate(timeout=WAIT_S)
    wait_until(
        lambda: not any(is_running(process.pid) for process in own), "the end of all processes"
    )


_SLEEPS = """
import time
from pathlib import Path

def sleeps() -> str:
    "Sleep."
    Path(__file__).with_name("begun").touch()
    time.sleep(600)
    return ""
"""


def test_a_stopped_function_is_said_to_run_on_on_the_screen_and_in_exports(cli, server):
    write_tools(cli, _SLEEPS, "[tools]\napprove = 'always'\n")
    server.on(CHAT, calling(("python__sleeps", "{}")))
    with PtyProgram(cli.argv(), home=cli.home, size=(140, 30)) as program:
        program.wait_for("tiny")
        program.type("Sleep\r")
        program.wait_until((cli.folder / "begun").exists, "the function")
        program.type("\x1b", sees="stopped · It may still run until lmchat ends")
        program.type("\x11")
        assert program.wait_exit() == 0
    for words in (
        ("last",),
        ("last", "--format", "txt"),
        ("last", "--format", "json"),
        ("last", "--format", "html"),
    ):
        assert MAY_STILL_RUN in cli("export", *words).stdout


def test_the_plain_chat_says_that_a_stopped_function_may_still_run(cli, server):
    write_tools(cli, _SLEEPS, "[tools]\napprove = 'always'\n")
    server.on(CHAT, calling(("python__sleeps", "{}")))
    with PtyProgram(cli.argv("--plain"), home=cli.home, size=(140, 30)) as program:
        program.wait_for("You:")
        program.type("Sleep\r")
        program.wait_until((cli.folder / "begun").exists, "the function")
        program.type("\x03", sees=f"Stopped. {MAY_STILL_RUN}\nYou:")


def test_no_process_is_left_when_lmchat_is_killed_in_a_call(cli):
    sign = f"{cli.folder}/of-the-server"  # in the arguments of the server's own child
    server = f"command = '{sys.executable}'\nargs = ['{mcp_server.__file__}']\nenv = {{IGNORE_END = '{sign}'}}\n"
    cli.configure(f"[[mcp]]\nname = 'files'\n{server}")
    process = cli.start("tools", "call", "files/never", "{}")
    wait_until(lambda: processes(sign), "the server's own child")
    lmchat = psutil.Process(process.pid)
    # the tool host, the server, a watchdog of each, and the server's own child
    wait_until(lambda: len(lmchat.children(recursive=True)) == 5, "five processes and no other")
    own = lmchat.children(recursive=True)
    process.kill()
    process.communicate(timeout=WAIT_S)
    wait_until(
        lambda: not any(is_running(process.pid) for process in own), "the end of all processes"
    )
