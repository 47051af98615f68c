from __future__ import annotations

import asyncio
import json
import re
import signal
import sqlite3
import sys
from contextlib import closing, suppress
from pathlib import Path
from unittest.mock import patch

import pytest

from lmchat.base.errors import StoreUnavailable
from lmchat.core.config.settings import COMPACT_PROMPT
from lmchat.core.storage.store import Store
from tests.support.chats import fill_long
from tests.support.lmchat_screen import PlainChat, configure, prompts_sent, stored, texts
from tests.support.programs import PYTHON, Inside, put_script, write_tools
from tests.support.scripted_products import CHAT, calling, chat_reply, llama_cpp, plain, router
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Hold,
    Pause,
    ScriptedServer,
    delta,
    finish,
    free_port,
    sse,
    usage,
)

pytestmark = pytest.mark.timeout(60)

Cli = Inside
START = "\x1b[200~"
END = "\x1b[201~"
_PRIVATE = "PRIVATE KEY\n"

PIXEL = bytes.fromhex(  # an image in the format PNG
    "89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b5500"
    "00000a49444154789c636000000002000148afa4710000000049454e44ae426082"
)


def press_ctrl_c(talk, sees):
    """Press it; again where Python holds one back that comes just before readline starts to wait.

    Text that readline has not read would be dropped, and readline would wait inside for a key.
    """
    talk.wait_taken()
    talk.type("\x03")
    try:
        talk.wait_for(sees, 2)
    except AssertionError:
        talk.type("\x03", sees=sees)


def end_by_signal(talk):
    """Send it; again where Python holds one back that comes just before readline starts to wait."""
    talk.kill(signal.SIGTERM)
    with suppress(AssertionError):
        talk.wait_exit(5)
    talk.kill(signal.SIGTERM)
    assert talk.wait_exit() == 128 + signal.SIGTERM


@pytest.fixture
def folder(tmp_path):
    """A folder to run lmchat in, with a secret beside it that a link leads to."""
    secret = tmp_path / ".ssh" / "id_rsa"
    secret.parent.mkdir()
    secret.write_text(_PRIVATE)
    work = tmp_path / "work"
    (work / "notes").mkdir(parents=True)
    (work / "link.md").symlink_to(secret)
    return work


# At a terminal


def test_a_number_means_the_list_of_models_that_was_printed(start, server):
    plain(server, "beta", "gamma")
    talk = start("-m", "beta")
    talk.type("/model\r", sees="2. gamma at localhost")
    plain(server, "alpha", "beta", "gamma")
    talk.type("/model 2\r", sees="Model: gamma")
    talk.type("Hello\r", sees="Hello there.\nYou:")
    talk.leave()
    assert server.seen(CHAT)[-1].json["model"] == "gamma"


def test_an_answer_is_stopped_and_continued_and_its_prompt_edited(start, server, cli):
    llama_cpp(server)
    server.on(CHAT, sse(delta(reasoning_content="Hm."), "\x1b[31mBeans.", finish(), DONE))
    talk = start()
    assert b"\x1b[?2004h" in talk.raw
    talk.type("Which grow?\r")
    talk.wait_for("You:\nWhich grow?\ntiny.gguf:\nThinking…\nAnswering…\n␛[31mBeans.\nYou:")
    assert texts(cli.home) == ["Which grow?", "\x1b[31mBeans."]

    talk.type("wrong", sees="wrong")
    press_ctrl_c(talk, "Ctrl+D quits.\nYou:")
    server.on(CHAT, sse("Peas", Hold()), sse(" grow.", finish(), DONE), chat_reply("Four."))
    talk.type("Others?\r", sees="Peas")
    talk.type("\x03", sees="Stopped.\nYou:")
    assert texts(cli.home)[2:] == ["Others?", "Peas"]
    talk.type("/continue\r", sees="grow.\nYou:")
    assert prompts_sent(server)[-1] == "Peas"
    assert texts(cli.home)[3] == "Peas grow."

    talk.type("/edit\r", sees="You:\n/edit Others?")
    talk.type("\x7f please\r", sees="Four.\nYou:")
    assert texts(cli.home)[2:] == ["Others please", "Four."]
    talk.type("/sessions\r", sees="1. “Which grow?”, 7 messages")
    talk.wait_prompt()
    talk.type("/sessions 1\r")
    talk.wait_until(lambda: talk.text.count("\nOthers please\ntiny.gguf:") == 1, "its messages")
    talk.leave()


