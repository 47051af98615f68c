from __future__ import annotations

from lmchat.errors import StoreUnavailable
from lmchat.services.open_sessions import Bookmarks


class Shelf:
    """A store of places that counts what is written, and may fail."""

    def __init__(self, **places: str) -> None:
        self.places = places
        self.written: list[tuple[str, str]] = []
        self.is_broken = False

    async def place(self, session_id: str) -> str:
        if self.is_broken:
            raise StoreUnavailable("No disk.")
        return self.places.get(session_id, "")

    async def save_place(self, session_id: str, place: str) -> None:
        if self.is_broken:
            raise StoreUnavailable("No disk.")
        self.written.append((session_id, place))


async def test_a_place_is_found_again_and_written_once():
    shelf = Shelf(one="m 1 2")
    marks = Bookmarks(shelf)
    assert await marks.find("one") == "m 1 2"
    assert marks.is_at("one", "m 1 2")
    await marks.write()
    assert shelf.written == []
    marks.note("one", "n 0 0")
    assert await marks.find("one") == "n 0 0"
    await marks.write()
    await marks.write()
    assert shelf.written == [("one", "n 0 0")]


async def test_who_reads_at_the_end_writes_nothing():
    shelf = Shelf()
    marks = Bookmarks(shelf)
    assert marks.is_at("new", "")
    marks.note("new", "")
    await marks.write()
    assert shelf.written == []


async def test_what_could_not_be_written_is_written_later_and_what_cannot_be_read_is_the_end():
    shelf = Shelf(one="m 1 2")
    marks = Bookmarks(shelf)
    shelf.is_broken = True
    assert await marks.find("other") == ""
    marks.note("other", "m 3 4")
    try:
        await marks.write()
    except StoreUnavailable:
        shelf.is_broken = False
    await marks.write()
    assert shelf.written == [("other", "m 3 4")]
