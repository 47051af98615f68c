from __future__ import annotations

import asyncio
import os
import re
import signal
import sqlite3
from contextlib import aclosing

import pytest

from lmchat.text import safe_text
from tests.e2e.test_cli_tools import CHAT, calling, write_tools
from tests.support import chats
from tests.support.chats import store_at
from tests.support.lmchat_screen import stored
from tests.support.programs import Inside
from tests.support.pty_program import ROOT, PtyProgram
from tests.support.scripted_products import chat_reply, llama_cpp, lm_studio, plain
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Hold,
    ScriptedServer,
    delta,
    finish,
    free_port,
    sse,
)

Cli = Inside
_READY = "/help lists the commands.\nYou:"
_TEXT = "\x1b[31mBeans."
_OF_READLINE = re.compile(rb"\x1b\[(?:\?2004[hl]|\d*[A-DJKP@])")
"""Marks of pastes, movements of the cursor, and deletions in the line that is edited."""


def texts(home):
    return [message.text for message in stored(home).messages]


@pytest.fixture
def begin(cli):
    """Start the plain chat at a terminal; what is printed there holds no other escape sequence."""
    programs = []

    def start(*words, argv=("--plain",), sees=_READY, cwd=ROOT, **env):
        argv = cli.argv(*argv, *words)
        program = PtyProgram(argv, home=cli.home, size=(120, 40), env=env, cwd=cwd)
        programs.append((program, argv))
        program.wait_for(sees)
        return program

    yield start
    for program, argv in programs:
        program.close()
        assert "--inline" in argv or b"\x1b" not in _OF_READLINE.sub(b"", program.raw)


async def on_disk(cli, name, *arguments):
    """Call a method of the store."""
    async with aclosing(store_at(cli.home)) as store:
        return await getattr(store, name)(*arguments)


def wait_prompt(program):
    program.wait_until(lambda: program.text.rstrip().endswith("You:"), "the prompt")


def leave(program):
    wait_prompt(program)
    program.type("\x04")
    assert program.wait_exit() == 0
    assert program.left_behind() == []


def test_who_speaks_is_a_line_and_the_state_a_word_and_the_session_is_saved(begin, server, cli):
    server.on(CHAT, sse(delta(reasoning_content="Hm."), _TEXT, finish(), DONE))
    talk = begin()
    talk.type("Which grow?\r")
    talk.wait_for("You:\nWhich grow?\ntiny:\nThinking…\n␛[31mBeans.\nYou:")
    leave(talk)
    assert texts(cli.home) == ["Which grow?", _TEXT]


def test_a_dumb_terminal_gets_the_plain_chat_unasked(begin):
    talk = begin(argv=(), TERM="dumb")
    talk.type("Hi\r", sees="tiny:")
    talk.type("/quit\r")
    assert talk.wait_exit() == 0


def test_ctrl_c_stops_the_answer_and_continue_goes_on_with_it(begin, server, cli):
    server.on(CHAT, sse("Beans", Hold()), sse(" and peas.", finish(), DONE))
    talk = begin()
    talk.type("Hi\r", sees="Beans")
    talk.type("\x03", sees="Stopped.\nYou:")
    assert texts(cli.home) == ["Hi", "Beans"]
    talk.type("/continue\r", sees="peas.\nYou:")
    leave(talk)


def test_rewrite_saves_a_version_of_the_last_answer_and_continue_goes_on_with_it(
    begin, server, cli
):
    llama_cpp(server)
    server.on(CHAT, chat_reply("Beans"), sse(" grow.", finish(), DONE))
    talk = begin()
    talk.type("Hi\r", sees="Beans\nYou:")
    talk.type("/rewrite\r", sees="/rewrite Beans")
    talk.type(" always \r", sees="saved as another version")
    wait_prompt(talk)
    assert texts(cli.home) == ["Hi", "Beans always"]
    talk.type("/continue\r", sees="grow.\nYou:")
    leave(talk)
    assert server.seen(CHAT)[1].json["messages"][-1]["content"] == "Beans always"
    assert texts(cli.home) == ["Hi", "Beans always grow."]


