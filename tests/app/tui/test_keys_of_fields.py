"""Keys that move and delete in a text, as terminals send them, in the prompt and in other fields."""

from __future__ import annotations

import asyncio

from textual.widgets import Input

from lmchat.app.tui.dialogs.search_dialog import SearchDialog
from lmchat.app.tui.quirks.keys import KeyParser
from lmchat.app.tui.screen import ChatScreen
from lmchat.app.tui.widgets.text_steps import step
from tests.support.desktop import ready_desktop, sent, shown
from tests.support.scripted_backend import answer_steps, half

ALT_LETTERS = "".join(f"\x1b{letter}" for letter in "acdeghijklmnpqrstuvwxyzABDSYдé.,;-")


async def feed(desk, *reads: str) -> None:
    """Hand over what a terminal sends, and wait until it has had its effect."""
    parser = KeyParser()
    for data in reads:
        for event in parser.feed(data):
            event.set_sender(desk.app)
            desk.app._driver.send_message(event)
    await desk.pilot.pause()


def words(line: str, direction: int) -> list[str]:
    """Return what the cursor passes at each step by words."""
    passed, position, end = [], *((0, len(line)) if direction > 0 else (len(line), 0))
    while position != end:
        before = position
        position = step(line, position, direction, by_words=True)
        passed.append(line[min(before, position) : max(before, position)])
    return passed[::direction]


def test_words_end_where_the_script_changes_and_at_each_ideograph():
    for found in (
        "茶|は|hello|好|き",
        "ラーメン|を|食|べる|人々|が3|月",
        "한국어|seed|심어요",
        "жил12|漢",
    ):
        line = found.replace("|", "")
        assert words(line, 1) == words(line, -1) == found.split("|")
    assert words("foo bar_baz (x)", 1) == ["foo", " bar_baz", " (", "x", ")"]
    assert words("foo bar_baz (x)", -1) == ["foo ", "bar_baz ", "(", "x", ")"]
    assert words("हिन्दी में", 1) == ["हिन्दी", " में"]
    assert words("می\u200cروم به", -1) == ["می\u200cروم ", "به"]
    assert words("  a  ", 1) == ["  a", "  "]
    assert words("  a  ", -1) == ["  ", "a  "]
    assert words("a" * 2500, 1) == ["a" * 1000, "a" * 1000, "a" * 500]


def test_one_step_passes_what_is_seen_as_one_sign():
    for sign in (
        "🇩🇪",
        "👨\u200d👩\u200d👧",
        "e\u0301",
        "👍🏽",
        "1\ufe0f\u20e3",
        "نی\u200c"[1:],
        "नि",
    ):
        line = f"x{sign}y"
        assert step(line, 1, 1) == len(line) - 1
        assert step(line, len(line) - 1, -1) == 1
    assert step("", 0, 1) == step("", 0, -1) == 0


async def test_alt_and_a_letter_moves_or_deletes_and_never_stops_an_answer(tmp_path):
    gate = asyncio.Event()
    async with ready_desktop(tmp_path, half("Let", gate, "tuce."), answer_steps("Peas.")) as desk:
        await desk.say("one", sees="Let")
        prompt = desk.prompt_input
        prompt.put("say hello 茶は")
        await feed(desk, ALT_LETTERS)
        await feed(desk, "\x1b[117;3u", "\x1b[121;3;121u", "\x1b[27;3;117~", "\x1b[1076;3u")
        await desk.prompt_is("say hello 茶は")
        for keys, column in (
            ("\x1b[1;3D", 11),
            ("\x1bb", 10),
            ("\x1b[1;5D", 4),
            ("\x1b[98;3u", 0),
            ("\x1bf", 3),
            ("\x1b[1;3C", 9),
            ("\x1b[1;5H", 0),
            ("\x1b[1;5F", 12),
        ):
            await feed(desk, keys)
            position = (0, column)
            await desk.until(
                lambda position=position: prompt.cursor_location == position, repr(keys)
            )
        prompt.put("say\nhello 茶は")
        prompt.move_cursor((1, 0))
        for keys, place in (("\x1bb", (0, 3)), ("\x1bf", (1, 0)), ("\x1b[1;5F", (1, 8))):
            await feed(desk, keys)
            await desk.until(lambda place=place: prompt.cursor_location == place, repr(keys))
        await feed(desk, "\x1b[C", "\x1b[1;2D", "\x1b[3;5~")  # the end; a selection is deleted
        await desk.prompt_is("say\nhello 茶")
        prompt.put("say hello 茶は")
        await feed(desk, "\x1b[1;5H", "\x1bd")
        await desk.prompt_is(" hello 茶は")
        await feed(desk, "\x1b[3;5~")
        await desk.prompt_is(" 茶は")
        await feed(desk, "\x1b[1;5F", "\x1b\x7f", "\x1b[127;5u")
        await desk.prompt_is(" ")
        prompt.put("🇩🇪👨\u200d👩\u200d👧")
        await feed(desk, "\x7f", "\x1b[D", "\x1b[3~")
        await desk.prompt_is("")

        family = "👨\u200d👩\u200d👧"
        prompt.put(f"{family}e\u0301🇩🇪|\nabcdefghi")
        for column in range(10):
            prompt.move_cursor((1, column))
            prompt.action_cursor_up()
            assert prompt.cursor_location in {(0, position) for position in (0, 5, 7, 9, 10)}
        await desk.until(lambda: prompt.size.height == 2, "both rows")
        await desk.pilot.click(prompt, offset=(2, 0))
        assert prompt.cursor_location in {(0, 0), (0, 5)}
        prompt.put("first\n" + "peas " * 60 + "end")
        assert prompt.wrapped_document.height > 3
        await feed(desk, "\x1b[H")
        await desk.until(lambda: (1, 0) < prompt.cursor_location < (1, 303), "the row")
        await feed(desk, "\x1b[H")
        await desk.until(lambda: prompt.cursor_location == (1, 0), "the line")
        await feed(desk, "\x1b[F")
        await desk.until(lambda: (1, 0) < prompt.cursor_location < (1, 303), "the end of the row")
        await feed(desk, "\x1b[F")
        await desk.until(lambda: prompt.cursor_location == (1, 303), "the end of the line")
        assert desk.active.is_running
        assert desk.backend.stopped == 0
        await feed(desk, "\x1b[968::99;5u")  # Ctrl and the key of C of a Greek keyboard
        await desk.answered()
        assert desk.backend.stopped == 1


