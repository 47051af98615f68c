"""How `lmchat ask` and the plain chat on a pipe end: exit code, sentence on stderr, what is saved."""

from __future__ import annotations

import sys
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM
from subprocess import PIPE
from typing import NamedTuple

import pytest

from lmchat.core.sessions.message import AnswerState
from tests.support.lmchat_screen import configure, stored, stored_titles
from tests.support.programs import LMCHAT, WAIT_S, Inside, start
from tests.support.scripted_products import CHAT, chat_reply, llama_cpp
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Hold,
    Reply,
    error_reply,
    finish,
    sse,
    usage,
)

pytestmark = pytest.mark.timeout(60)


class End(NamedTuple):
    """One way to end. The first prompt is also that of `ask`; each other line is the plain chat's."""

    what: str
    code: int
    says: str  # on stderr; if empty, nothing is there
    saved: list[str]
    goes_on: bool = False  # whether the plain chat then sends "And?" and saves that, too
    fronts: tuple[str, ...] = ("ask", "plain")
    lines: tuple[str, ...] = ("Hi", "And?")
    replies: tuple[Reply, ...] = ()  # if none, half an answer that does not end
    words: tuple[str, ...] = ()  # more of the command line
    number: int = 0  # a signal, sent after the first words, or at the request if there is a reply
    stdout: str = ""  # full or closed; else it is read


ONE = chat_reply("One.")
TWO = chat_reply("Two.")
NOBODY = "http://127.0.0.1:1"
TOO_LONG = "word " * 4000
DOES_NOT_FIT = (
    " tokens, plus 512 for the answer; the context window has 2048.\nStart a new session, "
)
BROKE = "lmchat: Streaming failed: the connection broke before the answer was complete.\n"
HALF = sse("Half an", Cut(is_reset=True))
NO_FILE = "lmchat: /gone.txt does not exist.\nCheck the path.\n"
FULL_DISK = "lmchat: The output cannot be written: No space left on device.\n"
PLAIN = ("plain",)
ASK = ("ask",)
REFUSED_AT_ONCE = (
    End("unknown option", 2, " does not take --nonsense.\n", [], words=("--nonsense",)),
    End("wrong value", 2, "lmchat: --effort: must be none, ", [], words=("--effort", "lots")),
    End("no session", 2, "lmchat: No session id begins with 123456.\n", [], words=("-r123456",)),
    End("no server", 3, "Nothing answers at localhost:1.\n", [], words=("--endpoint", NOBODY)),
    End("full window", 2, DOES_NOT_FIT, [], True, lines=(TOO_LONG, "And?"), replies=(TWO,)),
    End("no file", 1, NO_FILE, [], fronts=ASK, words=("-f/gone.txt",)),
    End(
        "no file",
        1,
        NO_FILE,
        [],
        goes_on=True,
        fronts=PLAIN,
        lines=("/file /gone.txt", "Hi", "And?"),
        replies=(TWO,),
    ),
    End(
        "unknown command",
        2,
        "lmchat: Unknown command: /modle; did you mean /model?\n",
        [],
        goes_on=True,
        fronts=PLAIN,
        lines=("/modle x", "And?"),
        replies=(TWO,),
    ),
)
REFUSED_LATER = (
    End(
        "full window after an answer",
        2,
        DOES_NOT_FIT,
        ["Hi", "One."],
        goes_on=True,
        fronts=PLAIN,
        lines=("Hi", TOO_LONG, "And?"),
        replies=(ONE, TWO),
    ),
)
FAILED = (
    End(
        "server error",
        1,
        "lmchat: llama.cpp says: boom\nCheck the server's log, then try again.\n",
        ["Hi", "failed: server_error: "],
        goes_on=True,
        replies=(error_reply(500, "boom"), TWO),
    ),
    End(
        "reset before the text",
        1,
        BROKE,
        ["Hi", "failed: interrupted: "],
        goes_on=True,
        replies=(sse(Cut(is_reset=True)), TWO),
    ),
)
BROKEN_OFF = (
    End(
        "reset in the text",
        1,
        BROKE,
        ["Hi", "interrupted: interrupted: Half an"],
        goes_on=True,
        replies=(HALF, TWO),
    ),
)
STOPPED = tuple(
    End(
        f"{number.name} {where} the text",
        128 + number,
        "" if front == PLAIN and number != SIGINT else "lmchat: Interrupted.\n",
        ["Hi", f"stopped: {text}"],
        fronts=front,
        replies=replies,
        number=number,
    )
    for number in (SIGINT, SIGTERM, SIGHUP)
    for where, text, replies in (("in", "Half an", ()), ("before", "", (sse(Hold()),)))
    for front in (ASK, PLAIN)
)
NOT_PRINTED = (
    End("full, nothing to say", 0, "", [], fronts=PLAIN, lines=(), stdout="full"),
    End("closed", 0, "", ["Hi", "stopped: Half an"], stdout="closed"),
    End("full", 1, FULL_DISK, ["Hi", "stopped: One."], fronts=ASK, replies=(ONE,), stdout="full"),
    End(
        "full",
        1,
        FULL_DISK,
        ["Hi", "stopped: One.", "And?", "stopped: Two."],
        fronts=PLAIN,
        replies=(ONE, TWO),
        stdout="full",
    ),
)
UNUSABLE_SUMMARY = (
    End(
        "broken summary",
        1,
        f"{BROKE}Nothing has changed; /compact tries again.\n",
        ["Hi", "One.", "b", "Two.", "c", "Three."],
        goes_on=True,
        fronts=PLAIN,
        lines=("Hi", "b", "c", "/compact", "And?"),
        replies=(ONE, TWO, sse("Three.", finish(), usage(40), DONE), HALF, TWO),
    ),
)
ENDS = (
    *(*REFUSED_AT_ONCE, *REFUSED_LATER, *FAILED, *BROKEN_OFF),
    *(*STOPPED, *NOT_PRINTED, *UNUSABLE_SUMMARY),
)