def test_the_wait_for_an_answer_is_shown_until_its_first_word(start, server):
    gate = Gate()
    server.on(CHAT, sse(gate, "Beans.", finish(), DONE))
    talk = start(argv=("--inline",))
    talk.type("Hi\r", sees="tiny:\nlmchat: waiting …")
    gate.open()
    talk.wait_for("tiny:\nBeans.\nYou:")
    talk.leave()


def test_each_state_is_said_in_words_on_lines_that_are_only_added(start, server, cli):
    """As a screen reader needs it: no movement, no line written twice, no colours, no boxes."""
    router(server, small="loaded", large="unloaded")
    write_tools(cli, config='[ui]\nnotify = "none"\n')
    read = Gate()
    thought = Gate()
    answered = Gate()
    progress = {"total": 100, "cache": 0, "processed": 40, "time_ms": 1}
    server.on(
        CHAT,
        sse(
            *(read, delta() | {"prompt_progress": progress}, thought),
            *(delta(reasoning_content="Hm."), answered, "| a | b |\n|---|---|\n", finish(), DONE),
        ),
        sse("Half", Cut()),
        sse("Whole", Hold()),
        calling(("python__add", '{"a": 3}')),
        chat_reply("Refused."),
    )
    talk = start("-m", "small")
    talk.type("Hi\r")
    talk.wait_for("lmchat: waiting …", 30)  # the tools start first
    read.open()
    talk.wait_for("lmchat: reading prompt 40\N{NO-BREAK SPACE}% …")
    thought.open()
    talk.wait_for("Thinking…")
    answered.open()
    talk.wait_for("Thinking…\nAnswering…\n| a | b |\n|---|---|\nYou:")
    talk.type("/model\r", sees="You:\n/model\n1. ")
    talk.wait_prompt()
    talk.type("/model large\r", sees="Loading model…\nModel: large at llama.cpp")
    talk.wait_prompt()
    talk.type("Go on\r", sees="large:\nHalf\nlmchat: ")
    talk.wait_for("Type /continue for the rest of the answer, or /retry.\nYou:")
    talk.type("Again\r", sees="Whole")
    talk.type("\x03", sees="Stopped.\nYou:")
    talk.type("3 and 2?\r", sees="python/add wants to run:")
    talk.type("n\r", sees="Refused.\nYou:")
    talk.leave()
    printed = re.sub(rb"\x1b\[\?2004[hl]", b"", talk.raw).decode()
    assert "\x1b" not in printed
    assert not re.search("\r(?!\n)|[\x07\x08\u2500-\u259f]", printed)


SOON = """
from lmchat.app.leaves.plain import front
from lmchat.__main__ import main
front._LONG_TURN_S = 0.5
main()
"""


def test_a_long_answer_ends_with_a_bell(cli, server):
    server.on(CHAT, sse(Pause(0.6), "Beans.", finish(), DONE), chat_reply("Peas."))
    argv = [PYTHON, "-c", SOON, "--endpoint", server.url, "--plain"]
    with PlainChat(argv, home=cli.home) as talk:
        talk.wait_prompt()
        talk.type("Hi\r", sees="Beans.\nYou:")
        assert talk.raw.count(b"\a") == 1
        talk.type("Short\r", sees="Peas.\nYou:")
        assert talk.raw.count(b"\a") == 1
        talk.leave()


