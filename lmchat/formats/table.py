"""Table of the programs whose chats can be imported.

The command line reads it, so it imports little.
"""

from __future__ import annotations

from typing import NamedTuple

OWN = "lmchat"
AUTO = "auto"  # any format


class ImportFormat(NamedTuple):
    """Program, and the module that reads its chats: `FORMATS` there has its file formats."""

    source: str  # name for `--from`, and the tag of its sessions
    program: str
    module: str


IMPORT_FORMATS = (
    ImportFormat("lmstudio", "LM Studio", "lm_studio_chats"),
    ImportFormat("jan", "Jan", "jan_chats"),
    ImportFormat("openwebui", "Open WebUI", "open_webui_chats"),
    ImportFormat("elia", "elia", "elia_chats"),
    ImportFormat("oterm", "oterm", "oterm_chats"),
    ImportFormat("parllama", "parllama", "parllama_chats"),
    ImportFormat("llm", "llm", "llm_chats"),
    ImportFormat("chatgpt", "ChatGPT", "chatgpt_chats"),
    ImportFormat("llamacpp", "llama.cpp's web UI", "llama_cpp_chats"),
)
PROGRAMS = {OWN: OWN} | {row.source: row.program for row in IMPORT_FORMATS}
"""Names of programs by those for `--from`."""