async def test_a_key_does_without_its_modifiers_what_they_do_not_change(tmp_path):
    async with ready_desktop(tmp_path, answer_steps("Lettuce."), answer_steps("Peas.")) as desk:
        prompt = desk.prompt_input
        await feed(desk, *"/he", "\x1b[105;5u")  # Ctrl+I
        await desk.prompt_is("/help")
        for key in ("\x1b[127;2u", "\x1b[104;5u", "\x08", "\x1b[27;2;127~", "\x1b[127;10u"):
            before = prompt.text
            await feed(desk, key)
            await desk.prompt_is(before[:-1])
        for key in ("\x1b[32;5u", "\x1b[32;2;32u", "\x1b[27;2;32~", "\x00", "\x1b "):
            before = prompt.text
            await feed(desk, key)
            await desk.prompt_is(before + " ")
        prompt.put("ab")
        await feed(desk, "\x1b[H", "\x1b[3;2~")
        await desk.prompt_is("b")
        await feed(desk, "\x1b[13;2u", "\x1b\r", "\x1b[27;2;13~")  # Shift and Alt break the line
        await desk.prompt_is("\n\n\nb")
        await feed(desk, "\x1b[13;5u")  # Ctrl+Enter
        await desk.answered()
        await feed(desk, *"hi", "\x1b[109;5u")  # Ctrl+M
        await desk.answered(2)
        assert sent(desk.backend) == ["b", "hi"]

        await desk.press("ctrl+k", leads_to=SearchDialog)
        field = desk.app.screen.query_one(Input)
        await feed(desk, *"sow peas", "\x1b\x7f", *"e", "\x1b[1;5H", "\x1bd", "\x1b[3;2~")
        await desk.until(lambda: field.value == "e", "a letter")
        await feed(desk, "\x1b[F", "\x1b[104;5u", *"🇩🇪", "\x7f", *"a b", "\x1b[1;3D", "\x1b[127;2u")
        await desk.until(lambda: field.value == "ab", "two letters")
        await feed(
            desk, *"c d", "\x1b[D", "\x1bb", "\x1b[1;4C", "\x1b[D", *"x"
        )  # in front of what is selected
        await desk.until(lambda: field.value == "xac db", "a letter before it")
        await feed(desk, "\x1b[1;4C", "\x1b[C", *"y", "\x1b[1;4D", "\x7f")
        await desk.until(lambda: field.value == " db", "what is behind the selection")
        field.password = True  # its words are no secret's
        await feed(desk, "\x1bf", *"z", "\x1bb", *"y")
        await desk.until(lambda: field.value == "y dbz", "its ends")
        field.password = False
        field.value = "ab"
        await feed(desk, "\x1b[91;5u")  # Ctrl+[
        await desk.on(ChatScreen)
        await feed(desk, "\x1b[1;3A")
        await desk.until(lambda: not prompt.has_focus, "the focus on a message")
        await feed(desk, "\x1b[27;2u")  # Shift+Esc
        await desk.until(lambda: prompt.has_focus, "the prompt")
        await shown(desk, "Peas.")
