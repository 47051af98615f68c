"""What follows a turn: prompts that waited, summaries before them, titles."""

from __future__ import annotations

import asyncio

import pytest
from msgspec.structs import replace

from lmchat.base.errors import LMChatError, ServerRejected, ServerUnavailable, StreamInterrupted
from lmchat.core.servers.events import RequestSent, StreamFinished, TextDelta, UsageReported
from lmchat.core.sessions.message import AnswerState, FilePart, Role
from lmchat.core.sessions.prompts import PendingPrompt, file_line
from tests.support.chat_turns import ChatTurns
from tests.support.programs import until
from tests.support.scripted_backend import answer_steps, hold
from tests.support.scripted_tools import calls, toolbox

END = StreamFinished(reason="stop")
HALF = [RequestSent(), TextDelta(text="Let")]
AWAY = ServerUnavailable("It is away.")
BROKE = StreamInterrupted("It broke.")
NOT_LOADED = ServerRejected("No model is loaded.", kind="model_not_loaded")


def prompts(chat: ChatTurns) -> list[str]:
    return [message.text for message in chat.path if message.role is Role.USER]


async def test_a_queue_is_sent_in_order_in_its_own_session_after_good_ends_and_stops(store):
    gate = asyncio.Event()
    chat = ChatTurns(store, [*HALF, gate, END], [*HALF, asyncio.Event()], answer_steps("Last."))
    first = chat.session
    for text in ("one", "two", "three"):
        chat.sessions.send(first, PendingPrompt(draft=text))
    assert first.queue.drafts == ("two", "three")
    chat.sessions.open_sessions.switch_to_new()
    assert await chat.sessions.open_sessions.find_or_load(first.session_id) is first
    gate.set()
    await until(lambda: len(chat.server.requests) == 2, "the second prompt")
    assert first.stop()
    assert not first.stop(), "it is being stopped already"
    await chat.sessions.wait(first)
    assert chat.path == ()
    assert chat.sessions.open_sessions.unread == {first.session_id}
    chat.sessions.open_sessions.switch_to(first)
    assert prompts(chat) == ["one", "two", "three"]
    assert chat.path == await chat.on_disk()
    assert [end.state for end in chat.ends] == [
        AnswerState.COMPLETE,
        AnswerState.STOPPED,
        AnswerState.COMPLETE,
    ]


async def test_a_queued_prompt_waits_for_its_files_and_returns_if_one_cannot_be_read(store):
    gate = asyncio.Event()
    chat = ChatTurns(store, [*HALF, gate, END], answer_steps("Second."))
    chat.sessions.send(chat.session, PendingPrompt(draft="one"))
    whole = PendingPrompt(draft="two")
    broken = PendingPrompt(draft="three")
    for prompt in (whole, broken):
        prompt.expect("beds.md")
        chat.sessions.send(chat.session, prompt)
    gate.set()
    await chat.sessions.wait(chat.session)
    chat.sessions.send_waiting()
    assert (prompts(chat), chat.session.queue.drafts) == (["one"], ("two", "three"))
    whole.files.clear()
    chat.sessions.follow(whole)
    broken.has_failed = True
    chat.sessions.follow(broken)
    await chat.sessions.wait(chat.session)
    assert (prompts(chat), chat.returned) == (["one", "two"], ["three"])


async def test_prompts_wait_for_a_model_and_the_answer_that_lacked_one_is_retried_first(store):
    chat = ChatTurns(store, [NOT_LOADED], answer_steps("There."), answer_steps("Two."))
    target = chat.sessions.turn_options.target
    await chat.send("one")
    gate = asyncio.Event()
    load = chat.server.model_lists.load(target.model, lambda _: gate.wait())
    chat.sessions.send(chat.session, PendingPrompt(draft="two"))
    assert chat.session.is_waiting
    gate.set()
    await load
    chat.sessions.send_waiting(has_loaded=True)
    await chat.wait()
    assert chat.texts == ["one", "There.", "two", "Two."]
    chat.sessions.turn_options.target = None
    chat.sessions.send(chat.session, PendingPrompt(draft="three"))
    chat.sessions.return_waiting()
    assert chat.returned == ["three"]
    assert chat.session.queue.drafts == ()


async def test_a_prompt_behind_an_answer_waits_for_the_model_that_was_chosen_meanwhile(store):
    chat = ChatTurns(store)
    chat.sessions.send(chat.session, PendingPrompt(draft="one"))
    chat.sessions.send(chat.session, PendingPrompt(draft="two"))
    target = chat.sessions.turn_options.target
    gate = asyncio.Event()
    load = chat.server.model_lists.load(target.model, lambda _: gate.wait())
    await chat.wait()
    assert (chat.session.queue.drafts, chat.returned) == (("two",), [])
    gate.set()
    await load
    chat.sessions.send_waiting(has_loaded=True)
    await chat.wait()
    assert chat.texts[-2:] == ["two", "Lettuce does well."]


