"""Folders of other programs on this machine: their chats, and models of some. All of it blocks."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from lmchat.files import read_plain

_OPEN_WEB_UI = "open-webui/lib/python*/site-packages/open_webui/data/webui.db"
_TOOL_FOLDERS = ("uv/tools", "pipx/venvs")  # of programs that are Python packages


class ChatPlace(Struct, frozen=True, kw_only=True):
    """File or folder with the chats of another program."""

    source: str  # format
    program: str
    path: Path


def chat_places(environ: Mapping[str, str], home: Path) -> list[ChatPlace]:
    """Return the places that exist, each once."""
    places: dict[Path, ChatPlace] = {}
    for place in _possible_places(environ, home):
        with suppress(OSError):  # a folder above it may not be entered
            if place.path.exists():
                places.setdefault(place.path.resolve(), place)
    return list(places.values())


def lm_studio_folders(home: Path) -> list[Path]:
    """Return the possible folders of LM Studio, existing or not; first the one it was moved to."""
    folders = [home / ".cache" / "lm-studio", home / ".lmstudio"]
    with suppress(OSError):  # it does not exist
        named = read_plain(home / ".lmstudio-home-pointer").decode(errors="replace").strip()
        if named and "\0" not in named:
            folders.insert(0, Path(named))
    return folders


def jan_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folders in which Jan may keep its data; their place depends on its version."""
    bases: list[Path] = []
    for folder in (*_data_folders(environ, home), *_settings_folders(environ, home)):
        bases += [folder / "Jan", folder / "jan"]
    named = [_named_by_jan(base / "settings.json") for base in bases]
    moved = [Path(folder) for folder in named if folder]
    return [*moved, *(base / "data" for base in bases), home / "jan"]


def _data_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folders in which programs keep data on this system."""
    share = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    return [share, *_folders_of_system(environ, home)]


def _settings_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folders in which programs keep settings on this system."""
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    return [config, *_folders_of_system(environ, home)]


def _folders_of_system(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return the folder for data and settings of macOS or Windows."""
    if sys.platform == "darwin":
        return [home / "Library" / "Application Support"]
    if sys.platform == "win32":
        return [Path(environ.get("APPDATA") or home / "AppData" / "Roaming")]
    return []


def _possible_places(environ: Mapping[str, str], home: Path) -> Iterator[ChatPlace]:
    """Yield the places of each program, existing or not."""
    data = _data_folders(environ, home)
    settings = _settings_folders(environ, home)
    tools: list[Path] = []
    for folder in _TOOL_FOLDERS:
        tools += data[0].glob(f"{folder}/{_OPEN_WEB_UI}")

    def places(source: str, program: str, paths: list[Path]) -> Iterator[ChatPlace]:
        return (ChatPlace(source=source, program=program, path=path) for path in paths)

    def named(variable: str, name: str) -> list[Path]:
        folder = environ.get(variable)
        return [Path(folder) / name] if folder else []

    lm_studio = [folder / "conversations" for folder in lm_studio_folders(home)]
    jan = [folder / "threads" for folder in jan_folders(environ, home)]
    elia = [folder / "elia" / "elia.sqlite" for folder in data]
    oterm = [folder / "oterm" / "store.db" for folder in data]
    parllama = [home / ".parllama" / "chats", data[0] / "parllama" / "chats"]
    llm = [folder / "io.datasette.llm" / "logs.db" for folder in settings]
    yield from places("lmstudio", "LM Studio", lm_studio)
    yield from places("jan", "Jan", jan)
    yield from places("openwebui", "Open WebUI", named("DATA_DIR", "webui.db") + tools)
    yield from places("elia", "elia", elia)
    yield from places("oterm", "oterm", named("OTERM_DATA_DIR", "store.db") + oterm)
    yield from places("parllama", "parllama", named("PARLLAMA_DATA_DIR", "chats") + parllama)
    yield from places("llm", "llm", named("LLM_USER_PATH", "logs.db") + llm)


def _named_by_jan(settings: Path) -> str:
    """Return the data folder that Jan's settings name; empty without one."""
    try:
        named = json.loads(read_plain(settings)).get("data_folder")
    except (OSError, ValueError, AttributeError, RecursionError):  # no file, or no object of JSON
        return ""
    return str(named or "").partition("\0")[0]