def test_start_gives_the_next_answer_its_first_words(begin, server, cli):
    llama_cpp(server)
    server.on(CHAT, sse(" grow.", finish(), DONE))
    talk = begin()
    talk.type("/start\r", sees="Type a text after /start.")
    talk.type("/start Beans\r", sees="The next answer begins with: Beans")
    talk.type("Hi\r", sees="Beans grow.\nYou:")
    leave(talk)
    assert texts(cli.home) == ["Hi", "Beans grow."]


def test_compact_prints_a_summary_and_goes_on_with_it(begin, server, cli):
    server.on(CHAT, *(chat_reply(text) for text in ("A.", "B.", "C.", "They spoke.", "D.")))
    talk = begin()
    for prompt, sees in (
        ("a", "A."),
        ("b", "B."),
        ("c", "C."),
        ("/compact", "They spoke."),
        ("d", "D."),
    ):
        talk.type(f"{prompt}\r", sees=f"{prompt}\ntiny:\n{sees}")
        wait_prompt(talk)
    assert "/tree on the screen lists their branch." in talk.text
    leave(talk)
    assert texts(cli.home)[1:] == ["They spoke.", "b", "B.", "c", "C.", "d", "D."]


def test_ctrl_c_at_the_prompt_clears_the_line(begin, server):
    talk = begin()
    talk.type("wrong", sees="wrong")
    talk.type("\x03")
    try:
        talk.wait_for("Ctrl+D quits.\nYou:", 2)
    except AssertionError:  # Python holds one back that comes just before readline begins to wait
        talk.type("\x03", sees="Ctrl+D quits.\nYou:")
    talk.type("right\r", sees="right\ntiny:")
    leave(talk)
    assert server.seen(CHAT)[0].json["messages"][-1]["content"] == "right"


def test_earlier_prompts_come_back_with_the_arrow(begin, server):
    server.on(CHAT, chat_reply("One."), chat_reply("Two."))
    talk = begin()
    talk.type('"""a\r', sees='"""a\n...')
    talk.type('b"""\r', sees="One.\nYou:")
    leave(talk)
    again = begin()
    again.type("\x1b[A\r", sees="Two.\nYou:")
    leave(again)
    assert [request.json["messages"][-1]["content"] for request in server.seen(CHAT)] == [
        "a\nb",
        "a\nb",
    ]


def test_earlier_prompts_that_no_terminal_takes_come_back_as_safe_text(begin, server, cli):
    server.on(CHAT, chat_reply("One."), chat_reply("Two."))
    hostile = "a\x00b\x9b2J\ud800\u202ec"  # as an imported chat may have it
    asyncio.run(on_disk(cli, "append", chats.header(), chats.prompt(hostile)))
    talk = begin()
    talk.type("\x1b[A\r", sees="One.\nYou:")
    talk.type("/edit\r", sees="The last prompt is on the next line")
    talk.type("!\r", sees="Two.\nYou:")
    leave(talk)
    assert b"\x9b2J" not in talk.raw
    sent = [request.json["messages"][-1]["content"] for request in server.seen(CHAT)]
    assert sent == [safe_text(hostile), f"{safe_text(hostile)}!"]


def test_sessions_are_listed_and_opened_by_number(begin, server, cli):
    assert cli("--plain", stdin="Plant beans").returncode == 0
    talk = begin()
    talk.type("/sessions\r", sees="1. “Plant beans”, 2 messages, ")
    talk.type("/sessions 1\r", sees="Session: “Plant beans”")
    wait_prompt(talk)
    talk.type("and peas?\r")
    talk.wait_until(lambda: len(server.seen(CHAT)) == 2, "the prompt is sent")
    leave(talk)
    assert texts(cli.home)[::2] == ["Plant beans", "and peas?"]


def test_a_call_of_a_tool_is_a_line_and_asks(begin, server, cli):
    write_tools(cli)
    server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("It is 5."))
    talk = begin()
    talk.type("3 and 2?\r", sees="    a = 3\npython/add? y once, s this session, a always, n no:")
    talk.type("y\r", sees="It is 5.\nYou:")
    assert "lmchat: python/add(3)\nIt is 5." in talk.text
    leave(talk)