def test_a_call_of_a_tool_is_asked_about_and_pasted_lines_answer_nothing(start, server, cli):
    write_tools(cli)
    call = calling(("python__add", '{"a": 3}'))
    server.on(CHAT, call, chat_reply("It is 5."), call, chat_reply("Refused."), call)
    talk = start()
    talk.type(
        "3 and 2?\r", sees='    {"a": 3}\npython/add? y once, s this session, a always, n no:'
    )
    talk.type("y\r", sees="It is 5.\nYou:")
    assert "lmchat: python/add(3)\ntiny:\nIt is 5." in talk.text
    talk.type("Again?\r")
    talk.wait_until(lambda: talk.text.count("n no:") == 2, "the next question")
    talk.type("y\rand more\r")
    talk.wait_until(lambda: talk.text.count("n no:") == 3, "the question again")
    assert "lmchat: Not taken, as it was typed before the question: and more\n" in talk.text
    talk.type(f"{START}Which?\r")  # a paste that stalls
    talk.wait_quiet(0.2)
    talk.type("y\r")
    talk.type(f"{END}\r")
    talk.wait_until(lambda: talk.text.count("n no:") == 4, "the question again")
    talk.type("n\r", sees="Refused.\nYou:")
    server.on(CHAT, call, chat_reply("Bye."))
    talk.type("And now?\r")
    talk.wait_until(lambda: talk.text.count("n no:") == 5, "the last question")
    talk.type("\x03", sees="Stopped.\nYou:")  # it takes no line of those that follow
    talk.type("Leave it\r", sees="Bye.\nYou:")
    talk.leave()


def test_a_paste_is_one_prompt_and_no_command_of_it_runs(start, server, folder):
    gate = Gate()
    server.on(CHAT, chat_reply("One."), sse("Two", gate, ".", finish(), DONE), chat_reply("Three."))
    pasted = f"/file {folder}/link.md\rWhat is it?\r!touch {folder}/RAN\r/quit"
    kept = pasted.replace("\r", "\n")
    talk = start()
    talk.type(f"{START}{pasted}{END}", sees="/quit")
    talk.type(" yet\r", sees="One.\nYou:")
    talk.type("Next\r", sees="Two")
    talk.type(f"{START}{pasted}{END}", sees="/quit")  # while an answer comes
    gate.open()
    talk.wait_for(f"You:\n{kept}")
    talk.type("\r", sees="Three.\nYou:")
    assert prompts_sent(server) == [f"{kept} yet", "Next", kept]
    talk.leave()
    assert not (folder / "RAN").exists()


def test_a_paste_without_its_end_mark_is_text_and_sent_by_enter_alone(start, server, folder):
    gate = Gate()
    server.on(
        CHAT, chat_reply("One."), sse("Two\n\n", gate, "End.", finish(), DONE), chat_reply("Three.")
    )
    talk = start(cwd=folder)
    talk.type(f"Look: {START}one\ttwo\r", sees="two")
    talk.type("\r!touch RAN\r", sees="RAN")
    talk.wait_quiet(0.2)
    talk.type("more", sees="more")
    talk.type("\r", sees="One.\nYou:")
    talk.type(f"{START}four")
    press_ctrl_c(talk, "Ctrl+D quits.\nYou:")
    talk.type("Next\r", sees="Two")
    talk.type(f"{START}five\rsix\r")  # while an answer comes
    gate.open()
    talk.wait_for("You:\nfive\nsix")
    talk.type(f"!?{END}\r", sees="Three.\nYou:")
    assert prompts_sent(server) == ["Look: one\ttwo\n\n!touch RAN\nmore", "Next", "five\nsix\n!?"]

    talk.type(f"{START}!touch ./RAN", sees="./RAN")
    talk.type("\r")
    talk.wait_quiet(2.5)
    ran = folder / "RAN"
    assert not ran.exists()
    talk.type("\r", sees="Running.")
    talk.leave()
    assert ran.exists()


def test_a_signal_in_a_paste_without_its_end_mark_ends_lmchat(start):
    talk = start()
    talk.type(f"wait{START}for", sees="wait")
    end_by_signal(talk)
    assert talk.left_behind() == []


def test_lines_typed_during_an_answer_are_prompts_and_commands_of_their_own(start, server):
    gate = Gate()
    server.on(CHAT, sse("One", gate, ".", finish(), DONE), chat_reply("Two."))
    talk = start()
    talk.type("Next\r", sees="One")
    talk.type("And more?\r/system Be brief.\r/quit\r", sees="/quit")
    gate.open()
    assert talk.wait_exit() == 0
    assert prompts_sent(server) == ["Next", "And more?"]


