"""Folders in which other programs of this machine keep their chats.

Every function blocks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from lmchat.files.paths import jan_folders, lm_studio_folders, settings_folders


class ChatPlace(Struct, frozen=True, kw_only=True):
    """File or folder with the chats of another program."""

    source: str  # name of its format, as in `lmchat import --from`
    program: str  # name for people
    path: Path


def chat_places(environ: Mapping[str, str], home: Path) -> list[ChatPlace]:
    """Return the places of chats of other programs that exist.

    A place to which several paths lead, as by links, is returned once, for the first path.
    """
    places_by_path: dict[Path, ChatPlace] = {}
    for place in _possible_places(environ, home):
        with suppress(OSError):  # a folder above it may not be entered
            if place.path.exists():
                places_by_path.setdefault(place.path.resolve(), place)
    return list(places_by_path.values())


def _possible_places(environ: Mapping[str, str], home: Path) -> Iterator[ChatPlace]:
    """Yield the files or folders in which each program may keep its chats, existing or not."""
    for folder in lm_studio_folders(home):
        yield ChatPlace(source="lmstudio", program="LM Studio", path=folder / "conversations")
    for folder in jan_folders(environ, home):
        yield ChatPlace(source="jan", program="Jan", path=folder / "threads")
    llm_folders = [folder / "io.datasette.llm" for folder in settings_folders(environ, home)]
    if llm_folder := environ.get("LLM_USER_PATH"):
        llm_folders.insert(0, Path(llm_folder))
    for folder in llm_folders:
        yield ChatPlace(source="llm", program="llm", path=folder / "logs.db")
