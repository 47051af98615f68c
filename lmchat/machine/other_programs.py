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

# Open WebUI keeps its chats among its Python modules, where `uv` or `pipx` has installed them.
_OPEN_WEB_UI = "open-webui/lib/python*/site-packages/open_webui/data/webui.db"
_TOOL_FOLDERS = ("uv/tools", "pipx/venvs")


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
    bases: list[Path] = []
    for folder in (*_data_folders(environ, home), *_settings_folders(environ, home)):
        bases += [folder / "Jan", folder / "jan"]
    folders_in_settings = [_data_folder_in_settings(base / "settings.json") for base in bases]
    moved = [Path(folder) for folder in folders_in_settings if folder]
    return [*moved, *(base / "data" for base in bases), home / "jan"]


def _data_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folders in which programs keep data: that of Linux, then that of this system.

    Some programs use the folder of Linux on macOS and Windows, too.
    """
    share = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return [share, *_folders_of_system(environ, home)]


def _settings_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folders in which programs keep settings: that of Linux, then of this system."""
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [config, *_folders_of_system(environ, home)]


def _folders_of_system(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folder of macOS or Windows for data and settings; none on other systems."""
    if sys.platform == "darwin":
        return [home / "Library" / "Application Support"]
    if sys.platform == "win32":
        return [Path(environ.get("APPDATA") or home / "AppData" / "Roaming")]
    return []


def _possible_places(environ: Mapping[str, str], home: Path) -> Iterator[ChatPlace]:
    """Yield the files or folders in which each program may keep its chats, existing or not.

    If a program has an environment variable for its folder, that folder comes first.
    """
    data = _data_folders(environ, home)
    settings = _settings_folders(environ, home)
    share, *_ = data  # the folder of Linux
    open_web_ui: list[Path] = []
    for folder in _TOOL_FOLDERS:
        open_web_ui += share.glob(f"{folder}/{_OPEN_WEB_UI}")

    def places(source: str, program: str, paths: list[Path]) -> Iterator[ChatPlace]:
        return (ChatPlace(source=source, program=program, path=path) for path in paths)

    def in_variable(variable: str, name: str) -> list[Path]:
        """Return the path of `name` in the folder that a variable names; none if it is not set."""
        folder = environ.get(variable)
        return [Path(folder) / name] if folder else []

    lm_studio = [folder / "conversations" for folder in lm_studio_folders(home)]
    jan = [folder / "threads" for folder in jan_folders(environ, home)]
    elia = [folder / "elia" / "elia.sqlite" for folder in data]
    oterm = [folder / "oterm" / "store.db" for folder in data]
    parllama = [home / ".parllama" / "chats", share / "parllama" / "chats"]
    llm = [folder / "io.datasette.llm" / "logs.db" for folder in settings]
    yield from places("lmstudio", "LM Studio", lm_studio)
    yield from places("jan", "Jan", jan)
    yield from places("openwebui", "Open WebUI", in_variable("DATA_DIR", "webui.db") + open_web_ui)
    yield from places("elia", "elia", elia)
    yield from places("oterm", "oterm", in_variable("OTERM_DATA_DIR", "store.db") + oterm)
    yield from places("parllama", "parllama", in_variable("PARLLAMA_DATA_DIR", "chats") + parllama)
    yield from places("llm", "llm", in_variable("LLM_USER_PATH", "logs.db") + llm)


def _data_folder_in_settings(settings: Path) -> str:
    """Return the data folder that a settings file of Jan names; empty if it names none."""
    try:
        folder = json.loads(read_plain(settings)).get("data_folder")
    except (OSError, ValueError, AttributeError, RecursionError):  # no file, or no object of JSON
        return ""
    path, _, _ = str(folder or "").partition("\0")  # a path with a NUL would raise an error
    return path