def test_what_is_typed_before_the_chat_is_ready_is_its_first_line_and_runs_by_enter_alone(
    start, server
):
    server.on(CHAT, chat_reply("One."))
    talk = start(sees="")
    talk.type("/quit\rWhich grow")
    talk.wait_for("You:\n/quit\nWhich grow")
    talk.type(" here?\r", sees="One.\nYou:")
    talk.leave()
    assert prompts_sent(server) == ["/quit\nWhich grow here?"]


def test_ctrl_d_quits_that_is_typed_before_the_first_line_or_during_an_answer(start, server):
    talk = start(sees="")
    talk.type("\x04")
    assert talk.wait_exit() == 0
    for typed, sent in (("\x04", ["Next"]), ("Bye\x04\r\x04", ["Next", "Bye"])):
        gate = Gate()
        server.requests.clear()
        server.on(CHAT, sse("One", gate, ".", finish(), DONE), chat_reply("Two."))
        talk = start()
        talk.type("Next\r", sees="One")
        talk.type(typed)
        gate.open()
        assert talk.wait_exit() == 0
        assert prompts_sent(server) == sent


def test_lines_that_come_at_once_from_a_terminal_without_marks_are_one_prompt(
    start, server, folder
):
    server.on(CHAT, chat_reply("One."))
    talk = start(argv=(), TERM="dumb")
    talk.type(f"/file {folder}/link.md\rWhat is it?\r/new\r", sees="One.\nYou:")
    assert prompts_sent(server) == [f"/file {folder}/link.md\nWhat is it?\n/new"]
    talk.leave()
    assert b"\x1b" not in talk.raw


def test_a_line_of_which_the_terminal_has_dropped_the_end_is_not_sent(start, server):
    server.on(CHAT, chat_reply("One."))
    long = "bean " * 999 + "bean"
    said = "its end is missing"
    talk = start(TERM="dumb")
    talk.type(f"{long}\r", sees=said)
    talk.wait_prompt()
    talk.type("Short\r", sees="One.")
    talk.leave()
    assert prompts_sent(server) == ["Short"]

    gate = Gate()
    server.on(CHAT, sse("One", gate, ".", finish(), DONE), chat_reply("Two."))
    talk = start()  # with readline, which reads a line of any length
    talk.type("Next\r", sees="One")
    talk.type(f"{long}\r")  # while an answer comes
    gate.open()
    talk.wait_for(said)
    talk.wait_prompt()  # until readline reads, the terminal keeps only the first 4096 bytes
    talk.type(f"{long}\r", sees="Two.")
    talk.leave()
    assert prompts_sent(server) == ["Short", "Next", long]


def test_files_of_a_prompt_are_named_by_commands_and_an_at_sign(start, server, folder, tmp_path):
    for number in range(13):
        (folder / f"notes/{number:02}.md").write_text(f"Note {number}.")
    talk = start(cwd=folder, size=(120, 24))
    unseen = tmp_path / "un\u2800 \u2800seen.md"
    unseen.write_text("Peas.")
    talk.type(f"/file {unseen}\r", sees="/un␣seen.md\nAttach from outside")
    talk.type("n\r", sees="The file was not attached.")
    talk.wait_prompt()
    talk.type("/file notes/0*.md\r", sees="Your next prompt begins with 10 files")
    talk.type("/file link.md\r")
    # the path may fill the row, so that the row ends anywhere in the question
    talk.wait_until(
        lambda: "".join(talk.text.split()).endswith("Attachfromoutsidethisfolder?[y/N]"),
        "the question",
    )
    talk.type("y\r", sees="Your next prompt begins with link.md")
    talk.type("What?\r", sees="Hello there.\nYou:")
    (prompt,) = prompts_sent(server)
    for name in ("notes/00.md:\n```\nNote 0.\n```", "link.md"):
        assert f"File {name}" in prompt
    assert prompt.count(_PRIVATE) == 1
    assert "File notes/10.md" not in prompt
    for key, has_file in (("n", False), ("y", True)):
        talk.type('Sum up "@notes/11.md" and @notes/12.md.\r')
        question = "Attach notes/12.md? [y/N]"
        talk.wait_until(lambda: talk.text.rstrip().endswith(question), "the question")  # noqa: B023
        sent = len(prompts_sent(server))
        talk.type(f"{key}\r")
        talk.wait_until(lambda: len(prompts_sent(server)) > sent, "the prompt is sent")  # noqa: B023
        talk.wait_prompt()
        prompt = prompts_sent(server)[-1]
        assert ("\nNote 12.\n" in prompt, prompt.endswith("@notes/12.md.")) == (has_file, True)
    talk.leave()


