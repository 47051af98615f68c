"""Table of the programs whose chats can be imported.

The command line reads it, so it imports little.
"""

from __future__ import annotations

from typing import NamedTuple

# Values of `--from` beside those of other programs.
OWN = "lmchat"
AUTO = "auto"  # any format


class ImportFormat(NamedTuple):
    """Program whose chats can be imported, and the module that reads them."""

    source: str  # value of `--from`, and the tag of the program's sessions
    program: str  # name of the program for people
    module: str  # in `lmchat.formats`; its `FORMATS` has the file formats of the program


IMPORT_FORMATS = (
    ImportFormat("lmstudio", "LM Studio", "lm_studio_chats"),
    ImportFormat("jan", "Jan", "jan_chats"),
    ImportFormat("openwebui", "Open WebUI", "open_webui_chats"),
    ImportFormat("llm", "llm", "llm_chats"),
    ImportFormat("chatgpt", "ChatGPT", "chatgpt_chats"),
    ImportFormat("llamacpp", "llama.cpp's web UI", "llama_cpp_chats"),
)
PROGRAMS = {OWN: OWN} | {row.source: row.program for row in IMPORT_FORMATS}
"""Names of programs for people, by the values of `--from`."""