@pytest.mark.parametrize(
    ("said", "end", "returned"),
    [
        ([TextDelta(text="Let"), BROKE], AnswerState.INTERRUPTED, ["two"]),
        (
            [*calls(("files__read_text", {"path": "a"}))[:-1], BROKE],
            AnswerState.INTERRUPTED,
            ["two"],
        ),
        ([BROKE], AnswerState.FAILED, ["two"]),
        ([TextDelta(text="Let."), END], AnswerState.COMPLETE, []),
        (calls(("files__read_text", {"path": "a"})), AnswerState.STOPPED, []),
    ],
    ids=["broken", "broken in a call", "failed", "complete", "complete with calls to run"],
)
async def test_a_stop_while_an_answer_is_saved_changes_its_end_only_if_calls_would_run(
    store, said, end, returned
):
    may_save = hold(store, "end_answer")
    chat = ChatTurns(store, [RequestSent(), *said], answer_steps("Two."), box=toolbox())
    for text in ("one", "two"):
        chat.sessions.send(chat.session, PendingPrompt(draft=text))
    await may_save.reached.wait()
    assert chat.session.stop()
    may_save.set()
    await chat.wait()
    assert chat.ends[0].state is end
    assert chat.returned == returned, "after a failure, the next prompt would fail, too"
    assert (chat.texts[-1] == "Two.") == (not returned)


async def test_a_model_that_is_loaded_while_the_failed_answer_is_saved_loses_no_prompt(store):
    may_save = hold(store, "end_answer")
    chat = ChatTurns(store, [NOT_LOADED])
    chat.sessions.send(chat.session, PendingPrompt(draft="one"))
    chat.sessions.send(chat.session, PendingPrompt(draft="two"))
    await may_save.reached.wait()
    chat.sessions.send_waiting(has_loaded=True)
    may_save.set()
    await chat.wait()
    (end,) = chat.ends
    assert end.is_shown_in_answer, "the failed answer itself says why"
    assert end.answer is not None
    assert chat.returned == ["two"]


def nearly_full(*scripts) -> list:
    usage = UsageReported(prompt_tokens=900, completion_tokens=1)
    talk = [answer_steps("A."), answer_steps("B."), [TextDelta(text="C."), usage, END]]
    return [*talk, *scripts]


async def filled(store, *scripts) -> ChatTurns:
    """Return a session that nearly fills the window, in which "d" was just sent."""
    chat = ChatTurns(store, *nearly_full(*scripts), window=1000, auto_compact=True)
    for text in "abc":
        await chat.send(text)
    chat.sessions.send(chat.session, PendingPrompt(draft="d"))
    return chat


async def test_a_prompt_for_a_full_window_follows_a_summary_also_a_stopped_one(store):
    gate = asyncio.Event()
    chat = await filled(store, [gate, *answer_steps("They spoke.")], answer_steps("D."))
    await until(lambda: chat.session.queue.drafts == ("d",), "the prompt behind the summary")
    gate.set()
    await chat.wait()
    assert chat.texts[1:] == ["They spoke.", "b", "B.", "c", "C.", "d", "D."]
    chat = await filled(store, [*HALF, asyncio.Event()], answer_steps("D."))
    await until(lambda: chat.session.aside, "the summary")
    chat.session.stop()
    await chat.wait()
    assert chat.texts == ["a", "A.", "b", "B.", "c", "C.", "d", "D."]


async def test_a_session_that_is_sent_in_part_is_summarised_whatever_was_counted_of_it(store):
    half = UsageReported(prompt_tokens=620, completion_tokens=1)
    answers = [[TextDelta(text=text), half, END] for text in ("A.", "B.", "C.")]
    further = (answer_steps("They spoke."), answer_steps("D."))
    chat = ChatTurns(store, *answers, *further, window=1000, auto_compact=True)
    for text in ("a " * 600, "b " * 600, "c", "d"):
        await chat.send(text)
    assert chat.texts[1:] == ["They spoke.", "b " * 600, "B.", "c", "C.", "d", "D."]


async def test_a_wait_that_is_cancelled_during_a_summary_sends_no_prompt_behind_it(store):
    chat = await filled(store, [*HALF, asyncio.Event()])
    waiting = asyncio.create_task(chat.wait())
    await until(lambda: chat.session.aside, "the summary")
    waiting.cancel()
    await asyncio.wait([waiting])
    assert chat.returned == ["d"]
    assert len(chat.server.requests) == 4


async def test_a_stop_before_its_turn_has_begun_makes_no_summary_of_a_prompt(store):
    chat = await filled(store)
    await chat.sessions.stop_and_wait(chat.session)
    assert chat.ends[-1].state is AnswerState.STOPPED
    assert prompts(chat) == ["a", "b", "c", "d"]
    assert len(chat.server.requests) == 3


async def test_a_prompt_behind_a_summary_that_fails_returns(store):
    chat = await filled(store, [*HALF, StreamInterrupted("It broke off.")])
    with pytest.raises(LMChatError, match="It broke off"):
        await chat.wait()
    assert chat.returned == ["d"]
    assert chat.texts == ["a", "A.", "b", "B.", "c", "C."]


