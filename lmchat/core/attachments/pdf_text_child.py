"""Child process that reads PDFs: they are untrusted, and some take very long. Needs pypdf."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from typing import Any
from unicodedata import normalize

import msgspec

from lmchat.base.extras import install_command
from lmchat.base.processes.frames import answer_parent, limit_memory
from lmchat.base.safe_text import with_line_feeds
from lmchat.base.units import breakable, counted, whole_number

_MAX_MEMORY_BYTES = 2_000_000_000  # an attached PDF has at most 100 MB
_MOST_CHARS = 1_000_000  # a text of more bytes is refused
_FEW_CHARS = 100  # on a page with an image: what a scanner or a court adds
_MOST_FIELDS = 10_000  # of a form, groups included
_MOST_LEVELS = 50  # of fields in fields
_MOST_NAMED = 10  # pages or files
_MOST_NOTE_CHARS = 1000  # of what the text lacks: names in a PDF have any length
_PUSH_BUTTON = 1 << 16  # flag of a button without a value
_INHERITED = ("/FT", "/V", "/Opt", "/Ff")  # values of a field that its parent may have
_NO_COMMENTS = ("/Link", "/Popup")  # a popup shows the comment of another one
# Codes that fonts of TeX give for letters without a name, and halves of characters; ligatures.
_LETTERS = dict.fromkeys(
    {*range(0x20), *range(0x7F, 0xA0), *range(0xD800, 0xE000)} - {*b"\t\n"},
    "\N{REPLACEMENT CHARACTER}",
) | {code: normalize("NFKC", chr(code)) for code in range(0xFB00, 0xFB07)}


class PdfText(msgspec.Struct, frozen=True):
    """Text of a PDF, or why it cannot be read."""

    text: str = ""  # pages, comments and form fields, as paragraphs
    left_out: str = ""  # what is not in it: `2 of 4 pages have no text: 2, 4`
    problem: str = ""  # as the end of a sentence
    next_step: str = ""


def main() -> None:
    """Answer with a `PdfText` as JSON."""
    limit_memory(_MAX_MEMORY_BYTES)
    answer_parent(lambda data, send: send(msgspec.json.encode(pdf_text(data))))


def pdf_text(data: bytes) -> PdfText:
    """This may take very long; it ends once the text exceeds `_MOST_CHARS`."""
    from pypdf import PdfReader  # noqa: PLC0415 - an extra; the parent imports this module, too
    from pypdf.errors import DependencyError  # noqa: PLC0415 - see above

    try:
        reader = PdfReader(BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            return PdfText(problem="needs a password", next_step="Save a copy without a password.")
        return _read(reader)
    except Exception as error:  # noqa: BLE001 - a parser may raise anything
        problem, next_step = "is damaged", "Download it again, or print it to a new PDF."
        if b"/Encrypt" in data and isinstance(error, DependencyError):
            problem = "is encrypted, and cannot be read without cryptography"
            next_step = f"Install it: {install_command('pdf')}"
        elif b"/Encrypt" in data and isinstance(error, NotImplementedError):
            problem = "is encrypted in a way that pypdf does not know"
            next_step = "Print it to a new PDF."
        return PdfText(problem=problem, next_step=next_step)


def _read(reader: Any) -> PdfText:
    """Raises any error if no page can be read."""
    page_count = len(reader.pages)
    texts: list[str] = []
    char_count = unknown_letters = 0
    without_text: list[int] = []
    as_images: list[int] = []
    unreadable: list[int] = []
    with_unread_comments: list[int] = []
    files: list[str] = []  # names of attached ones
    widgets: list[Any] = []  # what shows fields of the form
    for number in range(1, page_count + 1):
        try:
            page = reader.pages[number - 1]
            text = page.extract_text().translate(_LETTERS)
        except Exception:  # a parser may raise anything
            unreadable.append(number)
            if len(unreadable) == page_count:
                raise
            continue
        visible = "".join(text.split())
        unknown = visible.count("\N{REPLACEMENT CHARACTER}")
        if 2 * unknown >= len(visible):
            without_text.append(number)
        else:
            unknown_letters += unknown
            texts.append(text.rstrip())
            char_count += len(text)
            if len(visible) < _FEW_CHARS and _has_image(page):
                as_images.append(number)
        try:
            texts += _comments(page, files, widgets)
        except Exception:  # noqa: BLE001 - see above
            with_unread_comments.append(number)
        if char_count > _MOST_CHARS:
            break

    left_out = [
        _pages(without_text, page_count, "has no text", "have no text"),
        _pages(as_images, page_count, "is an image with few words", "are images with few words"),
        _pages(unreadable, page_count, "cannot be read", "cannot be read"),
        _pages(with_unread_comments, page_count, "has unreadable notes", "have unreadable notes"),
        f"{counted(unknown_letters, 'letter')} unknown" if unknown_letters else "",
    ]
    try:
        form = _value(reader.root_object.get("/AcroForm")) or {}
        fields = list(_form_lines([*(_value(form.get("/Fields")) or ()), *map(_root, widgets)]))
        if fields:
            texts.append("\n".join(["Form fields:", *fields]))
        elif "/XFA" in form:
            left_out.append("its form cannot be read (XFA)")
    except Exception:  # noqa: BLE001 - see above
        left_out.append("its form cannot be read")
    try:
        files += map(_text, reader.attachments)
    except Exception:  # noqa: BLE001 - see above
        left_out.append("its attached files cannot be read")
    if files:
        files = list(dict.fromkeys(files))
        left_out.append(f"{counted(len(files), 'attached file')} left out: {_named(files)}")
    note = breakable("; ".join(filter(None, left_out)))
    # a few kB may unpack to far more than the parent refuses
    return PdfText("\n\n".join(texts)[: _MOST_CHARS + 1], note[:_MOST_NOTE_CHARS])


def _has_image(page: Any) -> bool:
    """Count what is damaged as none."""
    try:
        objects = _value(_value(page.get("/Resources", {})).get("/XObject", {}))
        return any(_value(each).get("/Subtype") == "/Image" for each in objects.values())
    except Exception:  # noqa: BLE001 - see above
        return False


def _comments(page: Any, files: list[str], widgets: list[Any]) -> Iterator[str]:
    """Yield comments, as `Comment: Too long`; collect names of files, and widgets.

    Some programs write such comments on the lines of a form. Raises any error if they are damaged.
    """
    for reference in _value(page.get("/Annots")) or ():
        note = _value(reference)
        if note.get("/Subtype") == "/FileAttachment":
            file = _value(note.get("/FS")) or {}
            files.append(_text(file.get("/UF", file.get("/F", "?"))))
        elif note.get("/Subtype") == "/Widget":
            widgets.append(reference)
        elif note.get("/Subtype") not in _NO_COMMENTS:
            text = _text(note.get("/Contents", "")).strip()
            if text:
                yield f"Comment: {text}"


def _named(names: Sequence[str]) -> str:
    return ", ".join([*names[:_MOST_NAMED], *(["…"] if len(names) > _MOST_NAMED else [])])


def _pages(numbers: Sequence[int], page_count: int, verb: str, verb_of_many: str) -> str:
    """Write `2 of 4 pages have no text: 2, 4`."""
    if not numbers:
        return ""
    names = [*map(str, numbers)]
    text = f"{whole_number(len(numbers))} of {counted(page_count, 'page')}"
    return f"{text} {verb_of_many if len(numbers) > 1 else verb}: {_named(names)}"


def _root(reference: Any) -> Any:
    """Return the uppermost field above a widget.

    Programs that join PDFs leave such fields out of the form; viewers show them.
    """
    for _ in range(_MOST_LEVELS):
        above = _value(reference).get("/Parent")
        if above is None:
            break
        reference = above
    return reference


def _form_lines(roots: Sequence[Any]) -> Iterator[str]:
    """Yield lines `Name: Ada`; the value may be empty. Raises any error for a damaged form."""
    seen: set[int] = set()  # numbers of fields, which may lead to each other
    # field, name of those above, inherited values, level
    left: list[tuple[Any, str, Mapping[str, Any], int]]
    left = [(field, "", {}, 0) for field in reversed(roots)]
    while left:
        reference, above, inherited, level = left.pop()
        number = getattr(reference, "idnum", None)
        if number in seen:
            continue
        seen.add(id(reference) if number is None else number)
        if len(seen) > _MOST_FIELDS or level > _MOST_LEVELS:
            raise ValueError("too many fields")
        field = _value(reference)
        name = ".".join(filter(None, (above, _text(field.get("/T", "")))))
        values = {key: field.get(key, inherited.get(key)) for key in _INHERITED}
        kids = _value(field.get("/Kids")) or ()
        fields = [kid for kid in kids if "/T" in _value(kid)]  # the others only show the field
        if fields:
            left += [(kid, name, values, level + 1) for kid in reversed(fields)]
        elif not (_value(values["/FT"]) == "/Btn" and int(values["/Ff"] or 0) & _PUSH_BUTTON):
            title = _text(field.get("/TU", ""))
            label = f"{name} ({title})" if title and title != name else name
            yield f"{label}: {_field_text(values)}".rstrip()


def _field_text(values: Mapping[str, Any]) -> str:
    value = _value(values["/V"])
    if value is None:  # a button that is not pressed
        return "Off" if _value(values["/FT"]) == "/Btn" else ""
    if _value(values["/FT"]) == "/Sig":
        return "signed"
    options: dict[str, str] = {}  # shown words by the stored ones
    if _value(values["/FT"]) == "/Ch":
        pairs = map(_value, _value(values["/Opt"]) or ())
        options = {_text(pair[0]): _text(pair[1]) for pair in pairs if isinstance(pair, list)}
    chosen = map(_text, value if isinstance(value, list) else [value])
    return ", ".join(options.get(text, text) for text in chosen)


def _text(reference: Any) -> str:
    """Return a text, the name of a button's state, or the text of a stream."""
    value = _value(reference)
    if hasattr(value, "get_data"):
        value = value.get_data()
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    # a state starts with a slash, as `/Yes`; a text may, too
    is_name = type(value).__name__ == "NameObject"
    text = str(value).removeprefix("/") if is_name else str(value)
    return with_line_feeds(text).translate(_LETTERS)


def _value(reference: Any) -> Any:
    """Follow a reference of pypdf."""
    return reference.get_object() if hasattr(reference, "get_object") else reference