def test_a_prompt_looks_for_a_server_again_and_a_signal_saves_what_has_come(start, cli):
    with free_port() as port:
        cli.url = f"http://127.0.0.1:{port}"
        talk = start(sees="You:")
        assert "/help lists the commands.\nlmchat: Nothing answers at " in talk.text
    with plain(ScriptedServer(port=port), "tiny") as server:
        server.on(CHAT, sse("Beans", Hold()))
        talk.type("Hi\r", sees="Beans")
        talk.hang_up()
        assert talk.wait_exit() == 128 + signal.SIGHUP
    assert not (cli.home / "lmchat.log").exists()  # it is no unexpected error
    assert texts(cli.home) == ["Hi", "Beans"]


def test_a_signal_at_the_prompt_gives_the_terminal_back(start):
    talk = start()
    end_by_signal(talk)
    assert b"\x1b[?2004l" in talk.raw.rpartition(b"\x1b[?2004h")[2]
    assert talk.left_behind() == []


def test_up_brings_back_no_command_of_a_shell(start, cli):
    prompts = [{"role": "user", "content": text} for text in ("Peas?", "!touch x", "\n!touch y\n")]
    assert cli("import", "-", stdin=json.dumps(prompts)).returncode == 0
    talk = start()
    talk.type("\x1b[A", sees="Peas?")
    press_ctrl_c(talk, "Ctrl+D quits.")
    talk.leave()


# Through a pipe


def test_a_prompt_whose_saving_takes_long_is_in_no_draft_once_it_is_a_message(cli, server):
    append = Store.append
    save_draft = Store.save_draft
    for words, stdin in ((["ask", "--save", "A prompt"], ""), (["--plain"], "A prompt")):
        has_draft = asyncio.Event()

        async def append_late(*args, has_draft=has_draft):
            await has_draft.wait()  # which has the prompt, in case lmchat is killed
            await append(*args)

        async def save_and_tell(*args, has_draft=has_draft):
            await save_draft(*args)
            has_draft.set()

        server.on(CHAT, chat_reply("One."))
        with patch.multiple(Store, append=append_late, save_draft=save_and_tell):
            assert cli(*words, stdin=stdin).stdout == "One.\n"
        with closing(sqlite3.connect(cli.folder / "sessions.db")) as saved:
            assert saved.execute("select text from drafts").fetchall() == []


def test_lines_of_a_pipe_may_be_of_an_old_encoding_and_have_a_mark(cli, server):
    cli("--plain", stdin=b"\xef\xbb\xbfcaf\xe9\r\n/system Short, \xe4h.\r\ntwo\r\n")
    asked = [[one["content"] for one in seen.json["messages"]] for seen in server.seen(CHAT)]
    assert asked[0] == ["café"]
    assert (asked[-1][0], asked[-1][-1]) == ("Short, äh.", "two")
    assert cli("--plain", stdin=b"\xef\xbb\xbf/theme\r\n").returncode == 2


def test_a_pipe_may_be_utf_16_and_what_is_no_text_ends_it_unsent(cli, server):
    damaged = "\r\n".encode("utf-16-le").join((b"\0\xd8", b"h"))  # half a pair, half a letter
    cli("--plain", stdin="one\r\nzwölf\r\n".encode("utf-16") + b"d\0" + damaged)
    asked = [contents(seen)[-1] for seen in server.seen(CHAT)]
    assert asked == ["one", "zwölf", "d\ufffd", "\ufffd"]
    cli("--plain", stdin=b"")
    for stdin, reason in (
        (Path(sys.executable).read_bytes()[:5_000], "neither text nor"),
        ("one\ntwo\n".encode("utf-16-le"), "neither text nor"),
        ("今天天气很好。\n".encode("gbk"), "unknown encoding"),
    ):
        done = cli("--plain", stdin=stdin)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 2)
        assert reason in done.stderr
    assert len(server.seen(CHAT)) == len(asked)


