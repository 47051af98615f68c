from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from lmchat.core.formats.json_sessions import to_json
from lmchat.core.formats.reading import files_below
from lmchat.core.library.importer import Importer, ImportOutcome
from lmchat.core.library.library import ExportAs, Library
from lmchat.core.sessions.message import AnswerState, TextPart, ToolCallPart
from lmchat.core.sessions.session import MessagePath, Session
from tests.support.chats import (
    answer,
    chat,
    chat_with_tools,
    faults_in,
    header,
    list_of_exports,
    prompt,
    reply,
    say,
    start_session,
    store_at,
)
from tests.support.faults import no_room, no_root, open_folder
from tests.support.hostile_files import deep_folder

TALK = to_json(chat("Which vegetables?", "Lettuce.", title="Which vegetables?"))
OTHER = to_json(chat("Which herbs?", "Dill.", title="Which herbs?"))


@pytest.fixture
async def other(tmp_path):
    session = store_at(tmp_path / "there")
    yield session
    await session.aclose()


@pytest.fixture
def importer(store):
    return Importer(store)


def file_of(folder, value=TALK, name="talk.json"):
    path = folder / name
    path.write_text(value if isinstance(value, str) else json.dumps(value), encoding="utf-8")
    return str(path)


async def outcome_of(importer, *names):
    outcome = ImportOutcome()
    await importer.import_files(names, outcome)
    return outcome


async def import_all(importer, *names):
    """Import files none of which is refused."""
    outcome = await outcome_of(importer, *names)
    assert outcome.refused == []
    return outcome.chats


async def export_all(store, ids, folder):
    folder.mkdir()
    for session_id in ids:
        session = await store.open_session(session_id)
        await Library(store).export_file(session, folder, ExportAs(form="json"))


async def test_a_backup_of_all_sessions_comes_back_as_it_was(tmp_path, store, other, branched):
    for title in ("one", "two", "three"):
        await branched(title)
    (pinned, archived, *_) = await store.list_sessions()
    await store.update_session(pinned.session_id, {"is_pinned": True})
    await store.update_session(archived.session_id, {"is_archived": True})
    await store.update_session(pinned.session_id, {"tags": ("garden", "shade")})
    every_id = [header.session_id for header in await store.list_sessions()]
    await export_all(store, every_id, tmp_path / "backup")
    await import_all(Importer(other), str(tmp_path / "backup"))
    assert await other.list_sessions() == await store.list_sessions()
    for session_id in every_id:
        assert await other.tree(session_id) == await store.tree(session_id)
        assert await other.open_session(session_id) == await store.open_session(session_id)
    await export_all(other, every_id, tmp_path / "again")
    texts = [
        {path.name: path.read_text(encoding="utf-8") for path in (tmp_path / name).iterdir()}
        for name in ("backup", "again")
    ]
    assert len(texts[0]) == 3
    assert texts[0] == texts[1]


@pytest.mark.rule("R-36")
async def test_what_is_imported_is_found_and_gone_on_with_and_known_again(
    tmp_path, store, importer
):
    name = file_of(tmp_path)
    (one,) = await import_all(importer, name)
    session_id = one.header.session_id
    (hit,) = await store.search("lettuce")
    assert (hit.session_id, hit.title) == (session_id, "Which vegetables?")
    session = await store.open_session(session_id)
    assert session.header.message_count == 2
    more = await say(store, session.header, "And fruit?", session.messages[-1])
    await reply(store, session.header, "Berries.", more)
    await say(store, session.header, "Other", session.messages[0])
    assert len(await store.tree(session_id)) == 5
    await Library(store).rename(session_id, "Mine")
    (two,) = await import_all(importer, name)
    assert (two.outcome, two.header.title) == ("present", "Mine")
    assert (await store.open_session(session_id)).header.message_count == 5


def grown(session, *texts, after=-1):
    """Return a session as another machine has it, with prompts and answers behind a message."""
    messages = [*session.messages[: len(session.messages) + 1 + after]]
    for number, text in enumerate(texts):
        make = answer if number % 2 else prompt
        messages.append(make(text, parent=messages[-1]))
    tree = tuple({one.message_id: one for one in (*session.messages, *messages)}.values())
    return replace(session, messages=MessagePath(messages), tree=tree)


