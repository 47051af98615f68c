"""Text of the pages and forms of PDFs, and what is left out of it. Needs pypdf."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from io import BytesIO
from itertools import groupby
from typing import Any, NamedTuple

from lmchat.units import counted

_MOST_FIELDS = 10_000  # of a form, with those that only group others
_MOST_LEVELS = 50  # of fields in fields
_MOST_NAMED = 10  # pages, or rows of pages, that are named
_PUSH_BUTTON = 1 << 16  # flag of a button without a value
_INHERITED = ("/FT", "/V", "/Opt", "/Ff")  # values of a field that its parent may have


class PdfText(NamedTuple):
    """Text of a PDF."""

    text: str  # pages and form fields, as paragraphs; empty if it has none
    left_out: str  # what is not in it: `2 of 4 pages have no text: 2, 4`; else empty


def pdf_text(data: bytes, *, most_chars: int) -> PdfText:
    """Return the text of a PDF. Blocks.

    Reading ends with the page after which the text has more than `most_chars`. Raises
    `ImportError` without pypdf, and any error for a PDF of which no page can be read.
    """
    from pypdf import PdfReader  # noqa: PLC0415 - an extra

    logging.getLogger("pypdf").setLevel(logging.CRITICAL)  # its warnings may quote the file
    reader = PdfReader(BytesIO(data))
    page_count = len(reader.pages)
    texts: list[str] = []
    char_count = 0
    without_text: list[int] = []
    unreadable: list[int] = []
    for number in range(1, page_count + 1):
        try:
            # fonts of TeX give a NUL for letters that they do not name
            text = (
                reader.pages[number - 1].extract_text().replace("\0", "\N{REPLACEMENT CHARACTER}")
            )
        except Exception:  # a parser may raise anything
            unreadable.append(number)
            if len(unreadable) == page_count:
                raise
            continue
        if text.strip():
            texts.append(text.rstrip())
        else:
            without_text.append(number)
        char_count += len(text)
        if char_count > most_chars:
            break

    left_out = [
        _pages(without_text, page_count, ("has no text", "have no text")),
        _pages(unreadable, page_count, ("cannot be read", "cannot be read")),
    ]
    try:
        fields = list(_form_lines(reader))
        if fields:
            texts.append("\n".join(["Form fields:", *fields]))
    except Exception:  # noqa: BLE001 - see above
        left_out.append("its form cannot be read")
    return PdfText("\n\n".join(texts), "; ".join(filter(None, left_out)))


def _pages(numbers: Sequence[int], page_count: int, verbs: tuple[str, str]) -> str:
    """Return how many pages something is said of, and which: `2 of 4 pages have no text: 2, 4`."""
    if not numbers:
        return ""
    # the pages of a row have the same distance from their indices
    rows = [
        [number for _, number in row]
        for _, row in groupby(enumerate(numbers), key=lambda item: item[1] - item[0])
    ]
    names = [f"{row[0]}–{row[-1]}" if len(row) > 1 else str(row[0]) for row in rows[:_MOST_NAMED]]
    names += ["…"] if len(rows) > _MOST_NAMED else []
    words = f"{len(numbers)} of {counted(page_count, 'page')} {verbs[len(numbers) > 1]}"
    return f"{words}: {', '.join(names)}"


def _form_lines(reader: Any) -> Iterator[str]:
    """Yield the fields of a form as lines: `Name: Ada`; the value may be empty.

    Raises any error for a damaged form, and `ValueError` for one with too many fields.
    """
    form = _value(_value(reader.trailer["/Root"]).get("/AcroForm"))
    if form is None:
        return
    seen: set[int] = set()  # numbers of fields, which may lead to each other
    has_fields = False
    # field, name of those above it, values that it inherits, and its level
    left: list[tuple[Any, str, Mapping[str, Any], int]]
    left = [(field, "", {}, 0) for field in reversed(_value(form.get("/Fields")) or ())]
    while left:
        reference, above, inherited, level = left.pop()
        number = getattr(reference, "idnum", None)
        if number in seen:
            continue
        seen.add(id(reference) if number is None else number)
        if len(seen) > _MOST_FIELDS or level > _MOST_LEVELS:
            raise ValueError("too many fields")
        field = _value(reference)
        name = ".".join(filter(None, (above, str(field.get("/T", "")))))
        values = {key: field.get(key, inherited.get(key)) for key in _INHERITED}
        kids = _value(field.get("/Kids")) or ()
        fields = [kid for kid in kids if "/T" in _value(kid)]  # the others only show the field
        if fields:
            left += [(kid, name, values, level + 1) for kid in reversed(fields)]
        elif not (_value(values["/FT"]) == "/Btn" and int(values["/Ff"] or 0) & _PUSH_BUTTON):
            has_fields = True
            title = _value(field.get("/TU"))
            label = f"{name} ({title})" if title and title != name else name
            yield f"{label}: {_field_text(values)}".rstrip()
    if "/XFA" in form and not has_fields:
        raise ValueError("a form of another kind")


def _field_text(values: Mapping[str, Any]) -> str:
    """Return the value of a field as it is shown; of a choice, those that are chosen."""
    value = _value(values["/V"])
    if value is None:  # a button that is not pressed has none
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
    """Return a text, the name of a state of a button, or the text of a stream."""
    value = _value(reference)
    if hasattr(value, "get_data"):
        value = value.get_data()
    if isinstance(value, bytes):
        return value.decode("latin-1")
    # the name of a state begins with a slash, as `/Yes`; a text may do so, too
    is_name = type(value).__name__ == "NameObject"
    return str(value).removeprefix("/") if is_name else str(value)


def _value(reference: Any) -> Any:
    """Return what a reference of pypdf leads to; any other value is returned unchanged."""
    return reference.get_object() if hasattr(reference, "get_object") else reference
