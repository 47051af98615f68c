"""Files that people attach to prompts: images, and a PDF of one line."""

from __future__ import annotations

import random
from io import BytesIO

import pytest

Image = pytest.importorskip("PIL.Image")


def image(
    form: str = "PNG", size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: object
) -> bytes:
    """Return an image with noise in a corner, so that it does not shrink to nothing."""
    noise = Image.frombytes("RGB", (64, 48), random.Random(1).randbytes(3 * 64 * 48))  # noqa: S311
    made = Image.new(mode, size)
    out = BytesIO()
    made.paste(noise.convert(mode))
    made.save(out, form, **options)
    return out.getvalue()


def pdf(*pages: str | bytes, form: str = "") -> bytes:
    """Return a PDF whose pages say something, or bytes: fields of the content of a damaged page.

    `form` has further objects, each on a line, from the number 100 on; the first one is the form.
    """
    objects = {
        1: b"<< /Type /Catalog /Pages 2 0 R %s >>" % (b"/AcroForm 100 0 R" if form else b""),
        3: b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    }
    kids = []
    for number, page in enumerate(pages):
        at = 10 + 2 * number
        stream, extra = (b"", page) if isinstance(page, bytes) else (page.encode(), b"")
        stream = b"BT /F1 12 Tf 72 720 Td (%s) Tj ET" % stream
        resources = b"<< /Font << /F1 3 0 R >> >>"
        fields = b"/Parent 2 0 R /Contents %d 0 R /Resources %s" % (at + 1, resources)
        objects[at] = b"<< /Type /Page %s >>" % fields
        head = b"<< /Length %d %s >>" % (len(stream), extra)
        objects[at + 1] = b"%s\nstream\n%s\nendstream" % (head, stream)
        kids.append(b"%d 0 R" % at)
    objects[2] = b"<< /Type /Pages /Kids [%s] /Count %d >>" % (b" ".join(kids), len(pages))
    objects |= {100 + number: line.encode() for number, line in enumerate(form.splitlines())}
    data = b"%PDF-1.4\n"
    positions = {0: b"0000000000 65535 f \n"}
    for number, body in objects.items():
        positions[number] = b"%010d 00000 n \n" % len(data)
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    rows = b"".join(b"%d 1\n%s" % position for position in sorted(positions.items()))
    tail = b"xref\n%strailer\n<< /Size 200 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return data + tail % (rows, len(data))
