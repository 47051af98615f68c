"""Every key of a message on every kind of message, in the whole app: nothing fails, and nothing is lost."""

from __future__ import annotations

import asyncio
from unittest.mock import AsyncMock

import pytest
from msgspec.structs import replace

from lmchat.domain.message import Role, new_id, now, text_message
from lmchat.domain.session import SessionHeader
from lmchat.errors import StoreUnavailable
from lmchat.tui.commands import BY_ID
from tests.support.chats import ACTS, MESSAGES, SENSIBLE, UNFINISHED
from tests.support.desktop import half, ready_desktop, shown
from tests.support.scripted_backend import answer_steps

KEYS = {name: BY_ID[f"message.{name}"].keys for name in ACTS}
KINDS = (
    "interrupted",
    *(pytest.param(kind, marks=pytest.mark.slow) for kind in ("prompt", "thought only")),
)
LOOKS = (
    *("copy", "copy_code", "source", "links", "fold", "pager", "tree", "details"),
    *("previous_version", "next_version", "compare"),
)


async def kept_session(desk, kind: str) -> tuple[str, str]:
    """Write a session whose last message is of a kind; return the ids of both."""
    moment = now()
    header = SessionHeader(session_id=new_id(), title="All", created_at=moment, updated_at=moment)
    prompt = text_message(Role.USER, "First prompt")
    last = replace(MESSAGES[kind], message_id=new_id(), parent_id=prompt.message_id)
    await desk.store.append(header, prompt)
    await desk.store.append(header, last)
    return header.session_id, last.message_id


async def go_to(desk, session_id: str, message_id: str) -> None:
    await desk.chat.sessions.go_to(session_id, message_id=message_id)
    desk.log_view.focus()
    await desk.pilot.pause()
    assert desk.log_view.focused_message.message_id == message_id


async def press(desk, name: str) -> None:
    desk.app.clear_notifications()
    await desk.press(KEYS[name])
    await desk.at_rest()
    await desk.pilot.pause()


@pytest.mark.timeout(60)  # fifteen keys each
@pytest.mark.parametrize("kind", KINDS)
async def test_each_key_does_something_or_says_one_sentence(tmp_path, kind):
    async with ready_desktop(
        tmp_path, *[answer_steps(f"Answer {number}.") for number in range(9)]
    ) as desk:
        session_id, message_id = await kept_session(desk, kind)
        before = [m.message_id for m in await desk.store.tree(session_id)]
        for name in (*LOOKS, *(one for one in ACTS if one not in LOOKS)):
            await go_to(desk, session_id, message_id)
            asked = len(desk.backend.requests)
            await press(desk, name)
            told = [one.message for one in desk.app._notifications]
            if kind not in SENSIBLE[name]:
                assert len(told) == 1, (name, told)
                assert len(desk.backend.requests) == asked
            else:
                assert not any("internal error" in words for words in told), (name, told)
            while len(desk.app.screen_stack) > 1:
                await desk.press("escape")
            if name == "delete":
                await press(desk, "undo")
            desk.chat.prompt_text.leave_edit()
        after = [m.message_id for m in await desk.store.tree(session_id)]
        assert set(before) <= set(after)  # all that was there is there still
        expected = 2 if kind in UNFINISHED else 1
        assert len(desk.backend.requests) == (
            0 if kind in ("system", "result of a tool") else expected
        )


async def test_each_key_on_the_answer_that_is_on_its_way(tmp_path):
    names = ["edit", "regenerate", "fork", "pager", "delete"]
    text, gates = "See https://example.org\n\n```\nx\n```\n", [asyncio.Event() for _ in names]
    scripts = [
        half(f"{name} {text}", gate, "rest.") for name, gate in zip(names, gates, strict=True)
    ]
    async with ready_desktop(tmp_path, *scripts) as desk:
        for name, gate in zip(names, gates, strict=True):
            await desk.say("one", sees=f"{name} See")
            session_id = desk.session_id
            await desk.press("alt+up", KEYS[name])
            await desk.pilot.pause()
            while len(desk.app.screen_stack) > 1:
                await desk.press("escape")
            gate.set()
            await desk.until(lambda: not desk.app.open_sessions.busy, "the end")
            await desk.app.open_sessions.save_all()
            tree = await desk.store.tree(session_id)
            texts = [m.text for m in tree if m.role is Role.ASSISTANT]
            assert texts == [] if name == "delete" else texts[0].endswith("rest."), name
            await desk.press("ctrl+n")
            await desk.until(lambda: not desk.conversation.messages, "a new session")
        assert len(desk.backend.requests) == len(names)


async def test_deletions_are_undone_one_after_the_other_and_after_a_new_answer(tmp_path):
    scripts = [answer_steps(text) for text in ("Alpha.", "Beta.", "Gamma.")]
    async with ready_desktop(tmp_path, *scripts, asked=["one", "two"]) as desk:
        await desk.press("alt+up", "d", hides="Beta.")
        await desk.press("d", hides="two")
        await desk.press("u", sees="two")
        assert "Beta." not in desk.text
        await desk.press("u", sees="Beta.")
        await desk.press("u", sees="Nothing to undo.")
        await desk.press("escape")
        await desk.say("/delete", hides="Beta.")
        await desk.say("/retry", sees="Gamma.")
        await desk.at_rest()
        await desk.say("/undo", sees="Beta.")
        await shown(desk, "1/2")
        tree = await desk.store.tree(desk.session_id)
        assert [m.text for m in tree] == ["one", "Alpha.", "two", "Beta.", "Gamma."]


async def test_what_the_disk_refuses_or_another_window_has_removed_is_reported_and_costs_nothing(
    tmp_path, monkeypatch
):
    scripts = [answer_steps(text) for text in ("Alpha.", "Beta.", "Gamma.")]
    full = AsyncMock(side_effect=StoreUnavailable("The disk is full.", hint="Free some space."))
    async with ready_desktop(tmp_path, *scripts, asked=["one"]) as desk:
        await desk.press("ctrl+r", sees="Beta.")
        await desk.at_rest()
        for name, method in (
            ("delete", "delete_message"),
            ("fork", "fork"),
            ("next_version", "tree"),
        ):
            desk.app.clear_notifications()
            with monkeypatch.context() as patched:
                patched.setattr(desk.store, method, full)
                await desk.press("alt+up", KEYS[name], sees="The disk is full. Free some space.")
            assert "Beta." in desk.text
            assert desk.texts == ["one", "Beta."]
            await desk.press("escape")

        session_id = desk.session_id
        await desk.store.update_session(session_id, {"deleted_at": now()})
        await desk.store.purge(session_id)
        for name in ("delete", "fork", "next_version", "tree", "undo"):
            desk.app.clear_notifications()
            await desk.press("alt+up", KEYS[name])
            await desk.pilot.pause()
            while len(desk.app.screen_stack) > 1:
                await desk.press("escape")
        assert not any("internal error" in one.message for one in desk.app._notifications)
        assert "Beta." in desk.text
        await desk.press("escape")
        await desk.say("two", sees="Gamma.")