def test_ctrl_c_at_the_question_of_a_tool_stops_the_turn_and_takes_no_line(begin, server, cli):
    write_tools(cli)
    server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("Bye."))
    talk = begin()
    talk.type("3 and 2?\r", sees="n no:")
    talk.type("\x03", sees="Stopped.\nYou:")
    talk.type("Leave it\r", sees="Bye.\nYou:")
    leave(talk)


def test_models_are_numbered_and_loading_one_is_told(begin, cli):
    with ScriptedServer() as studio:
        cli.url = lm_studio(studio, loaded=["qwen3-8b"]).url
        talk = begin()
        talk.type("/model\r", sees="2. ")
        cold = next(line for line in talk.text.splitlines() if line.endswith("not loaded"))
        number, name = cold.split()[:2]
        talk.type(
            f"/model {number.rstrip('.')}\r", sees=f"Loading model…\nModel: {name} at LM Studio"
        )
        leave(talk)


def test_the_last_prompt_is_edited_in_the_line(begin, server, cli):
    talk = begin()
    talk.type("Plant beens\r", sees="tiny:")
    wait_prompt(talk)
    talk.type("/edit\r", sees="You:\n/edit Plant beens")
    talk.type("\x7f\x7f\x7fans\r")
    talk.wait_until(lambda: len(server.seen(CHAT)) == 2, "the edited prompt is sent")
    leave(talk)
    assert texts(cli.home)[0] == "Plant beans"


def test_commands_without_a_place_in_plain_text_say_so_and_help_lists_the_others(begin):
    talk = begin()
    talk.type("/theme\r", sees="lmchat: /theme needs the screen.\nStart lmchat without --plain.")
    talk.type("/now\r", sees="lmchat: /now needs the screen.\nCtrl+C stops the answer; /effort")
    talk.type("/probabilities\r", sees="In a shell: lmchat ask --json --set logprobs=5")
    talk.type("/doctor\r", sees="/doctor needs the screen.\nIn a shell: lmchat doctor")
    talk.type("/nonsense\r", sees="Unknown command: /nonsense.")
    talk.type("/help\r", sees='several lines begins and ends with """.')
    assert "/theme" not in talk.text.partition("/help\n")[2]
    leave(talk)


def test_at_a_terminal_it_waits_for_a_server_and_says_so_once(begin, cli):
    with free_port() as port:
        cli.url = f"http://127.0.0.1:{port}"
        talk = begin(sees="Waiting for a server. Press Ctrl+C to stop waiting.")
    with plain(ScriptedServer(port=port), "tiny"):
        talk.wait_for(_READY)
    assert talk.text.count("Nothing answers at ") == 1
    leave(talk)


def test_a_signal_saves_what_has_come(begin, server, cli):
    server.on(CHAT, sse("Beans", Hold()))
    talk = begin()
    talk.type("Hi\r", sees="Beans")
    talk.kill(signal.SIGTERM)
    assert talk.wait_exit() == 128 + signal.SIGTERM
    assert texts(cli.home) == ["Hi", "Beans"]


def test_through_a_pipe_a_line_goes_in_and_an_answer_comes_out(cli, server):
    server.on(CHAT, chat_reply("One."), chat_reply("Two."))
    done = cli("--plain", stdin='"""\na\n/new\n"""\n/new\n"""b\nc')
    assert (done.returncode, done.stdout) == (0, "One.\nTwo.\n")
    assert done.stderr == "New session.\n"
    assert server.seen(CHAT)[0].json["messages"][-1]["content"] == "a\n/new"
    assert texts(cli.home) == ["b\nc", "Two."], "the end of the input ends a block"


def test_the_exit_code_of_a_pipe_is_that_of_its_first_failure(cli, server):
    server.on(CHAT, sse("Half", Cut()), chat_reply("Two."))
    done = cli("--plain", stdin="a\n/theme\nb\n")
    assert (done.returncode, done.stdout) == (1, "Half\nTwo.\n")
    assert "Type /continue for the rest of the answer" in done.stderr


