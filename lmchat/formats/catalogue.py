"""Which formats there are, and how a session gets into one; a format is imported when first used."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from datetime import UTC, tzinfo
from importlib import import_module
from typing import Any

from lmchat.domain.session import Session
from lmchat.errors import WrongUse
from lmchat.text import safe_line

_MODULES = {
    "md": ("lmchat.formats.markdown", "to_markdown"),
    "json": ("lmchat.formats.json_format", "to_json"),
    "html": ("lmchat.formats.html_page", "to_html"),
    "txt": ("lmchat.formats.plain_text", "to_text"),
}
"""By the ending of a file's name: markdown-it, for HTML, costs more than all of the others."""
FORMATS = tuple(_MODULES)
"""Names of the formats, which are also the endings of files."""
_LONGEST_NAME = 50


def render(
    session: Session, *, form: str = "md", with_reasoning: bool = False, zone: tzinfo | None = UTC
) -> str:
    """Return a session in a format; JSON always holds everything.

    Raises:
        WrongUse: there is no such format.
    """
    if form not in _MODULES:
        raise WrongUse(f"There is no format “{safe_line(form)}”.", hint=f"There are {', '.join(FORMATS)}.")
    module, name = _MODULES[form]
    function: Callable[..., Any] = getattr(import_module(module), name)
    if form == "json":
        return str(function(session))
    return str(function(session, with_reasoning=with_reasoning, zone=zone))


def export_name(session: Session, *, form: str = "md", id_length: int = 8) -> str:
    """Propose a file name: words of the title, told apart by the id, valid on every system."""
    plain = unicodedata.normalize("NFC", safe_line(session.header.title))
    words = re.findall(r"\w+", plain.replace("\ufffd", " "))
    name = "-".join(words)[:_LONGEST_NAME].strip("-_") or "session"
    identity = re.sub(r"[^0-9A-Za-z]", "", session.header.session_id)[:id_length]
    return f"{name}-{identity}.{form}"
