"""What is typed is text, wherever a click, a command or a dialog has left the focus."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from itertools import cycle

import pytest

from lmchat.app.commands.table import COMMANDS, Scope
from lmchat.app.tui.chat_log.chat_log import ChatLog
from lmchat.app.tui.messages import RunCommand
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.widgets.session_list import SessionList
from tests.support.desktop import Desktop, click, ready_desktop
from tests.support.scripted_backend import ScriptedBackend, answer_steps

CODE = "See [one](http://a.example) and [two](http://b.example).\n\n```py\na = 1\n```"
LETTERS = [
    command.keys
    for command in COMMANDS
    if command.scope in (Scope.MESSAGE, Scope.SESSIONS) and len(command.keys) == 1
]


async def drag(desk: Desktop) -> None:
    rows = desk.text.split("\n")
    y = next(y for y, row in enumerate(rows) if "See one" in row)
    x = rows[y].index("See one")
    await desk.pilot.mouse_down(offset=(x, y))
    await desk.pilot.hover(offset=(x + 5, y))
    await desk.pilot.mouse_up(offset=(x + 5, y))


Way = Callable[[Desktop], Awaitable[None]]


def clicks(words: str, **how: int) -> Way:
    return lambda desk: click(desk, words, **how)


def presses(*keys: str) -> Way:
    return lambda desk: desk.press(*keys)


async def copies_a_word(desk: Desktop) -> None:
    await click(desk, "See one", times=2)
    await desk.press("ctrl+c")


async def opens_a_hit(desk: Desktop) -> None:
    await desk.press("ctrl+k", *"alpha", sees="1 hit in 1 session")
    await desk.press("enter")
    await desk.on(ChatScreen)


async def clicks_after_keys(desk: Desktop) -> None:
    await desk.press("alt+up")
    await click(desk, "See one")


def says(line: str, *keys: str, opens: str = "") -> Way:
    async def say(desk: Desktop) -> None:
        await desk.say(line, sees=opens)
        await desk.press(*keys)

    return say


WAYS: dict[str, dict[str, Way]] = {
    "mouse": {
        "a click on an answer": clicks("See one"),
        "a click on a prompt": clicks("second question"),
        "a click on a message that had the keys": clicks_after_keys,
        "a copied word": copies_a_word,
        "a drag": drag,
        "a click on a version": clicks("/2›"),
        "a click beside the sessions": clicks("/ filter", by=-2),
    },
    "keys": {
        "Tab": presses("tab"),
        "Shift+Tab": presses("shift+tab"),
        "Tab in a message": presses("alt+up", "tab"),
        "Esc in a message": presses("alt+up", "escape"),
        "F3, then Esc": presses("f3", "escape"),
        "the sessions, left": presses("ctrl+b", "escape"),
        "Tab in the sessions": presses("ctrl+b", "tab"),
        "Tab in the filter": presses("ctrl+b", "slash", "tab"),
        "find, left": presses("ctrl+f", *"See", "escape"),
    },
    "dialogs": {
        "details, left": presses("alt+up", "i", "escape"),
        "links, left": presses("alt+up", "l", "escape"),
        "the tree, taken": presses("alt+up", "t", "up", "enter"),
        "the pager": presses("alt+up", "o"),
        "the picker, left": presses("alt+up", "ctrl+o", "escape"),
    },
    "commands": {
        "the palette, run": presses("alt+up", "ctrl+p", *"rendered", "enter"),
        "/source": says("/source"),
        "/context, taken": says("/context", "home", "enter", opens="of 8 192 tokens"),
        "a hit of the search": opens_a_hit,
        "a new title, left": presses("ctrl+b", "n", "escape"),
        "an opened session": presses("ctrl+b", "enter"),
    },
}


PASTED = (
    "a click on an answer",
    "a drag",
    "Shift+Tab",
    "Tab in the sessions",
    "the pager",
    "/source",
)


def state_of(desk: Desktop) -> tuple[object, ...]:
    """What a command would change."""
    return (
        desk.app.screen,
        desk.session_id,
        desk.texts,
        len(desk.backend.requests),
        [*desk.copied, *desk.paged, *desk.opened],
        [entry.is_source for entry in desk.log_view.document.entries],
        desk.chat.active.header,
    )


async def garden(desk: Desktop) -> None:
    """Have a session with two versions of its last answer."""
    await desk.ask("first question")
    await desk.ask("second question", 2)
    await desk.press("ctrl+r", sees="2/2")
    await desk.at_rest()


@pytest.mark.parametrize("group", WAYS)
async def test_words_are_text_after_each_way_to_move_the_focus(tmp_path, group):
    scripts = [answer_steps("Alpha."), answer_steps("Beta."), answer_steps(CODE)]
    async with ready_desktop(tmp_path, *scripts) as desk:
        await garden(desk)
        first_letters = cycle(LETTERS)
        wrong = []
        for way, go in WAYS[group].items():
            for text in (next(first_letters) + "elete", "a\tb\nc")[: 2 if way in PASTED else 1]:
                await go(desk)
                await desk.pilot.pause()
                before = state_of(desk)
                await (desk.paste(text) if "\t" in text else desk.type(text))
                await desk.rests()
                if desk.prompt_input.text != text or state_of(desk) != before:
                    wrong.append((way, text, desk.prompt_input.text))
                await desk.press("escape", "escape")
                desk.prompt_input.put("")
                await desk.pilot.pause()
        assert wrong == []


@pytest.mark.slow  # each command there is
async def test_no_command_gives_letters_to_log_or_list_but_those_that_lead_there(tmp_path):
    backend = ScriptedBackend(*[answer_steps(CODE) for _ in range(20)])
    async with ready_desktop(tmp_path, backend=backend, asked=["one", "two"]) as desk:
        wrong = []
        for command in COMMANDS:
            leads_there = command.command_id in ("previous", "next", "sessions")
            if leads_there or command.action or command.command_id in ("quit", "suspend"):
                continue
            desk.chat_screen.post_message(RunCommand(command.command_id))
            await desk.pilot.pause()
            await desk.rests()
            while desk.app.screen is not desk.chat_screen:
                await desk.press("escape")
            if isinstance(desk.app.focused, ChatLog | SessionList):
                wrong.append(command.command_id)
        assert wrong == []