def test_without_a_server_a_pipe_ends_as_detect_does(alone):
    done = alone("--plain", stdin="a\nb\n")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.count("Nothing answers at ") == 1


def test_commands_of_the_session_work_through_a_pipe(cli, server, tmp_path):
    notes = tmp_path / "notes.txt"
    notes.write_text("peas")
    done = cli("--plain", stdin=f"/system Be short.\n/file {notes}\nPlan")
    assert done.returncode == 0, done.stderr
    system, prompt = server.seen(CHAT)[0].json["messages"]
    assert system["content"] == "Be short."
    assert "peas" in prompt["content"]


def test_values_to_choose_from_are_listed_and_a_profile_is_left_again(cli):
    cli.configure("[profiles.short]\nsystem_prompt = 'Be short.'\n[prompts.french]\ntext = 'x'\n")
    lines = (
        "/profile",
        "/profile short",
        "/profile",
        "/profile none",
        "/effort low",
        "/effort",
        "/p",
        "/import",
    )
    done = cli("--plain", stdin="\n".join(lines))
    before, after = "short\nnone, in use\n", "short, in use\nnone\n"
    assert done.stdout.startswith(f"{before}{after}none\nminimal\nlow, in use\nmedium\n")
    assert done.stdout.endswith("default\nor a number of tokens\nfrench\n")
    assert done.stderr.startswith("Profile: short.\nProfile: none.\n")
    assert (done.returncode, "In a shell: lmchat import FILE" in done.stderr) == (2, True)


def test_the_effort_in_use_is_that_of_the_session_where_it_sets_one(cli, server):
    lines = ("one", "/set reasoning_effort high", "/effort", "/effort low", "/effort")
    done = cli("--plain", stdin="\n".join(lines))
    assert done.stdout.count("high, in use\n") == done.stdout.count("low, in use\n") == 1


def test_presets_are_read_again_when_the_file_changes(cli, begin):
    cli.configure("[prompts.french]\ntext = 'x'\n")
    program = begin()
    program.type("/p\r", sees="french\nYou:")
    cli.configure("[prompts.german]\ntext = 'Auf Deutsch: {{input}}'\n[profiles.calm]\n")
    program.type("/p\r", sees="german\nYou:")
    program.type("/profile\r", sees="calm\nnone, in use\nYou:")
    cli.configure("[prompts.german]\ntext = 3\n")
    program.type("/p german cats\r")
    program.wait_for_raw(b"prompts.german.text must be")
    wait_prompt(program)
    assert texts(cli.home)[0] == "Auf Deutsch: cats"
    leave(program)


def test_plain_with_a_command_is_refused(cli):
    assert cli("ask", "--plain", "Hi").returncode == 2


BEGIN, END = "\x1b[200~", "\x1b[201~"


def prompts(server):
    return [request.json["messages"][-1]["content"] for request in server.seen(CHAT)]


@pytest.fixture
def secret(cli):
    """A file outside the folder in which lmchat runs."""
    path = cli.home / ".ssh" / "id_rsa"
    path.parent.mkdir()
    path.write_text("PRIVATE KEY\n")
    return path


def test_a_paste_is_one_prompt_that_enter_sends_and_no_command_of_it_runs(begin, server, secret):
    server.on(CHAT, chat_reply("One."), chat_reply("Two."))
    talk = begin()
    talk.type(f"{BEGIN}/file {secret}\rWhat is it?\r/quit{END}")
    talk.wait_for("/quit")
    talk.type(" yet\r", sees="One.\nYou:")
    assert prompts(server) == [f"/file {secret}\nWhat is it?\n/quit yet"]
    talk.type("Next\r", sees="Two.\nYou:")
    assert prompts(server)[1:] == ["Next"]
    leave(talk)