def test_the_exit_code_of_a_pipe_is_that_of_its_first_failure(cli, server):
    server.on(CHAT, sse("Half", Cut()), chat_reply("Two."))
    done = cli("--plain", stdin="a\n/theme\nb\n")
    assert (done.returncode, done.stdout) == (1, "Half\nTwo.\n")
    assert "Type /continue for the rest of the answer" in done.stderr
    assert cli("ask", "--plain", "Hi").returncode == 2
    assert len([*cli.folder.glob("sessions.db.backup-*")]) == 1


def contents(request) -> list[str]:
    return [message["content"] for message in request.json["messages"]]


def test_an_answer_is_asked_for_again_also_in_the_session_that_a_number_of_the_list_opens(
    cli, server
):
    server.on(CHAT, *map(chat_reply, ("One.", "Two.", "Three.", "Four.", "Five.")))
    lines = ("/retry", "a", "/retry", "b", "/clear", "c", "/sessions", "/sessions 2", "/retry")
    done = cli("--plain", stdin="\n".join(lines))
    assert done.returncode == 2, "at first there was nothing to ask for again"
    *answers, first, second, last = done.stdout.splitlines()
    assert [*answers, last] == ["One.", "Two.", "Three.", "Four.", "Five."]
    assert (first[:6], second[:6]) == ("1. “c”", "2. “a”")
    assert [contents(request) for request in server.seen(CHAT)] == [
        *(["a"], ["a"], ["a", "Two.", "b"], ["c"], ["a", "Two.", "b"])
    ]
    messages = stored(cli.home).messages
    assert [message.text for message in messages] == ["a", "Two.", "b", "Five."]
    assert [messages[place].versions for place in (1, 3)] == [2, 2]


def test_compact_prints_a_summary_and_goes_on_with_it(server, cli):
    counted = sse("C.", finish(), usage(40), DONE)
    replies = [chat_reply(text) for text in ("A.", "B.", "They spoke.", "D.")]
    server.on(CHAT, *replies[:2], counted, *replies[2:])
    done = cli("--plain", stdin="a\nb\nc\n/compact\nd\n")
    assert (done.returncode, done.stdout) == (0, "A.\nB.\nC.\nThey spoke.\nD.\n")
    assert "/tree on the screen lists their branch." in done.stderr
    assert prompts_sent(server)[3] == texts(cli.home)[0] == COMPACT_PROMPT
    assert texts(cli.home)[1:] == ["They spoke.", "b", "B.", "c", "C.", "d", "D."]


def save_long_session(cli) -> None:
    async def fill() -> None:
        store = Store(cli.home / "lmchat" / "sessions.db")
        await fill_long(store, 300)  # the newest 64 alone take a third of a window of 2048
        await store.aclose()

    asyncio.run(fill())


def test_all_of_a_long_session_counts_for_its_summary_before_the_first_prompt(server, cli):
    configure(cli.home, "[chat]\nauto_compact = true\n")
    save_long_session(cli)
    llama_cpp(server, n_ctx=2048)
    done = cli("--plain", "-r", "last", stdin="And now?\n")
    assert done.returncode == 0
    assert prompts_sent(server) == [COMPACT_PROMPT, "And now?"]


def test_the_same_system_prompt_is_set_once_in_a_session_that_goes_on(server, cli):
    cli("ask", "--save", "one")
    for words in (("--plain",), ("ask", "two"), ("ask", "three")):
        assert cli(*words, "-r", "last", "--system", "Be brief.", stdin="more").returncode == 0
        first, *_ = server.seen(CHAT)[-1].json["messages"]
        assert first == {"role": "system", "content": "Be brief."}
    assert cli("sessions", "show", "last").stdout.count("Be brief.") == 1


