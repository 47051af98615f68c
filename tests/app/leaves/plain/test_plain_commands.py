"""Commands of the plain chat."""

from __future__ import annotations

import json
import sys
from types import SimpleNamespace

import pytest

from lmchat.app.commands.table import SLASH_COMMANDS
from lmchat.app.leaves.plain.line_reader import LineReader
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, chat_reply, llama_cpp, plain
from tests.support.scripted_server import Reply, ScriptedServer, Seen


def test_help_lists_commands_of_the_table_and_each_of_them_runs(tmp_path):
    with ScriptedServer() as server:
        plain(server)
        cli = Inside(home=tmp_path, url=server.url)
        listed = cli("--plain", stdin="/help\n").stdout.splitlines()
        forms = {line.partition(": ")[0] for line in listed}
        here = {"/sessions [N]", "/edit [TEXT]"}  # the screen has its list and its editor for them
        assert forms <= {command.slash for command in SLASH_COMMANDS} | here
        assert here < forms
        assert not [line for line in listed if "Show or hide" in line]
        names = {form.partition(" ")[0] for form in forms} - {"/quit"}
        done = cli(
            "--plain", stdin="\n".join(("/theme", "/export", *sorted(names), "/quit", "Hello"))
        )
        assert done.stderr.count("needs the screen") == 2
        assert "what the shell can do: lmchat export --help." in done.stderr
        assert server.seen(CHAT) == []


@pytest.mark.leaf("imports")
def test_each_prompt_has_the_window_that_the_server_lists_by_then(tmp_path):
    def start_again(_: Seen) -> Reply:
        llama_cpp(server, n_ctx=8192)
        return chat_reply()

    talk = [{"role": role, "content": "beans " * 300} for role in ("user", "assistant")] * 5
    with ScriptedServer() as server:
        llama_cpp(server, n_ctx=1024)
        server.on(CHAT, start_again)
        cli = Inside(home=tmp_path, url=server.url)
        cli("import", "-", stdin=json.dumps(talk))
        done = cli("--plain", "-r", "last", stdin="Hello\nHello\n")
        assert "8 oldest messages left out" in done.stderr
        assert [len(seen.json["messages"]) for seen in server.seen(CHAT)] == [3, 13]


def test_where_nothing_can_copy_another_way_is_named(tmp_path):
    with ScriptedServer() as server:
        plain(server)
        cli = Inside(home=tmp_path, url=server.url)
        lines = "Hello\n/copy\n/copy beans\n/copy code\n"
        done = cli("--plain", stdin=lines, SSH_TTY="/dev/pts/1")
        assert "No program here can copy, nor can this terminal." in done.stderr
        assert "lmchat export ID" in done.stderr
        assert "Use /copy or /copy code." in done.stderr
        assert "This message has no code block." in done.stderr
        assert done.stdout == "Hello there.\n"


@pytest.mark.parametrize("number", ["7", "3", "0", "-7", "\u0667", "00000000002", "9" * 5000])
def test_a_number_means_a_row_of_the_printed_list_and_nothing_else(number, tmp_path):
    with ScriptedServer() as server:
        plain(server, "beta", "alder-7b", "3", "0072")
        cli = Inside(home=tmp_path, url=server.url)
        before = cli("--plain", "-m", "beta", stdin=f"/model {number}\nHello\n")
        assert "No listed model has this number." in before.stderr
        assert "/model lists them." in before.stderr

        plain(server, "beta", "alder-7b")
        done = cli("--plain", "-m", "beta", stdin=f"/model\n/model {number}\nHello\n")
        assert "No listed model has this number." in done.stderr
        assert done.returncode == before.returncode == 2
        cli("--plain", "-m", "beta", stdin="/model\n/model 2\nHello\n/model beta\nHello\n")
        asked = [seen.json["model"] for seen in server.seen(CHAT)]
        assert asked == ["beta", "beta", "alder-7b", "beta"]


def test_a_name_means_the_model_of_the_server_in_use(tmp_path):
    with ScriptedServer() as one, ScriptedServer() as two:
        tables = '[[endpoints]]\nname = "a"\nurl = "{}"\n' * 2
        cli = Inside(home=tmp_path)
        cli.configure(tables.format(plain(one, "beta").url, plain(two, "beta").url))
        cli("--plain", stdin="/model\n/model 2\n/model beta\nHi\n/model 1\n/model beta\nHi\n")
        assert len(one.seen(CHAT)) == len(two.seen(CHAT)) == 1


def test_a_number_of_a_session_means_the_list_and_the_printed_id_the_session(tmp_path):
    with ScriptedServer() as server:
        plain(server)
        cli = Inside(home=tmp_path, url=server.url)
        assert "No listed session has this number." in cli("--plain", stdin="/sessions 9\n").stderr
        cli("--plain", stdin="Hello\n")
        listed = cli("--plain", stdin="/sessions\n/sessions 9\n/sessions 1234567\n")
        assert listed.stderr.count("No listed session has this number.") == 2
        for typed, refusal in (("12345678", "begins with 12345678."), ("+-2", "is too short")):
            assert refusal in cli("--plain", stdin=f"/sessions {typed}\n").stderr
        session = cli("--plain", stdin="/sessions\n/sessions 1\n/retry\n")
        assert (session.returncode, len(server.seen(CHAT))) == (0, 2)


def test_a_profile_names_its_model_also_by_digits(tmp_path):
    with ScriptedServer() as server:
        plain(server, "beta", "gamma", "gamma-2")
        cli = Inside(home=tmp_path, url=server.url)
        cli.configure('[profiles.second]\nmodel = "2"\n')
        done = cli("--plain", "-m", "beta", stdin="/model\n/profile second\nHello\n")
        assert done.returncode == 0, done
        assert server.seen(CHAT)[0].json["model"] == "gamma-2"


def test_a_library_that_is_named_readline_but_is_another_one_is_not_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "readline", SimpleNamespace())  # pyreadline3
    reader = LineReader()
    reader.can_redraw = True
    reader.start(["an earlier prompt"])
    assert not reader.set_next_text("text")
