"""`lmchat --inline`: formatted answers that become ordinary text of the terminal."""

from __future__ import annotations

import re
from base64 import b64decode

import pyte
import pytest

from tests.support.markdown_answers import markdown_answer, markers_of, pieces
from tests.support.programs import Inside
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import DONE, Gate, Pause, delta, finish, sse

pytestmark = pytest.mark.timeout(60)

Cli = Inside
_COLOUR = re.compile(rb"\x1b\[[0-9;]*m")


def in_pieces(number, *, pause_s=0.0):
    steps = []
    for piece in pieces(markdown_answer(number), number):
        steps += [delta(piece), Pause(pause_s)] if pause_s else [delta(piece)]
    return sse(*steps, finish(), DONE)


def scrollback(raw):
    """Return all lines that were printed, in a terminal so wide that it wraps none of them."""
    screen = pyte.HistoryScreen(10_000, 24, history=100_000, ratio=0.001)
    pyte.ByteStream(screen).feed(re.sub(rb"\x1b\[\?20\d\d[hl]", b"", raw))
    rows = [*screen.history.top, *(screen.buffer[y] for y in range(24))]
    return ["".join(row[x].data for x in range(max(row, default=-1) + 1)).rstrip() for row in rows]


def assert_each_once(text, count):
    found = re.findall(
        r"\b(?:Heading|word|item|row|quote|end)\d+(?:-\d+)?\b|function_\d+_\d+", text
    )
    wanted = [marker for number in range(1, count + 1) for marker in markers_of(number)]
    assert found == wanted


@pytest.fixture
def talk_in(start):
    """Start the chat on a terminal of some size."""
    return lambda *words, **given: start(*words, argv=("--inline",), sees="You:", **given)


def answered(talk, prompt, end):
    talk.type(f"{prompt}\r", sees=re.compile(rf"{end}[^\n]*\n(?:[^\n]*\n)*You:\s*$"))


def test_each_line_of_many_answers_is_in_the_scrollback_once_and_in_order(talk_in, server):
    server.on(CHAT, *(in_pieces(number, pause_s=0.0005) for number in range(1, 5)))
    talk = talk_in(size=(40, 12))
    for number in range(1, 5):
        answered(talk, "go on", f"end{number}: x²")
    lines = scrollback(talk.raw)
    assert_each_once("\n".join(lines), 4)
    assert sum("name" in line and "value" in line for line in lines) == 4
    assert sum(line == "python" for line in lines) == 4
    talk.leave()


STARTED_PARAGRAPH = "**Broad** beans " + " ".join(f"word{index}" for index in range(60))


def test_a_paragraph_that_takes_long_shows_the_stage_until_it_is_printed(talk_in, server):
    gate = Gate()
    server.on(CHAT, sse("# Two\n", STARTED_PARAGRAPH, gate, " end.", finish(), DONE))
    talk = talk_in(size=(20, 12))
    talk.type("Go\r", sees="lmchat: answering …")
    shown = [row.rstrip() for row in talk.screen() if row.strip()]
    assert shown[-2] == "Two"
    assert "lmchat: answering" in shown[-1]
    assert "Broad" not in talk.text
    gate.open()
    talk.wait_prompt()
    lines = [row for row in talk.screen() if row.strip()]
    assert not any("lmchat:" in row for row in lines)
    printed = scrollback(talk.raw[talk.raw.rindex(b"Two") :])
    assert f"{STARTED_PARAGRAPH.replace('*', '')} end." in printed
    talk.leave()


STARTED_BLOCKS = {
    "One *two\nthree* four": "One two\nthree four",
    "```\npeas\nand bea": "code\npeas\nand bea",
    "- a\n- **b": "• a\n• **b",
}


def test_ctrl_c_within_a_block_prints_what_has_come_of_it(talk_in, server):
    server.on(CHAT, *(sse(f"So.\n\n{started}", Gate()) for started in STARTED_BLOCKS))
    talk = talk_in()
    for number, shown in enumerate(STARTED_BLOCKS.values()):
        talk.type(f"Go {number}\r", sees=re.compile(rf"Go {number}\n[^\n]*\nSo\."))
        talk.type("\x03")
        talk.wait_for(f"So.\n\n{shown}\nStopped.\nYou:")
    talk.leave()


def test_a_thought_behind_words_overwrites_none_of_them(talk_in, server):
    gate = Gate()
    server.on(
        CHAT,
        sse(delta("One.\n\nTwo"), delta(reasoning_content="Hm."), gate, " ends.", finish(), DONE),
    )
    talk = talk_in()
    talk.type("Go\r", sees="One.\nThinking…\nlmchat: thinking …")
    gate.open()
    talk.wait_prompt()
    assert "tiny:\nOne.\nThinking…\nAnswering…\n\nTwo ends.\nYou:" in talk.text
    talk.leave()


