"""Folders in which other programs of this machine keep their chats, and some their models.

Every function blocks.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from lmchat.files import read_plain


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


def lm_studio_folders(home: Path) -> list[Path]:
    """Return the possible folders of LM Studio, existing or not.

    If the user has moved LM Studio's folder, the new one is the first.
    """
    folders = [home / ".cache" / "lm-studio", home / ".lmstudio"]
    with suppress(OSError):  # no file: it was not moved
        pointer = read_plain(home / ".lmstudio-home-pointer").decode(errors="replace").strip()
        if pointer and "\0" not in pointer:  # a path with a NUL would raise an error
            folders.insert(0, Path(pointer))
    return folders


def jan_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folders in which Jan may keep its data, existing or not.

    Different versions of Jan use different folders. Folders that a settings file of Jan names come
    first: the user has moved the data there.
    """
    share = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    bases: list[Path] = []
    for folder in (share, *_settings_folders(environ, home)):
        bases += [folder / "Jan", folder / "jan"]
    folders_in_settings = [_data_folder_in_settings(base / "settings.json") for base in bases]
    moved = [Path(folder) for folder in folders_in_settings if folder]
    return [*moved, *(base / "data" for base in bases), home / "jan"]


def _settings_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folders in which programs keep settings: that of Linux, then of this system.

    Some programs use the folder of Linux on macOS and Windows, too.
    """
    folders = [Path(environ.get("XDG_CONFIG_HOME") or home / ".config")]
    if sys.platform == "darwin":
        folders.append(home / "Library" / "Application Support")
    elif sys.platform == "win32":
        folders.append(Path(environ.get("APPDATA") or home / "AppData" / "Roaming"))
    return folders


def _possible_places(environ: Mapping[str, str], home: Path) -> Iterator[ChatPlace]:
    """Yield the files or folders in which each program may keep its chats, existing or not."""
    for folder in lm_studio_folders(home):
        yield ChatPlace(source="lmstudio", program="LM Studio", path=folder / "conversations")
    for folder in jan_folders(environ, home):
        yield ChatPlace(source="jan", program="Jan", path=folder / "threads")
    llm_folders = [folder / "io.datasette.llm" for folder in _settings_folders(environ, home)]
    if llm_folder := environ.get("LLM_USER_PATH"):
        llm_folders.insert(0, Path(llm_folder))
    for folder in llm_folders:
        yield ChatPlace(source="llm", program="llm", path=folder / "logs.db")


def _data_folder_in_settings(settings: Path) -> str:
    """Return the data folder that a settings file of Jan names; empty if it names none."""
    try:
        folder = json.loads(read_plain(settings)).get("data_folder")
    except (OSError, ValueError, AttributeError, RecursionError):  # no file, or no object of JSON
        return ""
    path, _, _ = str(folder or "").partition("\0")  # a path with a NUL would raise an error
    return path
