"""Export of a session as text in one of `EXPORT_FORMATS`, and the names of exported files."""

from __future__ import annotations

import re
import unicodedata
from importlib import import_module
from pathlib import Path

from lmchat.base.errors import WrongUse
from lmchat.base.safe_text import safe_line
from lmchat.core.formats.exports import EXPORT_FORMATS
from lmchat.core.formats.exports.entries import PLAIN, WriteOptions
from lmchat.core.sessions.session import Session

_BY_SUFFIX = {f".{form}": form for form in EXPORT_FORMATS}
_BY_SUFFIX |= {"": "md", ".markdown": "md", ".htm": "html"}
_TITLE_CHARS = 50  # in a file name
_SHORT_CHARS = 24  # in a short one, which a user sees and changes
_RESERVED = re.compile(r"con|prn|aux|nul|(?:com|lpt)\d")  # by Windows, with any ending
_ID_CHARS = 8  # in a file name


def render(session: Session, form: str, options: WriteOptions = PLAIN) -> str:
    module, function = EXPORT_FORMATS[form].split(":")
    writer = getattr(import_module(f"lmchat.core.formats.{module}"), function)
    return str(writer(session, options))


def form_of(path: Path) -> str:
    """Return the format for a suffix, Markdown without one; raises `WrongUse`."""
    form = _BY_SUFFIX.get(path.suffix.lower())
    if form is None:
        suffix = safe_line(path.suffix, limit=20)
        raise WrongUse(
            f"Sessions cannot be exported as {suffix}; use .{', .'.join(EXPORT_FORMATS)}.",
            next_step="For another ending, choose the format with: lmchat export --format FORMAT",
        )
    return form


def export_name(session: Session, *, form: str = "md") -> str:
    """Make a file name of title and id, valid on every system: `Ferns-1f2e3d4c.md`.

    Letters with accents are composed (NFC), as most systems write them.
    """
    name = "-".join(_words_of_title(session))[:_TITLE_CHARS].strip("-_") or "session"
    short_id = re.sub(r"[^0-9A-Za-z]", "", session.header.session_id)[:_ID_CHARS]
    return f"{name}-{short_id}.{form}"


def short_name(session: Session) -> str:
    """Make a name without an ending of the first words of the title."""
    words = _words_of_title(session)
    while len(words) > 1 and len("-".join(words)) > _SHORT_CHARS:
        words.pop()
    name = "-".join(words)[:_SHORT_CHARS].strip("-_").lower() or "session"
    return f"{name}-session" if _RESERVED.fullmatch(name) else name


def _words_of_title(session: Session) -> list[str]:
    title = unicodedata.normalize("NFC", safe_line(session.header.title))
    # letters, marks on them (as vowels of Hindi), and digits
    return "".join(
        char if char.isalnum() or unicodedata.category(char)[0] == "M" else " " for char in title
    ).split()