def test_ctrl_c_ends_a_flood_and_prints_all_that_has_arrived(talk_in, server):
    gate = Gate()
    lines = [f"flood{number}\n" for number in range(20_000)]
    pieces_of_flood = [delta("".join(lines[at : at + 500])) for at in range(0, 20_000, 500)]
    server.on(CHAT, sse(*pieces_of_flood, gate), chat_reply("Yes."))
    talk = talk_in()
    talk.type("Go\r", sees="flood")
    assert gate.reached.wait(10)
    talk.type("\x03", sees="Stopped.\nYou:")
    printed = dict.fromkeys(re.findall(r"flood\d+", talk.raw.decode()))
    talk.type("More\r", sees="Yes.\nYou:")
    kept = server.seen(CHAT)[-1].json["messages"][-2]["content"]
    assert list(printed) == kept.split()
    talk.leave()


def test_an_answer_and_its_code_are_copied_by_the_terminal(talk_in, server):
    first, second = "peas = 1\nprint(peas)", "beans\t= 2"
    text = f"Two:\n\n```python\n{first}\n```\n\n- So:\n\n  ```\n  {second}\n  ```"
    server.on(CHAT, chat_reply(text))
    talk = talk_in(SSH_TTY="/dev/pts/1")  # programs would copy to the clipboard of this machine
    talk.type("/copy\r", sees="This session is empty.")
    talk.wait_prompt()
    answered(talk, "Which?", "beans")
    for command, sees in (
        ("/copy", "Copied."),
        ("/copy code", "Copied: block 1 of 2."),
        ("/copy code", "Copied: block 2 of 2."),
    ):
        talk.type(f"{command}\r", sees=sees)
        talk.wait_prompt()
    copied = re.findall(rb"\x1b\]52;c;([^\a]*)\a", talk.raw)
    assert [b64decode(data).decode() for data in copied] == [text, first, second]
    talk.leave()


def test_a_session_that_is_continued_is_formatted_and_without_colours_where_none_are_wanted(
    talk_in, server, cli
):
    server.on(CHAT, chat_reply("# Beans\n\n**Broad** ones."), in_pieces(1))
    assert cli("--plain", stdin="Which?").returncode == 0
    talk = talk_in("-r", "last", NO_COLOR="1")
    talk.wait_for("Beans\n\nBroad ones.\n")
    answered(talk, "go on", "end1: x²")
    shown = set(_COLOUR.findall(talk.raw))
    assert b"\x1b[1m" in shown
    codes = {int(code) for one in shown for code in one[2:-1].split(b";") if code}
    assert codes <= {0, 1, 2, 3, 4, 9}


def test_a_dumb_terminal_and_a_pipe_get_the_plain_chat(talk_in, server, cli):
    server.on(CHAT, chat_reply("**Beans.**"))
    talk = talk_in(TERM="dumb")
    talk.type("Go\r", sees="**Beans.**\nYou:")
    assert b"\x1b" not in talk.raw
    printed = [cli(option, stdin="Go").stdout for option in ("--inline", "--plain")]
    assert printed == ["**Beans.**\n"] * 2


HOSTILE = {
    "escapes": "\x1b]0;owned\x07\x1b[2J\x1b[31mred\x9b31m \x1bP1$q\x1b\\ done",
    "bidi": "a\u202eb\u2066c \u200b done",
    "a long line": "x" * 50_000 + " done",
    "deep lists": "".join("  " * depth + "- a\n" for depth in range(300)) + "\ndone",
    "an endless fence": "```python\n" + "x = 1\n" * 5_000 + "# done",
    "a wide table": "|a" * 500 + "|\n" + "|-" * 500 + "|\n" + "|b" * 500 + "|\n\ndone",
}


def test_hostile_answers_are_text_and_their_ends_are_shown(talk_in, server):
    """What the terminal got has no control character but lmchat's own: `start` looks at all of it."""
    replies = []
    for text in HOSTILE.values():
        parts = [delta(text[start : start + 500]) for start in range(0, len(text), 500)]
        replies.append(sse(*parts, finish(), DONE))
    server.on(CHAT, *replies)
    talk = talk_in()
    for name in HOSTILE:
        talk.type(f"{name}?\r", sees=f"{name}?")
        talk.wait_for(re.compile(r"done\n+You:\s*$"), timeout_s=40)
    talk.leave()
