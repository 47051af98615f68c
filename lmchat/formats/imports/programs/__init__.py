"""One module for each program whose chats can be imported, and their table `PROGRAMS`.

A module has a `Format` with the name `FORMAT`; that of llm, which reads a database, has `fits` and
`sessions`. The command line reads this table at its start, so this file imports little.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from lmchat.files.paths import jan_folders, lm_studio_folders, settings_folders

# of `--from`, beside other programs
OWN = "lmchat"
AUTO = "auto"  # any format


class Program(NamedTuple):
    """Program whose chats can be imported."""

    source: str  # of `--from`, and the tag of its sessions
    name: str  # for people
    module: str
    # where it may keep its files
    folders: Callable[[Mapping[str, str], Path], list[Path]] = lambda _environ, _home: []
    chats: str = ""  # in these folders: the file or folder with its chats


def _llm_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    named = environ.get("LLM_USER_PATH")
    usual = [folder / "io.datasette.llm" for folder in settings_folders(environ, home)]
    return [Path(named), *usual] if named else usual


# in this order; the first that fits
PROGRAMS = (
    Program(
        "lmstudio",
        "LM Studio",
        "lm_studio",
        lambda _environ, home: lm_studio_folders(home),
        "conversations",
    ),
    Program("jan", "Jan", "jan", jan_folders, "threads"),
    Program("openwebui", "Open WebUI", "open_webui"),
    Program("llm", "llm", "llm", _llm_folders, "logs.db"),
    Program("chatgpt", "ChatGPT", "chatgpt"),
    Program("claude", "Claude", "claude"),
    Program("llamacpp", "llama.cpp's web UI", "llama_cpp"),
)
# for people, by `--from`
PROGRAM_NAMES = {OWN: OWN} | {program.source: program.name for program in PROGRAMS}


class ChatPlace(NamedTuple):
    """File or folder with the chats of another program."""

    program: Program
    path: Path


def chat_places(environ: Mapping[str, str], home: Path) -> list[ChatPlace]:
    """Return the places of chats of other programs on this machine. Blocks.

    Empty folders are left out. A place to which several paths lead, as by links, is returned once.
    """
    places: dict[Path, ChatPlace] = {}
    for program in PROGRAMS:
        for folder in program.folders(environ, home):
            path = folder / program.chats
            with suppress(OSError):  # a folder above may not be entered
                if path.is_file() or any(path.glob("[!.]*")):  # a hidden file is no chat
                    places.setdefault(path.resolve(), ChatPlace(program, path))
    return list(places.values())
