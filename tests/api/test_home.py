"""`Home`: the user's own lmchat for programs, with its file of sessions and a real tool server."""

from __future__ import annotations

import asyncio
import gc
import json
import sqlite3
import sys
from contextlib import aclosing, closing

import pytest

from lmchat.api import (
    AnswerStarted,
    AnswerState,
    ApprovalScope,
    Ask,
    ConfigError,
    Decision,
    FileRefused,
    Home,
    LMChatError,
    MessageAdded,
    MessageEnded,
    NoServerFound,
    RequestInvalid,
    SchemaOutput,
    ServerRejected,
    SessionNotFound,
    StoreUnavailable,
    SyncHome,
    TextDelta,
    ToolServerState,
    TurnEnded,
    WrongUse,
    read_attachment,
)
from lmchat.core.config.mcp_file import write_servers
from lmchat.core.config.settings import McpSettings
from lmchat.core.config.state import State, change_state
from lmchat.core.servers import models
from tests.support import mcp_server
from tests.support.chats import chat
from tests.support.programs import FUNCTIONS, Cli, run
from tests.support.recorded_server import RecordedServer
from tests.support.scripted_products import (
    CHAT,
    calling,
    chat_reply,
    echo,
    jan,
    llama_cpp,
    ollama_with_remote,
    router,
)
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Hold,
    error_reply,
    finish,
    sse,
)

REMOTE = "garden:120b-cloud"
FILES = McpSettings(name="files", command=sys.executable, args=(mcp_server.__file__,))