async def test_an_import_brings_what_a_chat_has_got_since(tmp_path, store, importer):
    first = chat("Which vegetables?", "Lettuce.", title="Garden")
    name = file_of(tmp_path, to_json(first))
    (one,) = await import_all(importer, name)
    session_id = one.header.session_id

    second = grown(first, "And fruit?", "Plums.")
    file_of(tmp_path, to_json(second))
    trial = ImportOutcome(is_trial=True)
    await importer.import_files([name, name], trial)
    assert [(one.outcome, one.new_messages) for one in trial.chats] == [
        ("would be continued", 2),
        ("present", 0),
    ]
    (one,) = await import_all(importer, name)
    assert (one.outcome, one.new_messages, one.is_shown) == ("continued", 2, True)
    assert (await store.open_session(session_id)).messages[-1].text == "Plums."
    assert [one.outcome for one in await import_all(importer, name)] == ["present"]

    mine = await store.open_session(session_id)
    asked = await say(store, mine.header, "Mine?", mine.messages[-1])
    file_of(tmp_path, to_json(grown(second, "And herbs?", "Dill.")))
    (one,) = await import_all(importer, name)
    assert (one.outcome, one.new_messages, one.is_shown) == ("continued", 2, False)
    assert (await store.open_session(session_id)).messages.leaf_id == asked.message_id
    assert {one.text for one in await store.tree(session_id)} >= {"Mine?", "Dill."}
    assert (await outcome_of(importer, name)).chats[0].outcome == "present"

    talk = chat_with_tools()
    call = replace(talk.messages[2], parts=talk.messages[2].parts[:1], state=AnswerState.STREAMING)
    running = replace(talk, messages=MessagePath((*talk.messages[:2], call)))
    for session, new in ((running, 3), (talk, 2), (talk, 0)):
        (one,) = await import_all(importer, file_of(tmp_path, to_json(session)))
        assert one.new_messages == new
    shown = (await store.open_session(talk.header.session_id)).messages
    assert [message.tool_result for message in shown[2:]] == ["Buy lettuce.", ""]


async def test_the_sessions_of_another_database_are_imported(tmp_path, store, other, importer):
    session, asked = await start_session(other, "Which herbs?")
    told = await reply(other, session, "Dill.", asked)
    thrown, _ = await start_session(other, "Which weeds?")
    await Library(other).delete(thrown.session_id)
    blank, only = await start_session(other, "Which blanks?")
    await other.delete_message(blank.session_id, only.message_id)
    database = other.database.path
    database.with_name("attachments").mkdir()
    database.with_name("attachments").joinpath("gone").symlink_to("nowhere")
    (chat,) = await import_all(importer, str(database))
    assert (chat.outcome, chat.header.session_id) == ("imported", session.session_id)
    assert await store.tree(session.session_id) == await other.tree(session.session_id)
    await say(other, session, "And fruit?", told)
    copy = tmp_path / "sessions (conflicted copy).db"
    await other.aclose()
    copy.write_bytes(database.read_bytes())
    (chat,) = await import_all(importer, str(copy))
    assert (chat.outcome, chat.new_messages) == ("continued", 1)
    assert copy.read_bytes() == database.read_bytes()


@pytest.mark.posix
async def test_a_database_that_brings_nothing_costs_itself_alone(tmp_path, store, other, importer):
    session, _ = await start_session(other, "Which herbs?")
    path = other.database.path
    await Library(other).delete(session.session_id)
    await other.aclose()
    newer = tmp_path / "newer.db"
    newer.write_bytes(path.read_bytes())
    with closing(sqlite3.connect(newer)) as raw:
        raw.execute("pragma user_version = 99")
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    names = [str(one) for one in (newer, path, pipe)]
    async with asyncio.timeout(5):
        outcome = await outcome_of(importer, *names, file_of(tmp_path))
    assert [chat.outcome for chat in outcome.chats] == ["imported"]
    reasons = ["newer version of lmchat", "no sessions outside of its trash", "not a regular file"]
    for name, reason, (refused, error) in zip(names, reasons, outcome.refused, strict=True):
        assert refused == name
        assert name in error.message
        assert reason in error.message