async def test_a_session_in_which_prompts_only_wait_is_listed_by_the_words_or_files_of_the_first(
    store,
):
    chat = ChatTurns(store)
    chat.sessions.turn_options.target = None
    notes = FilePart(digest="0" * 64, name="notes.md", media_type="text/markdown", size=1)
    for text in (f"{file_line(notes)}What grows?", file_line(notes)):
        chat.sessions.send(chat.session, PendingPrompt(draft=text))
        chat.sessions.send(chat.session, PendingPrompt(draft="and in shade?"))
        assert chat.sessions.open_sessions.only_queued() == [], "it is the shown one"
        chat.sessions.open_sessions.switch_to_new()
        (listed,) = chat.sessions.open_sessions.only_queued()
        assert listed.title == ("What grows?" if "grows" in text else "notes.md")
        chat.sessions.return_waiting()


async def no_title_is_made() -> None:
    await until(lambda: "title" not in {one.get_name() for one in asyncio.all_tasks()}, "its end")


async def test_the_model_names_a_session_unless_the_user_has_and_a_turn_ends_that(store):
    title = answer_steps("Title: **Lettuce in pots**.")
    chat = ChatTurns(store, answer_steps(), title, auto_title=True)
    await chat.send("What grows in shade?")
    await until(lambda: chat.session.header.title == "Lettuce in pots", "the title")
    assert (await store.open_session(chat.session.session_id)).header.title == "Lettuce in pots"

    gate = asyncio.Event()
    chat = ChatTurns(store, answer_steps(), [gate, *title], auto_title=True)
    await chat.send("What grows in shade?")
    await until(lambda: len(chat.server.requests) == 2, "the request for a title")
    renamed = await store.update_session(chat.session.session_id, {"title": "Mine"})
    gate.set()  # before memory has the title of the user
    await no_title_is_made()
    assert (await store.open_session(chat.session.session_id)).header == renamed
    assert chat.session.header.title == "What grows in shade?"

    gate = asyncio.Event()  # another lmchat deletes the session meanwhile: no title is kept
    chat = ChatTurns(store, answer_steps(), [gate, *title], auto_title=True)
    await chat.send("What grows in shade?")
    await until(lambda: len(chat.server.requests) == 2, "the request for a title")
    await store.purge(chat.session.session_id, is_with_messages=True)
    gate.set()
    await no_title_is_made()
    assert chat.session.header.title == "What grows in shade?"

    chat = ChatTurns(store, answer_steps(), [asyncio.Event()], auto_title=True)
    await chat.send("What grows in shade?")
    await until(lambda: len(chat.server.requests) == 2, "the question about a title")
    await chat.send("And in the sun?")
    assert chat.server.stopped == 1
    assert chat.session.header.title == "What grows in shade?"


async def test_a_title_that_was_cut_is_not_taken_but_its_first_whole_line_is(store):
    for text, reason, title in (
        ("Lettuce in", "length", "What grows in shade?"),
        ("Lettuce in", "content_filter", "What grows in shade?"),
        ("Lettuce in pots\n\nIt is a plant", "length", "Lettuce in pots"),
        ("**Title:** Lettuce", "stop", "Lettuce"),
        ("**Title: Lettuce**", "stop", "Lettuce"),
        ("## Title: **Lettuce** in pots", "stop", "Lettuce in pots"),
        ("Why 2**10 is 1024", "stop", "Why 2**10 is 1024"),
        ('{"title": "Lettuce"}', "stop", "What grows in shade?"),
        ('```json\n{"title": "Lettuce"}\n```', "stop", "What grows in shade?"),
    ):
        cut = [TextDelta(text=text), StreamFinished(reason=reason)]
        chat = ChatTurns(store, answer_steps(), cut, auto_title=True)
        await chat.send("What grows in shade?")
        await until(lambda chat=chat: len(chat.server.requests) == 2, "the request for a title")
        await no_title_is_made()
        assert chat.session.header.title == title


async def test_a_title_is_asked_of_the_model_that_has_answered(store):
    gate = asyncio.Event()
    chat = ChatTurns(store, [gate, *answer_steps()], answer_steps("Lettuce"), auto_title=True)
    choices = chat.sessions.turn_options
    turn = asyncio.create_task(chat.send("What grows in shade?"))
    await until(lambda: len(chat.server.requests) == 1, "the request")
    choices.target = replace(choices.target, model=replace(choices.target.model, model_id="other"))
    gate.set()
    await turn
    await until(lambda: chat.session.header.title == "Lettuce", "the title")
    assert [request.target.model_id for request in chat.server.requests] == ["qwen3-8b", "qwen3-8b"]


async def test_another_model_answers_once_and_the_target_of_the_next_turn_stays(store):
    chat = ChatTurns(store)
    target = chat.sessions.turn_options.target
    await chat.send("one")
    other = replace(target, model=replace(target.model, model_id="other"))
    await chat.regenerate(chat.path[-1], other)
    await chat.send("two")
    assert [request.target.model_id for request in chat.server.requests] == [
        "qwen3-8b",
        "other",
        "qwen3-8b",
    ]
    assert chat.sessions.turn_options.target is target