def saved_in(home) -> list[str]:
    """Return the texts of the session, behind state and kind of failure where one is not whole."""
    if not stored_titles(home):
        return []
    return [
        message.text
        if message.state is AnswerState.COMPLETE
        else f"{message.state}: {message.failure.kind + ': ' if message.failure else ''}{message.text}"
        for message in stored(home).messages
    ]


@pytest.mark.parametrize(
    ("front", "end"),
    [pytest.param(front, end, id=f"{front}-{end.what}") for end in ENDS for front in end.fronts],
)
def test_each_end_has_its_exit_code_and_its_sentence_and_keeps_what_had_come(
    front, end, tmp_path, server
):
    gate = Gate()
    llama_cpp(server, n_ctx=2048)
    server.on(CHAT, *(end.replies or [sse("Half an", gate, *[" more"] * 50, Hold())]))
    configure(tmp_path, "[chat]\nauto_truncate = false\n")
    command = ("ask", "--save", end.lines[0]) if front == "ask" else ("--plain",)
    words = ("--endpoint", server.url, *command, *end.words)
    lines = "" if front == "ask" else "\n".join(end.lines)
    if not (end.number or end.stdout):  # no other process has a part in it
        done = Inside(tmp_path)(*words, stdin=lines)
        code = done.returncode
        said = done.stderr
    else:
        code, said = ended(end, words, lines, tmp_path, server, gate)
    assert code == end.code, said
    assert end.says in said if end.says else said == ""
    assert all(request.over.wait(WAIT_S) for request in server.seen(CHAT))
    saved = saved_in(tmp_path)
    if end.stdout == "closed":  # the system says how much a closed pipe takes
        saved[-1] = saved[-1].partition(" more")[0]
    assert saved == end.saved + (["And?", "Two."] if front == "plain" and end.goes_on else [])


def ended(end, words, lines, home, server, gate):
    """Return the code and the words of a program that is sent a signal, or whose stdout is lost."""
    with (
        Path("/dev/full").open("wb") as full,
        start(
            (*LMCHAT, *words), home=home, stdin=PIPE, stdout=full if end.stdout == "full" else PIPE
        ) as run,
    ):
        run.stdin.write(lines.encode())
        run.stdin.close()
        run.stdin = None  # else `communicate` would close it again
        if end.number and end.replies:
            server.wait_for(CHAT, timeout_s=WAIT_S)
        elif end.number or end.stdout == "closed":
            assert run.stdout.read(7) == b"Half an"
        if end.stdout == "closed":
            run.stdout.close()
            run.stdout = None
            gate.open()
        if end.number:
            run.send_signal(end.number)
        said = run.communicate(timeout=WAIT_S)[1].decode()
    return run.returncode, said


IMPORTS = (sys.executable, "-X", "importtime", "-m", "lmchat")  # each import is a line on stderr


@pytest.mark.slow
@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_at_any_moment_of_the_start_ends_it_without_a_traceback(tmp_path, server, times):
    llama_cpp(server)
    server.on(CHAT, sse(Hold()))
    argv = [*IMPORTS, "ask", "--endpoint", server.url, "Hi"]
    for imports in (1, 10, 80, 160, 250, 350, None):
        server.requests.clear()
        with start(argv, home=tmp_path) as run:
            for line in run.stderr:
                if b"lmchat.base.processes.signals" in line:  # before, Python itself starts
                    break
            if imports is None:
                server.wait_for(CHAT, timeout_s=WAIT_S)
            for _ in range(imports or 0):
                run.stderr.readline()
            for _ in range(times):
                run.send_signal(SIGINT)
            said = run.communicate(timeout=WAIT_S)[1].decode()
        assert run.returncode in {-SIGINT, 128 + SIGINT}, said
        assert "Traceback" not in said
        assert "KeyboardInterrupt" not in said
