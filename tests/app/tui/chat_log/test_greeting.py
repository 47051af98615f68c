"""What an empty log shows."""

from __future__ import annotations

import pytest

from lmchat.app.tui.chat_log.chat_log import ChatLog
from tests.support.chat_log_app import LogApp, load, question, rows, screen_text
from tests.support.desktop import ready_desktop, shown
from tests.support.scripted_backend import answer_steps, model, probed

READY = (("qwen3-8b", "name strong"), (" is ready.", ""), (" Type a message.", "muted"))


async def test_an_empty_log_greets_until_there_is_a_message(pilot, log):
    assert "Looking for a server…" in screen_text(log)
    log.greet(READY)
    shown = [row.strip() for row in rows(log)]
    first = shown.index("lmchat")
    column = rows(log)[shown.index("lmchat")].index("lmchat")
    assert abs(first - (len(shown) - first - 7)) <= 1  # in the middle
    assert shown[first : first + 7] == [
        "lmchat",
        "",
        "qwen3-8b is ready. Type a message.",
        "",
        "^O  choose a model       @  add a file",
        "^K  search sessions      !  run a shell command",
        "^B  open a session       /  commands",
    ]
    await load(pilot, question("Is it too late?"))
    assert "lmchat" not in screen_text(log)
    words = "a-model-with-a-name is loading, 40 %. It takes long."
    log.greet(((words, ""),))
    await load(pilot)
    assert rows(log)[first + 2].index(words) == column, "the keys do not move"


async def test_an_empty_chat_says_whether_it_can_begin_and_is_not_painted_while_one_types(
    tmp_path, monkeypatch
):
    async with ready_desktop(tmp_path, answer_steps("Yes.")) as desk:
        await shown(desk, "qwen3-8b is ready. Type a message and press Enter.")
        refreshed = []
        monkeypatch.setattr(ChatLog, "refresh", lambda log, *_, **__: refreshed.append(log) or log)
        await desk.type("hello")
        await shown(desk, "▌ hello", "qwen3-8b is ready.")
        assert refreshed == []
        monkeypatch.undo()
        desk.backend.results = (probed("offline"),)
        await desk.press("f5", sees="LM Studio does not answer. F5 checks again.")
        desk.backend.results = (probed("", model()),)
        await desk.press("f5", sees="qwen3-8b is ready.")
        await desk.press("enter", hides="is ready.")
        await shown(desk, "Yes.")


@pytest.mark.parametrize("size", [(200, 60), (80, 24), (60, 20), (40, 12), (40, 40), (30, 4)])
async def test_the_greeting_fits_every_size_with_a_name_of_any_length(size):
    rest = READY[1:]
    long = (("organisation/" * 20, "name"), *rest)
    as_wide = (("x" * (size[0] - len(" is ready. Type a message.")), "name"), *rest)
    async with LogApp(user_keys={"model": "Ctrl+Alt+F12"}).run_test(size=size) as pilot:
        log = pilot.app.log_view
        for sentence, words in (
            (READY, "qwen3-8b is ready."),
            (long, "… is ready."),
            (as_wide, "x is ready."),
        ):
            log.greet(sentence)
            await pilot.pause()
            assert words in screen_text(log)
            assert size[1] < 9 or "/  commands" in screen_text(log)
            has_all_keys = "Ctrl+Alt+F12  choose a model" in screen_text(log)
            assert has_all_keys == (size[0] > 60 and size[1] >= 20)
            sides = [(row, row.strip()) for row in rows(log) if row.strip()]
            assert all(2 <= row.index(seen) <= size[0] - 2 - len(seen) for row, seen in sides)
            assert all(strip.cell_length == size[0] for strip in log.render_lines(log.size.region))