def test_a_paste_while_an_answer_comes_is_one_prompt_too(begin, server, secret):
    gate = Gate()
    server.on(CHAT, sse("One", gate, ".", finish(), DONE), chat_reply("Two."))
    talk = begin()
    talk.type("First\r", sees="One")
    talk.type(f"{BEGIN}/file {secret}\rWhat is it?\r/quit{END}")
    talk.wait_for("/quit")
    gate.open()
    talk.wait_for(f"You:\n/file {secret}\nWhat is it?\n/quit")
    talk.type("\r", sees="Two.\nYou:")
    assert prompts(server)[1:] == [f"/file {secret}\nWhat is it?\n/quit"]
    leave(talk)


@pytest.mark.parametrize("env", [{"TERM": "dumb"}, {"INSIDE_EMACS": "29"}], ids=str)
def test_lines_that_come_at_once_from_a_terminal_without_marks_are_one_prompt(
    begin, server, secret, env
):
    server.on(CHAT, chat_reply("One."))
    talk = begin(**env)
    talk.type(f"/file {secret}\rWhat is it?\r/new\r", sees="One.\nYou:")
    assert prompts(server) == [f"/file {secret}\nWhat is it?\n/new"]
    leave(talk)
    assert b"\x1b" not in talk.raw


@pytest.mark.parametrize(("typed", "is_sent"), [("y\r", True), ("\r", False), ("n\r", False)])
@pytest.mark.parametrize("is_link", [False, True], ids=["path", "link"])
def test_a_file_outside_the_folder_is_read_only_after_a_question(
    begin, server, secret, tmp_path, typed, is_sent, is_link
):
    server.on(CHAT, chat_reply("One."))
    work = tmp_path / "work"
    work.mkdir()
    (work / "notes.md").symlink_to(secret)
    talk = begin(cwd=work)
    name = "notes.md" if is_link else secret
    talk.type(f"/file {name}\r", sees=f"{secret} is outside this folder. Attach it?")
    talk.type(typed, sees="begins with" if is_sent else "The file was not attached.")
    talk.type("What is it?\r", sees="One.\nYou:")
    assert ("PRIVATE KEY" in prompts(server)[0]) is is_sent
    leave(talk)


def test_the_texts_of_a_folder_are_attached_with_a_line_about_them(begin, server, tmp_path):
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes/a.md").write_text("Alpha.")
    (tmp_path / "notes/b.md").write_text("Beta.")
    talk = begin(cwd=tmp_path, PYTHONPATH=str(ROOT))
    talk.type("/file notes/\r", sees="Your next prompt begins with 2 files, 11 B, ~3 tokens.")
    talk.type("Compare.\r", sees="Hello there.\nYou:")
    text = server.seen(CHAT)[0].json["messages"][-1]["content"]
    assert "File notes/a.md:\n```\nAlpha.\n```" in text
    assert "File notes/b.md:" in text
    leave(talk)


def test_many_files_are_attached_after_a_question_only(begin, server, tmp_path):
    (tmp_path / "notes").mkdir()
    for number in range(51):
        (tmp_path / f"notes/{number:02}.md").write_text("Words.")
    talk = begin(cwd=tmp_path, PYTHONPATH=str(ROOT))
    talk.type("/file notes\r", sees="[y/N]")
    talk.type("n\r", sees="The files were not attached.")
    wait_prompt(talk)
    talk.type("/file notes\r")
    talk.wait_until(lambda: talk.text.count("[y/N]") == 2, "the question again")
    talk.type("y\r", sees="Your next prompt begins with 51 files")
    leave(talk)


def test_what_is_copied_is_attached(begin, server, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "xclip").write_text("#!/bin/sh\n[ \"$*\" = '-selection clipboard -o' ] && echo Beans.")
    (tools / "xclip").chmod(0o755)
    talk = begin(DISPLAY=":0", PATH=f"{tools}{os.pathsep}{os.environ['PATH']}")
    talk.type("/paste\r", sees="Your next prompt begins with clipboard.txt (7 B).")
    talk.type("What?\r", sees="Hello there.\nYou:")
    assert "File clipboard.txt:\n```\nBeans.\n```" in prompts(server)[0]
    leave(talk)