async def test_a_trial_tells_what_the_import_does_and_nothing_comes_twice(
    tmp_path, store, importer
):
    first = chat(*"ABCD", title="Garden")
    other_words = replace(first.messages[1], parts=(TextPart(text="B2"),))
    edited = grown(replace(first, messages=first.messages.replaced(other_words)), "E", "F")
    taken = replace(edited, header=header("Taken"))  # its messages have the ids of another's
    sessions = {"first": first, "more": grown(first, "G"), "edited": edited, "taken": taken}
    names = [file_of(tmp_path, to_json(one), f"{name}.json") for name, one in sessions.items()]

    async def told(*names):
        found = []
        for is_trial in (True, False):
            outcome = ImportOutcome(is_trial=is_trial)
            await importer.import_files(names, outcome)
            found.append(
                [
                    (one.outcome.removeprefix("would be "), one.new_messages, one.is_shown)
                    for one in outcome.chats
                ]
            )
        assert found[0] == found[1]
        return [one[:2] for one in found[1]]

    assert await told(*names, names[0]) == [
        ("imported", 4),
        ("continued", 1),
        ("continued", 5),
        ("imported", 6),
        ("present", 0),
    ]
    session_id = first.header.session_id
    await store.delete_message(session_id, first.messages[2].message_id)
    for _ in range(2):
        assert await told(*reversed(names)) == [("present", 0)] * 4
    more = file_of(tmp_path, to_json(grown(sessions["more"], "H")), "more.json")
    assert await told(more) == [("continued", 1)]  # below the deleted message
    await Library(store).delete(session_id)
    assert await told(more) == [("in trash", 0)]
    await store.purge(session_id)
    assert await told(names[3]) == [("present", 0)]


@pytest.mark.posix
async def test_a_file_that_is_refused_costs_itself_alone_and_is_named(tmp_path, store, importer):
    names = [
        file_of(tmp_path),
        file_of(tmp_path, "# notes", "notes.md"),
        str(tmp_path / "none.json"),
    ]
    long = str(tmp_path / f"{'x' * 300}.json")
    outcome = await outcome_of(importer, *names, long)
    assert len(outcome.chats) == 1
    messages = [error.message for _, error in outcome.refused]
    hints = [error.next_step for _, error in outcome.refused]
    assert (
        messages[0]
        == f"{names[1]}: It is Markdown, which cannot be imported; export the session as JSON."
    )
    assert all(hints)
    assert messages[1] == f"{names[2]} does not exist."
    assert messages[2] == f"{long} cannot be read: File name too long."
    assert len(await store.list_sessions()) == 1


async def test_a_message_of_another_session_is_never_written_over(tmp_path, store, importer):
    """A file made such that its message has the id of one that is there, in a session that is not."""
    mine = header("mine")
    asked = await say(store, mine, "my words")
    kept = await store.open_session(mine.session_id)
    evil = replace(
        kept,
        header=header("evil"),
        messages=(replace(asked, parts=(TextPart(text="evil words"),)),),
    )
    text = await Library(store).export_text(evil, ExportAs(form="json"))
    (one,) = await import_all(importer, file_of(tmp_path, text))
    assert one.outcome == "imported"
    assert (await store.open_session(mine.session_id)) == kept
    imported = await store.open_session(one.header.session_id)
    assert [message.text for message in imported.messages] == ["evil words"]


@pytest.mark.posix
async def test_a_disk_that_gets_full_keeps_whole_sessions_and_is_told_once(
    tmp_path, store, importer
):
    text = "word " * 5_000
    name = file_of(tmp_path, list_of_exports(50, text, text))
    other = file_of(tmp_path, name="other.json")
    with no_room(1 << 20):
        outcome = await outcome_of(importer, name, other)
    ((_, error),) = outcome.refused
    assert error.message.startswith(f"{name}: sessions.db ")
    assert error.message.endswith("cannot be used: the disk is full.")
    assert error.next_step == "Free some disk space."  # nothing is saved later
    assert 0 < len(outcome.chats) < 50
    kept = await store.list_sessions()
    assert {header.session_id for header in kept} >= {
        chat.header.session_id for chat in outcome.chats
    }
    assert {header.message_count for header in kept} == {2}
    outcomes = [chat.outcome for chat in await import_all(importer, name)]
    assert outcomes.count("imported") == 50 - len(kept)
    assert faults_in(store.database.path) == ""


