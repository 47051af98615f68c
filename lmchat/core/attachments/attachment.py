"""Files for a prompt: images, texts and the text of PDFs, checked before they are attached."""

from __future__ import annotations

import codecs
import os
import re
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import FileRefused
from lmchat.base.extras import install_command
from lmchat.base.files.disk import read_plain, unreadable
from lmchat.base.files.images import fit_image, image_format, image_type
from lmchat.base.files.paths import home_folder
from lmchat.base.processes.background import in_thread, run_abandonable
from lmchat.base.processes.child import ChildEndedError, ChildProcess
from lmchat.base.safe_text import WINDOWS, encoding_of, safe_line
from lmchat.base.token_estimate import estimate_tokens
from lmchat.core.attachments.dropped_files import existing_path
from lmchat.core.attachments.pdf_text_child import PdfText
from lmchat.core.sessions.message import FilePart

MAX_TEXT_BYTES = 1_000_000  # more than the window of most local models
MAX_READ_BYTES = 100_000_000  # of an image before it is scaled, or of a PDF
_MAX_NAME_CHARS = 200
_CONTROLS = re.compile(r"[\x01-\x06\x0e-\x1a]")  # no text has them, in any encoding
_FOREIGN_WORD = re.compile(r"\w{0,30}[^\0-\x7f]\w{0,30}")
_PDF_HEAD = b"%PDF-"
# beginnings of documents that are not read
_DOCUMENTS = {
    b"{\\rtf": "a Rich Text document",
    b"\x1f\x8b": "a gzip file",
    b"PK\3\4": "a ZIP file, as office documents and e-books are",
    b"\xd0\xcf\x11\xe0": "an older office document or mail",
}
_PDF_HEAD_BYTES = 1024  # in which a PDF starts
_PDF_OBJECT = re.compile(rb"[\r\n]\d{1,10} \d{1,5} obj\b")
_PDF_CHILD = "lmchat.core.attachments.pdf_text_child"
_PDF_S = 120  # a book takes about 20 s


class Attachment(Struct, frozen=True, kw_only=True):
    """A file for a prompt."""

    part: FilePart
    data: bytes = b""  # as stored and sent; empty if the store has it


class ClipboardReader(Protocol):
    """The clipboard of the system."""

    async def paste(self) -> str:
        """Raises `FileRefused` where the text cannot be read."""

    async def paste_image(self) -> bytes:
        """Return b"" if there is none."""

    async def paste_files(self) -> str:
        """Return `file:` addresses, one a line, or ""."""


@in_thread
def files_outside(paths: Sequence[Path], folder: Path) -> tuple[Path, ...]:
    """Return those that exist outside `folder`: the user has to allow them.

    Relative paths start at `folder`. Links are followed, and their targets returned. If the home
    folder is `folder` or below it, hidden files and folders count as outside: programs keep keys
    there.
    """
    real_folder = Path(os.path.realpath(folder))
    home = Path(os.path.realpath(home_folder()))
    has_home = home.is_relative_to(real_folder)
    targets_outside: list[Path] = []
    for path in paths:
        # `realpath` follows any number of links by calling itself
        existing = existing_path(folder / path)
        if not os.path.exists(existing):  # noqa: PTH110 - Path raises for some names
            continue
        target = Path(os.path.realpath(existing))
        is_outside = not target.is_relative_to(real_folder)
        is_hidden = any(name.startswith(".") for name in target.parts)
        if is_outside or (is_hidden and has_home):
            targets_outside.append(target)
    return tuple(targets_outside)


async def read_attachment(path: Path, *, may_stream: bool = False) -> Attachment:
    """Raises `FileRefused`, also for a pipe or device unless it `may_stream`."""
    data = await _read(path, may_stream=may_stream)
    name = safe_line(path.name, limit=_MAX_NAME_CHARS)
    return await attachment_of(name, data, language=language_of(name))


@in_thread
def _read(path: Path, *, may_stream: bool) -> bytes:
    """Raises `FileRefused`."""
    try:
        path = existing_path(path)
        return read_plain(path, max_bytes=MAX_READ_BYTES, may_stream=may_stream)
    except OSError as error:
        raise unreadable(path, error, max_bytes=MAX_READ_BYTES) from error


async def attachment_of(name: str, data: bytes, *, language: str = "") -> Attachment:
    """Raises `FileRefused`. `language` is for the code fence of a text.

    What is neither an image nor a PDF by its content is taken for a text.
    """
    if (found := await file_attachment(name, data)) is not None:
        return found
    attachment = await run_abandonable(
        lambda: text_attachment(name, "text/plain", data, language=language)
    )
    if not attachment.data:
        raise FileRefused(f"{name} is empty.", next_step="Choose another file.")
    return attachment