def test_the_files_of_a_refused_prompt_go_with_the_next_one_but_no_image_that_was_refused(
    server, cli, tmp_path
):
    (tmp_path / "soil.txt").write_text("Sand.")
    (tmp_path / "cat.png").write_bytes(PIXEL)
    configure(cli.home, "[chat]\nauto_truncate = false\n")
    llama_cpp(server, n_ctx=2048)
    server.on(CHAT, chat_reply("D."))
    too_long = "word " * 4000
    for first, refusal in (
        (too_long, "context window has 2048"),
        ("/edit " + too_long, "has 2048"),
    ):
        server.requests.clear()
        lines = ("Hello", f"/file {tmp_path / 'soil.txt'}", first, "And now?", "Then?")
        done = cli("--plain", stdin="\n".join(lines))
        assert refusal in done.stderr
        assert done.stderr.count("Your next prompt begins with soil.txt (5 B).") == 2
        _, second, third = prompts_sent(server)
        assert "Sand." in second
        assert "And now?" in second
        assert third == "Then?"

    server.requests.clear()
    lines = (f"/file {tmp_path / 'soil.txt'}", f"/file {tmp_path / 'cat.png'}", "Who?", "And now?")
    done = cli("--plain", stdin="\n".join(lines))
    assert "cannot see images" in done.stderr
    (sent,) = prompts_sent(server)
    assert "Sand." in sent


def test_help_lists_the_commands_that_have_a_place_in_plain_text(cli):
    done = cli("--plain", stdin="/help")
    assert 'several lines begins and ends with """.' in done.stderr
    assert ("/compact" in done.stdout, "/theme" in done.stdout) == (True, False)
    assert "!COMMAND" not in done.stderr  # on a pipe, no command runs
    done = cli(stdin="/theme", TERM="dumb")
    assert "Start lmchat without TERM=dumb, or see" in done.stderr


def test_on_a_pipe_no_prompt_is_sent_without_the_file_that_was_named_for_it(cli, server, tmp_path):
    soil = tmp_path / "soil.txt"
    gone = tmp_path / "gone.txt"
    soil.write_text("Sand.")
    lines = (f"/file {soil}", f"/file {gone}", "compare them", "and now?", "/paste", "of it?")
    done = cli("--plain", stdin="\n".join(lines), PATH=str(tmp_path))
    assert prompts_sent(server) == ["and now?"]
    assert f"{gone} does not exist." in done.stderr
    assert done.stderr.count("A prompt was not sent, as the file before it could not be") == 2
    assert done.returncode != 0
    put_script(tmp_path / "xclip", "[ \"$*\" = '-selection clipboard -o' ] && echo Beans.")
    cli("--plain", stdin="/paste\nWhat?", PATH=str(tmp_path), DISPLAY=":0")
    assert "File clipboard.txt:\n```\nBeans.\n```" in prompts_sent(server)[-1]
    with_name = f"What is in @{soil}?"
    for done in (cli("--plain", stdin=with_name), cli("ask", with_name)):
        assert (done.returncode, f"{soil} is only named; " in done.stderr) == (0, True)
        assert prompts_sent(server)[-1] == with_name
    assert "soil.txt is only named" not in cli("ask", "-f", str(soil), with_name).stderr
    assert "soil.txt is only named" not in cli("ask", "Sum up", stdin=with_name).stderr


def test_an_answer_begins_with_a_text_that_the_user_gives_and_can_take_back(cli, server):
    llama_cpp(server)
    lines = ("/start Ferns", "one", "/start Moss", "/start", "two", "/start")
    done = cli("--plain", stdin="\n".join(lines))
    assert [prompt or "" for prompt in prompts_sent(server)] == ["Ferns", "two"]
    assert texts(cli.home)[1].startswith("Ferns")
    assert "Begin the next answer with which text?" in done.stderr
    assert done.returncode == 2


def test_what_cannot_be_saved_is_in_a_file_that_is_named_and_can_be_imported(cli, monkeypatch):
    has_waited: list[bool] = []

    async def full(store, *_, **__):
        has_waited.append(store.database.is_patient)
        raise StoreUnavailable("The disk is full.", next_step="Free some room.")

    with monkeypatch.context() as patched:
        for method in ("append", "start_answer", "end_answer"):
            patched.setattr(Store, method, full)
        done = cli("--plain", stdin="one", LMCHAT_HOME=str(cli.home / "my chats"))
    (file,) = (cli.home / "my chats").glob("unsaved-*.json")
    assert f"saved. lmchat import '{file}' adds it." in done.stderr
    assert (has_waited[0], has_waited[-1]) == (True, False), (
        "the last try waits for no other program"
    )
    assert "is imported, 2 messages" in cli("import", str(file)).stdout
