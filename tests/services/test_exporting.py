from __future__ import annotations

from datetime import UTC

import pytest
from msgspec.structs import replace

from lmchat.errors import FileRefused, WrongUse
from lmchat.services.exporting import ExportAs, form_of
from lmchat.services.library import Library
from lmchat.sessions.message import AnswerState
from lmchat.sessions.session import MessagePath
from tests.support.chats import answer, answered_chats, header, reply, say
from tests.support.faults import NoRoomAfter


@pytest.fixture
def library(store):
    return Library(store, zone=UTC)


async def branched(store):
    """A session with an answer in two versions, each gone on with, and another first prompt."""
    session = header("Branches")
    asked = await say(store, session, "first question")
    old = await reply(store, session, "old answer", asked)
    await say(store, session, "after the old one", old)
    new = await reply(store, session, "new answer", asked)
    await say(store, session, "after the new one", new)
    await say(store, session, "first question, edited")
    await store.set_leaf(session.session_id, new.message_id)
    return session.session_id


async def test_a_session_is_exported_to_a_file(tmp_path, store, library):
    (one,) = await answered_chats(store, "Plan for the garden")
    session = await store.open_session(one)
    path = tmp_path / "out" / "plan.md"
    assert await library.exporter.export_file(session, path) == path
    assert path.read_text() == await library.exporter.export_text(session)
    assert "## You · 2026-11-20 08:00" in path.read_text()


async def test_a_folder_takes_the_export_under_a_name_of_its_own(tmp_path, store, library):
    (one,) = await answered_chats(store, "../../etc/passwd")
    path = await library.exporter.export_file(
        await store.open_session(one), tmp_path, ExportAs(form="json")
    )
    assert path == tmp_path / f"etc-passwd-{one[:8]}.json"
    assert path.exists()
    (tmp_path / "backup.d").mkdir()
    path = await library.exporter.export_file(await store.open_session(one), tmp_path / "backup.d")
    assert path.suffix == ".md"


async def test_of_all_sessions_one_that_is_not_exported_costs_itself_alone(
    tmp_path, store, library
):
    ids = await answered_chats(store, "one", "two", "three")
    await library.exporter.export_file(await store.open_session(ids[1]), tmp_path)
    exported = await library.exporter.export_several(ids, tmp_path)
    names = [path.name for path in exported.paths]
    assert names == [f"one-{ids[0][:8]}.md", f"three-{ids[2][:8]}.md"]
    ((refused, error),) = exported.refused
    assert (refused, exported.not_tried) == (ids[1], 0)
    assert isinstance(error, FileRefused)
    forced = await library.exporter.export_several(ids, tmp_path, is_forced=True)
    assert len(forced.paths) == 3


def test_the_ending_of_the_name_chooses_the_format(tmp_path):
    forms = {"a.JSON": "json", "a.htm": "html", "a": "md", "a.markdown": "md"}
    assert {name: form_of(tmp_path / name) for name in forms} == forms


async def test_an_unknown_format_is_refused_before_anything_is_written(tmp_path, store, library):
    (one,) = await answered_chats(store, "one")
    session = await store.open_session(one)
    with pytest.raises(WrongUse, match="pdf") as caught:
        await library.exporter.export_file(session, tmp_path / "a.pdf", ExportAs(form="pdf"))
    assert caught.value.hint == "The formats are md, json, html, txt."
    assert not (tmp_path / "a.pdf").exists()


async def test_branches_are_exported_where_they_are_wanted(tmp_path, store, library):
    session = await store.open_session(await branched(store))
    for form in ("md", "txt", "html"):
        plain = await library.exporter.export_text(session, ExportAs(form=form))
        whole = await library.exporter.export_text(session, ExportAs(form=form, with_branches=True))
        assert "old answer" not in plain
        assert all(
            whole.count(words) == 1
            for words in (
                "old answer",
                "after the old one",
                "new answer",
                "after the new one",
                "edited",
            )
        )
        assert "Another branch, after “first question”" in whole
        assert "Another beginning" in whole


async def test_what_is_shown_and_not_on_the_disk_is_exported_too(store, library):
    """An answer that arrives, or a message that a full disk did not take."""
    session = await store.open_session(await branched(store))
    last = session.messages[-1]
    newer = replace(last, parts=(replace(last.parts[0], text="newer words"),))
    unsaved = answer("half an ans", parent=last, state=AnswerState.STREAMING)
    shown = replace(session, messages=MessagePath((*session.messages[:-1], newer, unsaved)))
    text = await library.exporter.export_text(shown, ExportAs(with_branches=True))
    assert ("newer words" in text, "half an ans" in text, "after the new one" in text) == (
        True,
        True,
        False,
    )
    assert "> **Still streaming.**" in text


async def test_a_disk_that_is_full_ends_the_export_of_all_with_one_sentence(
    tmp_path, store, library, monkeypatch
):
    await answered_chats(store, *(f"chat {number}" for number in range(6)))
    monkeypatch.setattr(
        "lmchat.services.exporting.write_new_file", NoRoomAfter(2).write
    )  # no full disk here
    exported = await library.exporter.export_several(await library.every_id(), tmp_path / "all")
    assert (len(exported.paths), len(exported.refused), exported.not_tried) == (2, 1, 3)
    assert "No space left" in exported.refused[0][1].message
    assert len(list((tmp_path / "all").iterdir())) == 2