async def file_attachment(name: str, data: bytes) -> Attachment | None:
    """Return None for what is neither image nor PDF; raises `FileRefused`."""
    if image_format(data):
        return await run_abandonable(lambda: image_attachment(name, data))
    if is_pdf(data):
        return await _pdf_attachment(name, data)
    return None


def is_pdf(data: bytes) -> bool:
    """Allow other bytes before a PDF, as viewers do.

    They may be a byte order mark, or the head of a reply of HTTP. A text about PDFs is none.
    """
    at = data.find(_PDF_HEAD, 0, _PDF_HEAD_BYTES)
    return at == 0 or (at > 0 and _PDF_OBJECT.search(data, at) is not None)


def language_of(name: str) -> str:
    # blanks and backticks are not allowed behind the marks of a code fence
    return re.sub(r"[\s`]", "", Path(name).suffix.removeprefix("."))


def image_attachment(name: str, data: bytes) -> Attachment:
    """Raises `FileRefused`. Blocks."""
    image = fit_image(name, data)
    part = _file_part(name, image_type(image.data), image.data, tokens=image.tokens)
    part = replace(part, width=image.width, height=image.height, left_out=image.left_out)
    return Attachment(part=part, data=image.data)


def text_of(name: str, data: bytes) -> str:
    """Return the text of a file without its byte order mark; CRLF becomes LF.

    Raises `FileRefused` for bytes that are no text.
    """
    for beginning, kind in _DOCUMENTS.items():
        if data.removeprefix(codecs.BOM_UTF8).startswith(beginning):
            raise FileRefused(f"{name} is {kind}.", next_step="Save it as text or PDF.")
    encoding = encoding_of(data)
    text = data.decode(encoding or WINDOWS, "replace")
    is_utf_8 = text.encode() == data.removeprefix(codecs.BOM_UTF8)
    # UTF-8 text may have control characters, as the log of a terminal has. Elsewhere, they show
    # that it is no text.
    if "\0" in text or (not is_utf_8 and _CONTROLS.search(text)):
        raise FileRefused(
            f"{name} is neither text nor a PDF nor an image of a known kind.",
            next_step="Convert it to one of them.",
        )
    if not encoding:
        raise FileRefused(f"{name} is text in an unknown encoding.", next_step="Save it as UTF-8.")
    return text.replace("\r\n", "\n")


def text_attachment(name: str, media_type: str, data: bytes, *, language: str = "") -> Attachment:
    """Convert a text to UTF-8; raises `FileRefused`. `language` is for its code fence."""
    text = text_of(name, data)
    content = text.encode()
    if len(content) > MAX_TEXT_BYTES:
        raise FileRefused(
            f"{name} has more than {MAX_TEXT_BYTES // 1_000_000} MB of text.",
            next_step="Save the part you need as a separate file.",
        )
    part = _file_part(name, media_type, content, tokens=estimate_tokens(text))
    part = replace(part, language=language, left_out=decoding_note(data))
    return Attachment(part=part, data=content)


def decoding_note(data: bytes) -> str:
    encoding = encoding_of(data)
    if encoding == WINDOWS:
        word = _FOREIGN_WORD.search(data.decode(encoding))
        return f"taken for Windows-1252, as in {word[0]}" if word else ""
    try:
        data.decode(encoding)
    except UnicodeDecodeError:
        return "not all of its bytes are UTF-8, the others are lost"
    return ""


def _file_part(name: str, media_type: str, data: bytes, *, tokens: int) -> FilePart:
    from hashlib import sha256  # noqa: PLC0415 - not before the first paint

    return FilePart(
        name=name,
        media_type=media_type,
        digest=sha256(data).hexdigest(),
        size=len(data),
        tokens=tokens,
    )


async def _pdf_attachment(name: str, data: bytes) -> Attachment:
    """Say in a line of the text what it lacks; raises `FileRefused`."""
    if find_spec("pypdf") is None:
        raise FileRefused(
            f"{name} is a PDF, which cannot be read without pypdf.",
            next_step=f"Install it: {install_command('pdf')}",
        )
    pdf = data[data.find(_PDF_HEAD) :]  # places in a PDF are counted from its head
    try:
        reply = await ChildProcess.answer(_PDF_CHILD, pdf, timeout_s=_PDF_S)
    except ChildEndedError:
        raise FileRefused(
            f"{name} is too complicated to be turned into text.",
            next_step="Save the pages you need as a separate PDF.",
        ) from None
    found = msgspec.json.decode(reply, type=PdfText)
    if found.problem:
        raise FileRefused(f"{name} {found.problem}.", next_step=found.next_step)
    if not found.text:
        raise FileRefused(
            f"{name} has no text, as if it were scanned.", next_step="Attach its pages as images."
        )
    left_out = safe_line(found.left_out)
    text = f"[{left_out}]\n\n{found.text}\n" if left_out else f"{found.text}\n"
    attachment = text_attachment(name, "application/pdf", text.encode())
    return replace(attachment, part=replace(attachment.part, left_out=left_out))
