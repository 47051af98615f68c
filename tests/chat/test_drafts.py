from __future__ import annotations

import pytest

from lmchat.chat.drafts import SavedTexts
from lmchat.errors import StoreUnavailable


class Disk:
    """Keeps drafts, or fails."""

    def __init__(self, **kept: str) -> None:
        self.kept = kept
        self.is_full = False
        self.writes = 0

    async def draft(self, session_id):
        if self.is_full:
            raise StoreUnavailable("no")
        return self.kept.get(session_id, "")

    async def save_draft(self, session_id, text):
        if self.is_full:
            raise StoreUnavailable("no")
        self.writes += 1
        self.kept[session_id] = text

    bookmark, save_bookmark = draft, save_draft


def drafts_on(**kept: str) -> tuple[Disk, SavedTexts]:
    disk = Disk(**kept)
    return disk, SavedTexts(disk, is_draft=True)


async def test_a_draft_is_loaded_once_and_written_when_it_has_changed():
    disk, drafts = drafts_on(a="old")
    await drafts.load("a")
    drafts.note("a", "new")
    await drafts.load("a")
    assert drafts.text("a") == "new"
    await drafts.write()
    await drafts.write()
    assert (disk.kept, disk.writes) == ({"a": "new"}, 1)
    drafts.note("a", "typed", ["first", "second"])  # what waits is not in the prompt
    await drafts.write()
    assert disk.kept["a"] == "first\n\nsecond\n\ntyped"
    assert drafts.text("a") == "typed"
    drafts.note("a", "")  # it was sent
    await drafts.write()
    assert disk.kept["a"] == ""


async def test_what_was_typed_before_the_old_one_was_read_does_not_replace_it():
    disk, drafts = drafts_on(a="old")
    for typed, kept in (("", "old"), ("new", "old\n\nnew"), ("newer", "old\n\nnewer"), ("", "old")):
        drafts.note("a", typed)
        await drafts.write()
        assert disk.kept["a"] == kept


async def test_a_failing_disk_costs_nothing_that_is_in_memory_and_is_tried_again():
    disk, drafts = drafts_on()
    await drafts.load("a")
    disk.is_full = True
    await drafts.load("b")
    drafts.note("a", "x")
    with pytest.raises(StoreUnavailable):
        await drafts.write()
    assert (drafts.text("a"), drafts.text("b")) == ("x", "")
    disk.is_full = False
    await drafts.write()
    assert disk.kept["a"] == "x"


async def test_two_lmchats_share_the_draft_of_new_sessions_and_neither_loses_a_letter():
    disk, ours = drafts_on(**{"": "old"})
    theirs = SavedTexts(disk, is_draft=True)
    assert [await ours.load(""), await theirs.load("")] == ["old", "old"]
    for drafts, text, kept in (
        (ours, "old a", "old a"),
        (theirs, "old b", "old a\n\nold b"),
        (ours, "old aa", "old aa\n\nold b"),
        (theirs, "old bb", "old aa\n\nold bb"),
        (ours, "", "old bb"),  # it was sent
        (ours, "c", "old bb\n\nc"),
        (theirs, "", "c"),
    ):
        drafts.note("", text)
        await drafts.write()
        assert disk.kept[""] == kept
