from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.base.errors import FileRefused
from lmchat.core.formats.exports.render import form_of
from lmchat.core.library.library import ExportAs, Library
from lmchat.core.sessions.message import AnswerState
from lmchat.core.sessions.session import MessagePath
from tests.support.chats import answer, answered_chats


@pytest.fixture
def library(store):
    return Library(store)


async def test_a_session_is_exported_to_a_file(tmp_path, store, library):
    (one,) = await answered_chats(store, "Plan for the garden")
    session = await store.open_session(one)
    path = tmp_path / "plan.md"
    assert await library.export_file(session, path) == path
    assert path.read_text(encoding="utf-8") == await library.export_text(session)
    assert "## You · 2026-11-20 08:00" in path.read_text(encoding="utf-8")
    with pytest.raises(FileRefused, match="An export needs a name"):  # stdout of a shell
        await library.export_file(session, Path("-"))


async def test_a_folder_takes_the_export_under_a_name_of_its_own(tmp_path, store, library):
    (one,) = await answered_chats(store, "../../etc/passwd")
    path = await library.export_file(await store.open_session(one), tmp_path, ExportAs(form="json"))
    assert path == tmp_path / f"etc-passwd-{one[:8]}.json"
    assert path.exists()
    (tmp_path / "backup.d").mkdir()
    path = await library.export_file(await store.open_session(one), tmp_path / "backup.d")
    assert path.suffix == ".md"


def test_the_ending_of_the_name_chooses_the_format(tmp_path):
    forms = {"a.JSON": "json", "a.htm": "html", "a": "md", "a.markdown": "md"}
    assert {name: form_of(tmp_path / name) for name in forms} == forms


async def test_branches_are_exported_where_they_are_wanted(store, library, branched):
    session = await store.open_session(await branched("Branches"))
    for form in ("md", "txt", "html"):
        plain = await library.export_text(session, ExportAs(form=form))
        whole = await library.export_text(session, ExportAs(form=form, with_branches=True))
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


async def test_what_is_shown_and_not_on_the_disk_is_exported_too(store, library, branched):
    """An answer that arrives, or a message that a full disk did not take."""
    session = await store.open_session(await branched("Branches"))
    last = session.messages[-1]
    newer = replace(last, parts=(replace(last.parts[0], text="newer words"),))
    unsaved = answer("half an ans", parent=last, state=AnswerState.STREAMING)
    shown = replace(session, messages=MessagePath((*session.messages[:-1], newer, unsaved)))
    text = await library.export_text(shown, ExportAs(with_branches=True))
    assert ("newer words" in text, "half an ans" in text, "after the new one" in text) == (
        True,
        True,
        False,
    )
    assert "> **Still streaming.**" in text