async def test_a_large_number_costs_no_chat(tmp_path, importer):
    asked = prompt("Which vegetables?")
    options = {"seed": 10**30, "stop": ["a", 0.5]}
    session = Session(header=replace(header("t"), sampling=options), messages=MessagePath((asked,)))
    (one,) = await import_all(importer, file_of(tmp_path, to_json(session)))
    assert one.header.sampling == {"seed": 1e30, "stop": ["a", 0.5]}


async def test_a_file_that_ends_its_reader_costs_itself_alone(tmp_path, store):
    others = psutil.Process().children()
    killed = []

    def kill_reader(_):
        if not killed:
            killed.extend(child for child in psutil.Process().children() if child not in others)
            killed[0].kill()

    count = 20_000
    names = [file_of(tmp_path, list_of_exports(count, "Peas?"), "many.json"), file_of(tmp_path)]
    outcome = ImportOutcome(is_trial=True)
    importer = Importer(store, quiet_s=0)
    await importer.import_files(names, outcome, report_progress=kill_reader)
    ((name, error),) = outcome.refused
    assert (name, "the process reading it ended" in error.message) == (names[0], True)
    assert 0 < len(outcome.chats) < count
    assert outcome.chats[-1].header.title == "Which vegetables?"


async def test_of_a_folder_what_may_be_an_export_is_imported_once(tmp_path, importer):
    folder = tmp_path / "chats"
    folder.mkdir()
    outcome = await outcome_of(importer, str(folder))
    assert "has no readable file" in outcome.refused[0][1].message
    file_of(folder, {"a": 1}, "settings.json")
    file_of(folder, "text", "notes.txt")
    file_of(folder, "text", ".hidden.json")
    (folder / ".hidden").mkdir()
    file_of(folder / ".hidden")
    (folder / "sub.json").mkdir()
    outcome = await outcome_of(importer, str(folder))
    assert "has no chats" in outcome.refused[0][1].message
    (folder / "deep" / "deeper").mkdir(parents=True)
    name = file_of(folder / "deep" / "deeper")
    outcome = await outcome_of(importer, str(folder), name)
    assert [chat.outcome for chat in outcome.chats] == ["imported", "present"]
    assert (outcome.unknown_count, outcome.refused) == (1, [])


@pytest.mark.posix
def test_a_folder_that_cannot_be_read_is_not_passed_over_in_an_import():
    with open_folder() as folder:
        name = Path(file_of(folder))
        (folder / "closed").mkdir(mode=0o000)
        with no_root():
            assert files_below(folder / "closed") == [folder / "closed"]
            assert files_below(folder) == [name, folder / "closed"]


async def test_no_call_of_a_file_waits_to_be_run(tmp_path, store, importer):
    """A call without a result would look like one that the user may still allow."""
    asked = prompt("Clean up.")
    calling = answer(ToolCallPart(call_id="c1", name="wipe", arguments="{}"), parent=asked)
    own = to_json(Session(header=header("t"), messages=MessagePath((asked, calling))))
    (one,) = await import_all(importer, file_of(tmp_path, own))
    last = (await store.open_session(one.header.session_id)).messages[-1]
    assert (last.text.strip(), last.tool_calls) == ("> Tool call: wipe()", ())


@pytest.mark.posix
async def test_chats_in_very_deep_folders_are_found(importer):
    with deep_folder() as top:
        file_of(top / "e", to_json(chat(title="Hi")))
        file_of(top.joinpath(*["e"] * 1050), to_json(chat(title="Deep")))
        chats = await import_all(importer, str(top))
        assert [chat.header.title for chat in chats] == ["Hi", "Deep"]