def test_a_file_of_the_folder_is_read_without_a_question(begin, server, tmp_path):
    (tmp_path / "notes.md").write_text("Plant beans.\n")
    server.on(CHAT, chat_reply("One."))
    talk = begin(cwd=tmp_path)
    talk.type("/file notes.md\r", sees="Your next prompt begins with notes.md")
    talk.type("What is it?\r", sees="One.\nYou:")
    assert "Plant beans." in prompts(server)[0]
    leave(talk)


def test_pasted_lines_answer_no_question_about_a_tool(begin, server, cli):
    write_tools(cli)
    server.on(CHAT, calling(("python__add", '{"a": 3}')), chat_reply("Refused."))
    talk = begin()
    talk.type("3 and 2?\r", sees="n no:")
    talk.type("y\rand more\r")
    talk.wait_until(lambda: talk.text.count("n no:") == 2, "the question again")
    talk.type("n\r", sees="Refused.\nYou:")
    leave(talk)


def end_by_signal(talk) -> int:
    """Send SIGTERM; again where Python holds one back that comes just before readline begins to wait."""
    for _ in range(4):
        talk.kill(signal.SIGTERM)
        try:
            return talk.wait_exit(2)
        except AssertionError:
            continue
    return talk.wait_exit()


def test_the_terminal_marks_no_pastes_after_the_end(begin):
    talk = begin()
    assert b"\x1b[?2004h" in talk.raw
    assert end_by_signal(talk) == 143
    assert b"\x1b[?2004l" in talk.raw.rpartition(b"\x1b[?2004h")[2]
    assert talk.left_behind() == []


def test_a_sampling_option_is_sent_from_the_next_answer_on_and_after_a_restart(cli, server):
    lines = ("/set", "one", "/set top_p 1", "/set top_p=0.5", "two", "/set", "/set top_p 9")
    done = cli("--plain", stdin="\n".join(lines))
    assert done.stdout.startswith("No sampling option is set, so the server decides.")
    assert "top_p  0.5  session\n" in done.stdout
    assert "top_p is 0.5 from the next answer on (session)." in done.stderr
    assert "top_p must be a number from 0 to 1, not 9." in done.stderr
    assert done.returncode == 2
    assert cli("--plain", "-r", "last", stdin="three\n/set top_p default\nfour").returncode == 0
    values = [request.json.get("top_p") for request in server.seen(CHAT)]
    assert values == [None, 0.5, 0.5, None]


def test_a_session_that_ends_with_a_prompt_has_no_answer_to_continue(cli, server, tmp_path):
    path = tmp_path / "chat.json"
    path.write_text('[{"role": "user", "content": "Hi"}]')
    assert cli("import", str(path)).returncode == 0
    done = cli("--plain", "-r", "last", stdin="/continue")
    assert "The last prompt has no answer.\n/retry asks it again." in done.stderr
    assert done.stdout == ""
    assert server.seen(CHAT) == []


def test_a_question_in_a_session_uses_its_sampling_options(cli, server):
    assert cli("--plain", stdin="/set top_p 0.5\none").returncode == 0
    assert cli("ask", "-r", "last", "two").returncode == 0
    assert cli("ask", "three").returncode == 0
    values = [request.json.get("top_p") for request in server.seen(CHAT)]
    assert values == [0.5, 0.5, None]


def test_an_option_that_was_set_for_another_server_is_left_out_with_a_note(cli, server):
    assert cli("--plain", stdin="one").returncode == 0
    with sqlite3.connect(cli.folder / "sessions.db") as other_server:
        other_server.execute("""update sessions set sampling = '{"xtc_threshold": 0.2}'""")
    done = cli("--plain", "-r", "last", stdin="two\n/set")
    assert done.returncode == 0
    assert "does not support xtc_threshold, as far as lmchat knows. It is not sent." in done.stderr
    assert "xtc_threshold  0.2  session; not sent to" in done.stdout
    assert "xtc_threshold" not in server.seen(CHAT)[-1].json
