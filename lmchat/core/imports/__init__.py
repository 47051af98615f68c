"""One module for each program whose chats can be imported, and their table `PROGRAMS`.

The command line reads this table at its start, so this file imports little.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lmchat.base.files.paths import jan_folders, lm_studio_folders, settings_folders
from lmchat.core.formats.programs import OWN, Program


def _llm_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    named = environ.get("LLM_USER_PATH")
    usual = [folder / "io.datasette.llm" for folder in settings_folders(environ, home)]
    return [Path(named), *usual] if named else usual


# in this order; the first that fits
PROGRAMS = (
    Program(
        "lmstudio",
        "LM Studio",
        f"{__name__}.lm_studio",
        folders=lambda _environ, home: lm_studio_folders(home),
        chats="conversations",
    ),
    Program("jan", "Jan", f"{__name__}.jan", folders=jan_folders, chats="threads"),
    Program("openwebui", "Open WebUI", f"{__name__}.open_webui"),
    Program(
        "llm", "llm", f"{__name__}.llm", is_database=True, folders=_llm_folders, chats="logs.db"
    ),
    Program("chatgpt", "ChatGPT", f"{__name__}.chatgpt"),
    Program("claude", "Claude", f"{__name__}.claude"),
    Program("llamacpp", "llama.cpp's web UI", f"{__name__}.llama_cpp"),
    Program(OWN, OWN, f"{__name__}.message_list"),
)