@pytest.fixture
def configure(tmp_path, monkeypatch):
    """Write the configuration of a user without others' variables; return the folder."""
    for name in ("LMCHAT_HOME", "LMCHAT_ENDPOINT", "LLM_BASE_URL", "LMCHAT_MODEL", "LLM_MODEL"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "lmchat"
    folder.mkdir()

    def write(url, text=""):
        (folder / "config.toml").write_text(f'endpoint = "{url}"\n{text}', encoding="utf-8")
        return folder

    return write


def _ask(prompt, session_id="", **given):
    fields = {name: given.pop(name) for name in Ask.__struct_fields__ if name in given}
    return Ask(prompt=prompt, session_id=session_id, **fields, options=given)


async def _turn(home, *words, **options):
    async with aclosing(home.turn(_ask(*words, **options))) as events:
        return [event async for event in events]


async def _first_words(events):
    async for event in events:
        if isinstance(event, TextDelta):
            return


def _text(events):
    return "".join(event.text for event in events if isinstance(event, TextDelta))


async def test_a_turn_is_saved_and_continued_as_the_command_line_sees_it(configure, tmp_path):
    with RecordedServer("vllm") as server:
        configure(server.url, "[chat]\nsystem_prompt = 'Be brief.'\ntemperature = 0.5\n")
        async with Home(tmp_path / "lmchat") as home:
            events = await _turn(home, "Which vegetables?", max_tokens=30)
            added, started, *_, ended = events
            assert added.message.text == "Be brief."
            assert isinstance(events[2], AnswerStarted), started
            assert (ended.state, ended.error) == (AnswerState.COMPLETE, None)
            assert ended.answer.text == _text(events) != ""
            sent = server.seen(CHAT)[0].json
            assert (sent["temperature"], sent["max_tokens"]) == (0.5, 30)
            again = (await _turn(home, "And herbs?", added.session_id[:8]))[0]
            assert again.session_id == added.session_id
            sent = server.seen(CHAT)[1].json["messages"]
            assert [one["role"] for one in sent] == ["system", "user", "assistant", "user"]
            (header,) = await home.sessions.list()
            assert header.session_id == added.session_id
        listed = Cli(home=tmp_path).json("sessions", "--json")["data"]
        assert [(one["id"], one["messages"]) for one in listed] == [(added.session_id, 5)]


async def test_a_prompt_is_edited_and_an_answer_retried_and_continued_as_another_version(
    configure, server
):
    folder = configure(server.url, "[chat]\nsystem_prompt = 'Be brief.'\n")

    async def say(*words, reply="Moss.", **more):
        server.on(CHAT, chat_reply(reply) if isinstance(reply, str) else reply)
        events = await _turn(home, *words, **more)
        return events, server.seen(CHAT)[-1].json["messages"]

    async with Home(folder) as home:
        (added, *_, ended), sent = await say("What grows?", system="Be rude.")
        first = added.message.message_id
        sid = added.session_id
        assert [one["content"] for one in sent] == ["Be rude.", "What grows?"]
        again, sent = await say("", sid, reply="Fern.", replaces=ended.answer.message_id)
        assert [one["content"] for one in sent] == ["Be rude.", "What grows?"]
        assert (again[-1].answer.text, again[-1].answer.version) == ("Fern.", 2)
        (other, *_), sent = await say("What blooms?", sid, system="Be rude.", replaces=first)
        assert [one["content"] for one in sent] == ["Be rude.", "What blooms?"]
        assert other.message.version == 2
        cut = sse({"choices": [{"delta": {"content": "Roses and"}}]}, Cut())
        broken, _ = await say("More?", sid, reply=cut)
        answer = broken[-1].answer
        assert answer.state is AnswerState.INTERRUPTED
        last, sent = await say("", sid, reply=" lilies.", continues=answer.message_id)
        assert last[-1].answer.text.split() == ["Roses", "and", "lilies."]
        assert sent[4] == {"role": "assistant", "content": "Roses and"}
        _, sent = await say("Soon?", sid, system="")
        assert "Be rude." not in str(sent)
        assert [one.text for one in (await home.sessions.read(sid)).messages if one.text] == [
            "Be rude.",
            "What blooms?",
            "Moss.",
            "More?",
            last[-1].answer.text,
            "Soon?",
            "Moss.",
        ]
        for words, more in (
            ("Soon?", {"replaces": last[-1].answer.message_id}),
            ("", {"replaces": first}),  # it is on another branch
            ("", {"continues": last[-1].answer.message_id}),
            ("Soon?", {"continues": answer.message_id}),
            ("", {"continues": answer.message_id, "system": "Be brief."}),
        ):
            with pytest.raises(RequestInvalid):
                await _turn(home, words, sid, **more)


async def test_a_turn_with_a_tool_asks_first_and_without_a_yes_no_tool_runs(
    configure, tmp_path, server
):
    folder = configure(server.url)
    (folder / "tools.py").write_text(FUNCTIONS, encoding="utf-8")
    call = calling(("python__add", '{"a": 3}'))
    asked = []

    async def approve(question):
        asked.append((question.name, question.message.tool_calls[0].arguments))
        return Decision(choice=scopes.pop(0), reason="Not today.")

    scopes = [ApprovalScope.ONCE, ApprovalScope.NO]
    async with Home(folder) as home:
        (ready,) = await home.tools.start()
        assert ready.state is ToolServerState.READY
        assert [tool.full_name for tool in ready.tools] == ["python/add", "python/fail"]
        for result in ("5", "Not today."):
            server.on(CHAT, call, chat_reply("Done."))
            events = await _turn(home, "Add 3.", approve=approve)
            ends = [event.message for event in events if isinstance(event, MessageEnded)]
            assert [message.role for message in ends] == ["assistant", "tool"]
            assert result in ends[1].tool_result
            assert _text(events) == "Let me see.Done."
        assert asked == 2 * [("python/add", '{"a": 3}')]
        server.on(CHAT, chat_reply("None."))
        await _turn(home, "Add 3.")
        assert "tools" not in server.seen(CHAT)[-1].json
        assert (await home.tools.call("python/add", {"a": 4})).text == "6"
        failed = await home.tools.call("python/fail", {"why": "no"})
        assert (failed.is_error, "no" in failed.text) == (True, True)
        with pytest.raises(WrongUse, match="There is no tool python/ad"):
            await home.tools.call("python/ad", {})
    (folder / "tools.py").unlink()
    write_servers(folder / "mcp.json", [FILES])
    configure(server.url, '[tools.approval]\n"files/echo" = "never"\n')
    async with Home(folder) as home:
        with pytest.raises(WrongUse, match="may never run"):
            await home.tools.call("files/echo", {"text": "a"})


async def test_no_prompt_goes_to_a_remote_model_that_only_a_file_names(configure, tmp_path, server):
    ollama_with_remote(server, REMOTE, remote=[REMOTE])
    for text in (f"model = '{REMOTE}'\n", f"[profiles.p]\nmodel = '{REMOTE}'\n", ""):
        folder = configure(server.url, text)
        async with Home(folder, profile="p" if "profiles" in text else "") as home:
            for name in ("", REMOTE.upper()):
                for ask in (
                    home.client.model(name),
                    _turn(home, "Hi", model=name),
                    home.client.chat("Hi", model=name),
                    home.client.chat_json("Hi", model=name),
                ):
                    with pytest.raises((RequestInvalid, WrongUse)):
                        await ask
            assert server.seen(CHAT) == server.seen("POST /api/chat") == []
    async with Home(folder) as home:
        remote = await home.client.model(REMOTE)
        assert remote.is_remote
        assert isinstance((await _turn(home, "Hi", model=REMOTE))[-1], TurnEnded)
    assert len(server.seen(CHAT)) == 1
    ollama_with_remote(server, REMOTE, "weeds:8b", remote=[REMOTE], loaded=["weeds:8b"])
    used = State().with_model(remote.server_id, REMOTE, is_remote=True)  # chosen on the screen
    change_state(folder / "state.toml", lambda _: used)
    async with Home(folder) as home:
        assert (await home.model()).model_id == "weeds:8b"


async def test_a_model_that_becomes_remote_gets_a_prompt_once_a_program_names_it_again(
    configure, server, monkeypatch
):
    monkeypatch.setattr(models, "RECENT_S", -1.0)  # else its list would be new for seconds
    folder = configure(server.url)

    def answer(seen):
        ollama_with_remote(server, "garden:8b", remote=["garden:8b"])
        return echo(seen)

    for name in ("", "garden:8b"):
        ollama_with_remote(server, "garden:8b", remote=[]).on(CHAT, answer)
        server.requests.clear()
        async with Home(folder) as home:
            assert (await _turn(home, "Hi", model=name))[-1].error is None
            error = (await _turn(home, "Hi", model=name))[-1].error
            assert "garden:8b does not run on this machine any more." in str(error)
            with pytest.raises(RequestInvalid):
                await _turn(home, "Hi")
            assert len(server.seen(CHAT)) == 1
            assert (await _turn(home, "Hi", model="garden:8b"))[-1].error is None
            assert len(server.seen(CHAT)) == 2


async def test_turns_of_two_sessions_run_at_once_and_a_session_has_one(configure, server):
    router(server, small="loaded")
    server.on(CHAT, sse("one", Hold()), sse("one", Hold()))
    async with Home(configure(server.url, "[limits]\n")) as home:
        first, second = (home.turn(prompt) for prompt in ("One?", "Two?"))
        async with aclosing(first), aclosing(second):
            ids = set()
            for turn in (first, second):
                async for event in turn:
                    if isinstance(event, MessageAdded):
                        ids.add(event.session_id)
                    if isinstance(event, AnswerStarted):
                        break
            assert ids == {header.session_id for header in await home.sessions.list()}
            with pytest.raises(RequestInvalid):
                await _turn(home, "Again?", min(ids))
        assert all(seen.client_left.wait(5) for seen in server.seen(CHAT))
        sessions = [
            await home.sessions.read(header.session_id) for header in await home.sessions.list()
        ]
        assert {one.messages[-1].state for one in sessions} <= {AnswerState.STOPPED}
        server.on(CHAT, chat_reply("Done."))
        await _turn(home, "Continue.", min(ids))
        assert len((await home.sessions.read(min(ids))).messages) == 4


async def test_of_two_turns_that_begin_together_one_is_refused_and_changes_nothing(
    configure, server
):
    router(server, small="loaded")
    async with Home(configure(server.url, "[chat]\nauto_truncate = false\n")) as home:
        saved = chat(*(f"{number}?" for number in range(70)))
        await home.sessions.add(saved)
        sid = saved.header.session_id
        for options in ({}, {"system": "Answer in verse."}):
            async with asyncio.timeout(10):
                first, second = await asyncio.gather(
                    _turn(home, "One?", sid),
                    _turn(home, "Two?", sid, **options),
                    return_exceptions=True,
                )
            assert isinstance(first[-1], TurnEnded)
            assert isinstance(second, RequestInvalid)
        texts = [one.text for one in (await home.sessions.read(sid)).messages]
        assert texts[70:] == ["One?", "Hello there."] * 2
        async with aclosing(home.turn("New?")) as events:
            added = await anext(events)  # before it is on the disk
            with pytest.raises(RequestInvalid):
                await _turn(home, "Newer?", added.session_id)
        await home.sessions.delete(added.session_id)
        new = await asyncio.gather(_turn(home, "Three?"), _turn(home, "Four?"))
        assert len({events[0].session_id for events in new}) == 2
        for word in (sid, ""):
            for options, error in (
                ({"temperature": 9}, WrongUse),
                ({"max_tokens": 5, "replaces": "none"}, RequestInvalid),
                ({"system": "Arr. " * 9000}, RequestInvalid),  # it does not fit
            ):
                with pytest.raises(error):
                    await _turn(home, "Five?", word, **{"system": "Be a pirate.", **options})
        assert len(await home.sessions.list()) == 3
        assert [one.text for one in (await home.sessions.read(sid)).messages] == texts


async def test_a_turn_that_is_cancelled_twice_keeps_its_session_until_it_has_ended(
    configure, server
):
    async with Home(configure(server.url)) as home:
        sid = (await _turn(home, "One?"))[0].session_id
        gate = Gate()
        server.on(CHAT, sse(gate, "half", Hold()), chat_reply("Other."))
        turn = asyncio.create_task(_turn(home, "Two?", sid))
        assert await asyncio.to_thread(gate.reached.wait, 5)
        for _ in range(2):
            turn.cancel()
            await asyncio.sleep(0)
        with pytest.raises(RequestInvalid):
            await _turn(home, "Three?", sid, system="Be a pirate.")
        await asyncio.wait([turn])
        gate.open()
        await asyncio.sleep(0.3)
        events = await _turn(home, "Four?", sid)
        assert events[-1].answer.text == "Other."
        texts = [one.text for one in (await home.sessions.read(sid)).messages]
        assert texts == ["One?", "Hello there.", "Two?", "", "Four?", "Other."]


async def test_a_home_that_closes_lets_no_turn_wait(configure, server):
    folder = configure(server.url)
    for steps in range(4, 48, 4):  # of the event loop, which the turn has for its beginning
        async with Home(folder) as home:
            sid = (await _turn(home, "Hi"))[0].session_id
            turn = asyncio.create_task(_turn(home, "More?", sid, system="Be rude."))
            for _ in range(steps):
                await asyncio.sleep(0)
        async with asyncio.timeout(5):
            (ended,) = await asyncio.gather(turn, return_exceptions=True)
        assert isinstance(ended, LMChatError) or isinstance(ended[-1], TurnEnded)


async def test_what_a_front_end_raises_comes_out_and_stops_the_turn(configure, server):
    folder = configure(server.url)
    write_servers(folder / "mcp.json", [FILES])
    asks = calling(("files__echo", '{"text": "a"}'))
    server.on(CHAT, *[asks] * 3, chat_reply("Done."))

    def fail(words):
        raise ValueError(words)

    async def approve(question):
        fail(question.name)

    async with Home(folder) as home:
        with pytest.raises(ValueError, match="files/echo"):
            await _turn(home, "Say a.", approve=approve)
        read = await home.sessions.read("last")
        assert read.messages[-1].tool_result == ""
        closed = asyncio.Future()
        closed.cancel()  # as a view that its user has closed
        with pytest.raises(asyncio.CancelledError):
            await _turn(home, "Say a.", approve=lambda _: closed)

    def leave(_):
        raise KeyboardInterrupt

    def end(_):
        raise SystemExit

    with SyncHome(folder) as home, pytest.raises(KeyboardInterrupt):
        list(home.turn(Ask(prompt="Say a.", approve=leave)))
    with SyncHome(folder) as home, pytest.raises(SystemExit):
        home.client.chat("Hi", show=end)
    with SyncHome(folder) as home, pytest.raises(SystemExit):
        home.tools.call("files/work", {"steps": 4}, tell=end)
    async with Home(folder) as home:
        with pytest.raises(ValueError, match="step 0"):
            await home.tools.call("files/work", {"steps": 4}, tell=fail)
        assert (await home.tools.call("files/echo", {"text": "again"})).text == "again"
    answers = iter(())
    server.on(CHAT, asks, chat_reply("Done."))
    with SyncHome(folder) as home, pytest.raises(RuntimeError):
        list(home.turn(Ask(prompt="Say a.", approve=lambda _: next(answers))))
    with SyncHome(folder) as home:
        assert home.client.chat("Hi").text == "Done."


async def test_a_closed_home_starts_nothing(configure, server):
    folder = configure(server.url)
    (folder / "tools.py").write_text(FUNCTIONS, encoding="utf-8")
    async with Home(folder) as home:
        model = await home.model()
        server.on(CHAT, sse("half", Cut()))
        assert (await _turn(home, "Hi"))[-1].error is not None
        with pytest.raises(WrongUse, match="No server of the last look has tiny"):
            home.client.beside(model)
    for call in (
        lambda: _turn(home, "Hi"),
        home.tools.start,
        lambda: home.tools.call("python/add", {"a": 3}),
        lambda: home.client.chat("Hi"),
        home.model,
    ):
        async with asyncio.timeout(5):
            with pytest.raises(WrongUse):
                await call()


async def test_a_run_sends_what_its_next_request_showed_and_has_what_came_of_it(
    configure, tmp_path, server
):
    folder = configure(server.url)
    llama_cpp(server)
    note = tmp_path / "beds.txt"
    note.write_text("Beans.")
    file = await read_attachment(note)
    wanted = SchemaOutput({"type": "object"})
    async with Home(folder) as home:
        sid = (await _turn(home, "What grows?"))[0].session_id
        before = await home.sessions.read(sid)
        with_all = {"start": " In May, ", "wanted": wanted, "system": "Be brief.", "files": [file]}
        for word, prompt, replaced, more in (
            ("", "And why?", None, {}),
            (sid, "And where?", None, with_all),
            (sid, "What blooms?", 0, {"max_tokens": 7, "system": '""'}),
            (sid, "", -1, {}),
        ):
            old = "" if replaced is None else before.messages[replaced].message_id
            ask = _ask(prompt, word, seed=3, replaces=old, **more)
            count = len(server.seen(CHAT))
            shown = await home.next_request(ask)
            assert len(server.seen(CHAT)) == count
            assert await home.sessions.read(sid) == before
            turn = home.run(ask)
            _ = [event async for event in turn.events]
            sent = server.seen(CHAT)[-1].json
            assert sent == json.loads(shown.json), more
            assert turn.answer.text == f"{more.get('start', '').rstrip()}Hello there."
            before = await home.sessions.read(sid)
        assert sent["messages"][-1]["content"] == "What blooms?"
        with pytest.raises(RequestInvalid):
            await home.next_request(_ask("", sid, continues=turn.answer.message_id, start="Oh"))
    async with Home(folder, is_temporary=True) as home:
        with pytest.raises(SessionNotFound):
            await home.next_request(_ask("Hi", sid))
        server.on(CHAT, sse("half", Hold()))
        turn = home.run(Ask(prompt="Hi"))
        async with aclosing(turn.events) as events:
            await _first_words(events)
        assert server.seen(CHAT)[-1].client_left.wait(5)
        assert (turn.answer.text, turn.ended.state) == ("half", AnswerState.STOPPED)
        assert turn.stats is not None
        server.on(CHAT, chat_reply("Whole."))
        assert (await _turn(home, "Go on", turn.session_id))[-1].answer.text == "Whole."
        assert len((await home.sessions.read("last")).messages) == 4
    with pytest.raises(WrongUse):
        await home.next_request(ask)


async def test_turns_leave_nothing_in_memory_and_no_draft(configure, tmp_path, server):
    async with Home(configure(server.url)) as home:

        def queues():
            gc.collect()
            return sum(isinstance(one, asyncio.Queue) for one in gc.get_objects())

        await _turn(home, "One?")
        count = queues()
        for _ in range(5):
            await _turn(home, "More?")
        assert queues() == count
        server.on(CHAT, sse("half", Hold()))
        turn = home.run(Ask(prompt="Forgotten?"))
        await _first_words(turn.events)
        await asyncio.sleep(0.5)  # drafts are written after 0.2 s
        with closing(sqlite3.connect(tmp_path / "lmchat/sessions.db")) as raw:
            assert raw.execute("select count(*) from drafts").fetchone() == (0,)
        del turn
        gc.collect()
        assert await asyncio.to_thread(server.seen(CHAT)[-1].client_left.wait, 5)


@pytest.mark.posix
def test_ctrl_c_ends_a_blocking_call_and_a_fork_is_told(configure, server):
    folder = configure(server.url)
    server.on(CHAT, error_reply(400, "No."), sse("one", Hold()), chat_reply("Two."))
    done = run([sys.executable, "-Wignore", "-c", INTERRUPTED, folder])
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines() == ["interrupted", "stopped", "Two.", "This client is closed."]


INTERRUPTED = """
import os, signal, sys, threading
from pathlib import Path
from lmchat.api import SyncHome, TextDelta, WrongUse

with SyncHome(Path(sys.argv[1])) as home:
    list(home.turn("Fail"))  # a program that sets up no logging sees no warning of it
    try:
        for event in home.turn("Hi"):
            if isinstance(event, TextDelta):
                threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT)).start()
    except KeyboardInterrupt:
        print("interrupted")
    print(home.sessions.read("last").messages[-1].state)
    print(home.client.chat("Again").text, flush=True)
    if not os.fork():
        try:
            home.model()
        except WrongUse as error:
            print(error.message)
    else:
        os.wait()
"""


async def test_a_session_that_is_read_and_added_elsewhere_is_whole(configure, tmp_path, server):
    note = tmp_path / "beds.txt"
    note.write_text("Beans.")
    folder = configure(server.url)
    async with Home(folder) as home:
        added, *_, ended = await _turn(home, "What grows?", files=[note])
        sid = added.session_id
        await _turn(home, "", sid, replaces=ended.answer.message_id)
        whole = await home.sessions.read(sid)
        async with Home(folder, is_temporary=True) as other:
            assert await other.sessions.add(whole)
            assert await other.sessions.read(sid) == whole
            assert await other.sessions.export(sid, "json") == await home.sessions.export(
                sid, "json"
            )
            await _turn(other, "And now?", sid)
            assert "Beans." in str(server.seen(CHAT)[-1].json["messages"])


async def test_what_was_not_sent_is_an_error_and_what_failed_is_an_end(configure, tmp_path, server):
    async with Home(configure(server.url)) as home:
        for words, options, error in (
            (("Hi", "none"), {}, SessionNotFound),
            (("Hi",), {"files": [tmp_path / "none.txt"]}, FileRefused),
            (("Hi",), {"temperature": "hot"}, WrongUse),
            ((" ",), {}, RequestInvalid),
        ):
            with pytest.raises(error):
                await _turn(home, *words, **options)
        assert server.seen(CHAT) == []
        assert await home.sessions.list() == ()
        server.on(CHAT, sse("half", Cut()))
        ended = (await _turn(home, "Hi"))[-1]
        assert (ended.state, ended.error.kind) == (AnswerState.INTERRUPTED, "interrupted")
        assert ended.answer.text == "half"
        gate = Gate()
        server.on(CHAT, sse("half", gate, finish(), DONE))
        events = []
        with pytest.raises(StoreUnavailable):  # noqa: PT012 - after its last event
            async with aclosing(home.turn("Hi")) as turn:
                async for event in turn:
                    events.append(event)
                    if isinstance(event, TextDelta):
                        with closing(sqlite3.connect(tmp_path / "lmchat/sessions.db")) as raw:
                            raw.execute(
                                "create trigger full before update on messages begin "
                                "select raise(fail, 'disk full'); end"
                            )
                        gate.open()
        assert isinstance(events[-1], TurnEnded)
    async with Home(configure("http://127.0.0.1:1")) as home:
        with pytest.raises(NoServerFound):
            await home.model()
    configure(server.url, "colour = 1\n")
    with pytest.raises(ConfigError, match="colour"):
        async with Home(tmp_path / "lmchat"):
            pass


async def test_files_go_with_the_prompt_and_options_are_those_of_the_user_below_the_given(
    configure, tmp_path, server
):
    note = tmp_path / "garden.md"
    note.write_text("Lettuce grows in shade.")
    text = "[chat]\ntemperature = 0.2\nseed = 3\n[profiles.warm]\ntemperature = 1.5\n"
    folder = configure(server.url, text)
    async with Home(folder, profile="warm") as home:
        await _turn(home, "What grows?", files=[note])
        sent = server.seen(CHAT)[0].json
        assert "Lettuce grows in shade." in str(sent["messages"][-1])
        assert sent["temperature"] == 1.5
        options = home.options(await home.model(), top_p=0.9)
        assert (options["temperature"], options["seed"], options["top_p"]) == (1.5, 3, 0.9)
        answer = await home.client.chat("Hi", **options)
        assert (answer.text, server.seen(CHAT)[1].json["top_p"]) == ("Hello there.", 0.9)


async def test_sessions_are_found_changed_and_exported_by_the_beginning_of_their_id(configure):
    saved = chat("Which vegetables?", "Lettuce.", title="Plan for the garden")
    word = saved.header.session_id[:6]
    async with Home(configure("http://127.0.0.1:1")) as home:
        sessions = home.sessions
        assert await sessions.add(saved)
        assert not await sessions.add(saved)
        assert [one.text for one in (await sessions.read(word)).messages] == [
            "Which vegetables?",
            "Lettuce.",
        ]
        assert [hit.session_id for hit in await sessions.search("lettuce")] == [
            saved.header.session_id
        ]
        await sessions.rename("last", "Moss")
        assert "Moss" in await sessions.export(word)
        assert '"Lettuce."' in await sessions.export(word, "json")
        with pytest.raises(WrongUse, match="cannot be exported as pdf"):
            await sessions.export(word, "pdf")
        await sessions.delete(word)
        assert (await sessions.list(), len(await sessions.list(is_trash=True))) == ((), 1)
        await sessions.restore("last")
        with pytest.raises(SessionNotFound):
            await sessions.restore(word)
        assert [header.title for header in await sessions.list()] == ["Moss"]
    async with Home(configure("http://127.0.0.1:1"), is_temporary=True) as home:
        assert await home.sessions.list() == ()


async def test_a_model_is_loaded_once(configure, server):
    router(server, small="unloaded", large="loaded")
    async with Home(configure(server.url)) as home:
        assert (await home.model()).model_id == "large"
        assert await home.load(await home.client.model("small")) is not None
        assert await home.load(await home.client.model("small")) is None
        router(server, small="unloaded").on("POST /models/load", error_reply(500, "No room."))
        with pytest.raises(ServerRejected, match="No room"):
            await home.load(await home.client.model("small"))
    server.forget()
    jan(server)
    async with Home(configure(server.url)) as home:
        assert await home.load(await home.model()) is None, "its first prompt loads it"
    with RecordedServer("mlx-lm") as mlx_lm:
        async with Home(configure(mlx_lm.url)) as home:
            chosen, *_ = await home.client.models()
            assert (chosen.product, chosen.state) == ("mlx_lm.server", "not loaded")
            assert await home.load(chosen) is None


async def test_a_wrong_address_in_the_configuration_costs_no_other_server(configure, server):
    text = '[[endpoints]]\nname = "a"\nurl = "http://a:99999"\ntimeouts = {health_s = 1}\n'
    async with Home(configure(server.url, text)) as home:
        assert (await home.model()).model_id == "tiny"


def test_the_blocking_face_does_the_same(configure, server):
    folder = configure(server.url)
    write_servers(folder / "mcp.json", [FILES])
    asks = calling(("files__echo", '{"text": "a"}'))
    server.on(CHAT, asks, chat_reply("Five."), chat_reply("Hello."))
    asked = []

    def approve(question):
        asked.append(question.name)
        return Decision(choice=ApprovalScope.ONCE)

    with SyncHome(folder) as home:
        added, *events, ended = home.turn(Ask(prompt="Say a.", approve=approve))
        assert (_text(events), ended.state) == ("Let me see.Five.", AnswerState.COMPLETE)
        assert asked == ["files/echo"]
        assert home.client.chat("Hi", **home.options(home.model())).text == "Hello."
        server.on(CHAT, chat_reply("None."))
        turn = home.run(Ask(prompt="Say a."))
        [*_, ended] = turn.events
        assert turn.answer == ended.answer
        assert (ended.state, len(asked)) == (AnswerState.COMPLETE, 1)
        assert "tools" not in server.seen(CHAT)[-1].json
        assert home.tools.call("files/echo", {"text": "6"}).text == "6"
        assert len(home.sessions.read(added.session_id).messages) == 4
    with pytest.raises(WrongUse, match="closed"):
        home.model()
    configure(server.url, "colour = 1\n")
    with pytest.raises(ConfigError), SyncHome(folder):
        pass


async def test_a_home_that_closes_stops_its_turns_and_saves_them(configure, server):
    folder = configure(server.url)
    server.on(CHAT, sse("one", Hold()))
    async with Home(folder) as home:
        turn = home.turn("Hi")
        await _first_words(turn)
    async with asyncio.timeout(5):
        assert isinstance([event async for event in turn][-1], TurnEnded)
    async with Home(folder) as home:
        assert (await home.sessions.read("last")).messages[-1].text == "one"
