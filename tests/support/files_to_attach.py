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
    made, out = Image.new(mode, size), BytesIO()
    made.paste(noise.convert(mode))
    made.save(out, form, **options)
    return out.getvalue()


def pdf(words: str) -> bytes:
    """Return a PDF of one page that says something."""
    stream = f"BT /F1 12 Tf 72 720 Td ({words}) Tj ET".encode()
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
        b"<< /Type /Page /Parent 2 0 R /Contents 4 0 R /Resources << /Font << /F1 5 0 R >> >> >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(stream), stream),
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
    ]
    data, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(data))
        data += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    rows = b"".join(b"%010d 00000 n \n" % place for place in places)
    tail = b"xref\n0 6\n0000000000 65535 f \n%strailer\n<< /Size 6 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n"
    return data + tail % (rows, len(data))
