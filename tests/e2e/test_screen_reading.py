from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from itertools import chain

import pytest

from tests.support.lmchat_screen import LMChatScreen, ready_screen
from tests.support.scripted_products import CHAT, llama_cpp
from tests.support.scripted_server import DONE, Gate, delta, finish, sse

PRODUCT = llama_cpp
WHEEL_UP, WHEEL_DOWN = "\x1b[<64;60;12M", "\x1b[<65;60;12M"
PAGE_UP, HOME, END, ESC = "\x1b[5~", "\x1b[H", "\x1b[F", "\x1b"
UP, DOWN, ALT_UP = "\x1b[A", "\x1b[B", "\x1b[1;3A"
FIRST = (
    "\n\n".join(f"Paragraph {number} with a [word][late] in it." for number in range(60)) + "\n\n"
)
TABLE = (
    "| a | b |\n|---|---|\n"
    + "".join(f"| {'x' * number} | {number} |\n" for number in range(40))
    + "\n"
)
CODE = "```python\n" + "x = 1\n" * 80 + "```\n\n"
MORE = [
    f"{part}Mark {number}.\n\n"
    for number, part in enumerate(
        [FIRST, TABLE, FIRST + "[late]: http://127.0.0.1/\n\n", CODE, FIRST]
    )
]
BAR = 92  # column of the scroll bar on a screen of 120
ELAPSED = re.compile(r"elapsed +(\S+)")
PILL = re.compile(r"(↓ [\d,]+ new lines?)  End")


def log_rows(screen: LMChatScreen) -> list[str]:
    """The rows of the log, without the bars of the focus, what a focused message offers, and links."""
    rows = (
        row[30:88].replace("▌", " ").replace("[word][late]", "word")
        for row in screen.screen()[2:34]
    )
    return [re.sub(r" +c copy$", "", row.rstrip()).rstrip() for row in rows]


class Talk:
    """An answer that comes in parts, each when the test wants it."""

    def __init__(self, *parts: str) -> None:
        self.gates = [Gate() for _ in parts]
        self._shut = iter(self.gates)
        chunks = [(gate, *tokens(part)) for gate, part in zip(self.gates, parts, strict=True)]
        self.reply = sse(*tokens(FIRST), *chain.from_iterable(chunks), finish(), DONE)

    def go_on(self) -> None:
        """Let the next part come."""
        next(self._shut).open()


def tokens(text: str) -> Iterator[dict]:
    """Cut a text into tokens of four characters."""
    return (delta(text[start : start + 4]) for start in range(0, len(text), 4))


def still_until(screen: LMChatScreen, wanted: re.Pattern[str], gate: Gate, what: str) -> None:
    """Wait until a part has come; whatever is painted until then, the log shows the same rows."""
    before = settled(screen)

    def is_there() -> bool:
        now = log_rows(screen)
        assert now == before, "\n".join(now)
        return gate.reached.is_set() and bool(wanted.search(screen.text))

    screen.wait_until(is_there, what, 20)


def settled(screen: LMChatScreen) -> list[str]:
    """Return the rows that two ticks of the clock leave alone; at the first one, half a frame may be here."""
    rows = after_tick(screen)
    while (later := after_tick(screen)) != rows:
        rows = later
    return rows


def after_tick(screen: LMChatScreen) -> list[str]:
    shown = ELAPSED.findall(screen.text)
    screen.wait_until(lambda: ELAPSED.findall(screen.text) != shown, "the clock goes on")
    return log_rows(screen)


def is_at_rest(screen: LMChatScreen) -> bool:
    """Whether the last line is that of the running answer, and nothing says that there is more."""
    return "Esc stop" in log_rows(screen)[-1] and "End" not in screen.text


def drag_up(screen: LMChatScreen) -> None:
    """Take the thumb at the end of the bar and let it go some rows above."""
    turns = itertools.count()

    def has_moved() -> (
        bool
    ):  # a press may meet the thumb before it is painted at the end, so it is repeated
        if next(turns) % 10 == 0:
            screen.type(f"\x1b[<0;{BAR};34m\x1b[<0;{BAR};34M")
        else:  # a move that comes in one piece with the press is before the grab
            screen.type(f"\x1b[<32;{BAR};33M\x1b[<32;{BAR};28M")
        return "more below" in screen.text

    screen.wait_until(has_moved, "the thumb is dragged")
    screen.type(f"\x1b[<0;{BAR};28m")


WAYS = {
    "the wheel": lambda screen: screen.type(WHEEL_UP),
    "a page": lambda screen: screen.type(PAGE_UP),
    "the bar": drag_up,
    "a message": lambda screen: screen.type(ALT_UP * 2),
}


@pytest.mark.timeout(90)
def test_whatever_led_away_from_the_end_nothing_moves_until_the_end_key(tmp_path, server):
    answer = Talk(*MORE)
    server.on(CHAT, answer.reply)
    with ready_screen(tmp_path, server.url) as screen:
        screen.ask("Tell me.", sees="Paragraph 59")
        answer.gates[0].reached.wait(10)
        for number, (way, leave) in enumerate(WAYS.items()):
            leave(screen)
            screen.wait_for("more below")
            answer.go_on()
            still_until(screen, PILL, answer.gates[number + 1], way)
            screen.type(END, sees=f"Mark {number}.")
            screen.wait_until(lambda: is_at_rest(screen), f"the end after {way}")

        screen.type(WHEEL_UP * 5, sees="more below")
        upper = settled(screen)
        answer.go_on()  # the wheel and the keys are served while text streams at full speed
        screen.type(WHEEL_UP * 20 + WHEEL_DOWN * 20)
        screen.wait_for("answer saved")
        screen.wait_until(lambda: log_rows(screen) == upper, "the same rows again")
        screen.type(ALT_UP + HOME, sees="Paragraph 0 ")
        screen.type(DOWN * 30 + UP * 30, sees="Tell me.")
        screen.type(END)
        screen.wait_answered()
        screen.type(ESC)
        screen.wait_for("^O model")  # or the words are typed on the message
        screen.put("back in the prompt")
