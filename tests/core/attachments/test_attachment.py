from __future__ import annotations

import os
import sys
from io import BytesIO

import pytest

from lmchat.base.errors import FileRefused
from lmchat.base.extras import install_command
from lmchat.base.files.images import LONGEST_SIDE
from lmchat.core.attachments.attachment import read_attachment
from tests.support.files_to_attach import Image, image


async def attach(tmp_path, name, data):
    path = tmp_path / name
    path.write_bytes(data)
    return await read_attachment(path)


async def test_a_larger_image_is_scaled_down(tmp_path):
    for form, mode, sent_form in (
        ("JPEG", "RGB", "JPEG"),
        ("PNG", "P", "PNG"),
        ("PNG", "I;16", "PNG"),
        ("WEBP", "RGBA", "PNG"),
    ):
        found = await attach(tmp_path, "garden", image(form, (LONGEST_SIDE + 2, 1000), mode))
        with Image.open(BytesIO(found.data)) as scaled:
            assert scaled.format == sent_form
            assert found.part.media_type == f"image/{sent_form.lower()}"
            assert scaled.size == (LONGEST_SIDE, 999) == (found.part.width, found.part.height)
        assert found.part.tokens == 1600


async def test_the_line_of_an_animation_says_that_one_frame_is_sent(tmp_path):
    frames = {"save_all": True, "append_images": [Image.new("RGB", (64, 48), "blue")]}
    found = await attach(tmp_path, "bee.gif", image("GIF", **frames))
    size = found.part.label.partition("kB")[0]
    assert found.part.label == f"{size}kB, 64×48; only its first frame is sent)"


async def test_50_million_pixels_are_scaled_and_turned_as_the_camera_was_held(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    found = await attach(tmp_path, "garden.jpg", image("JPEG", (10_000, 5_000), "L", exif=exif))
    assert (found.part.width, found.part.height) == (LONGEST_SIDE // 2, LONGEST_SIDE)
    assert len(found.data) < 2_000_000


async def test_a_text_becomes_utf_8_without_a_mark_and_with_line_feeds(tmp_path):
    data = b"\xef\xbb\xbf# Plan\r\n" + "ü".encode() * 4
    sign, shown = ("", "") if os.name == "nt" else ("\x1b", "␛")  # no name of Windows has one
    found = await attach(tmp_path, f"notes{sign}.md", data)
    assert found.data == data[3:].replace(b"\r", b"")
    assert (found.part.name, found.part.media_type) == (f"notes{shown}.md", "text/plain")
    assert found.part.label == f"notes{shown}.md (15 B)"
    assert 3 <= found.part.tokens <= 6
    lossy = "not all of its bytes are UTF-8, the others are lost"
    for data, text, note in (
        (b"\xef\xbb\xbfna\xefve", "na\ufffdve", lossy),  # UTF-8, as its mark says
        ("caf\u00e9 \u20ac".encode()[:-1], "caf\u00e9 \ufffd", lossy),  # cut within a character
        ("a\ufffd\ufffdb".encode(), "a\ufffd\ufffdb", ""),
        ("\ufeffzwölf\r\n🌱".encode("utf-16-le"), "zwölf\n🌱", ""),
        ("\ufeffzwölf\r\n🌱".encode("utf-16-be"), "zwölf\n🌱", ""),
        ("zwölf".encode("utf-32"), "zwölf", ""),
        (b"a\nb\r\nc\rd\n\re\x1b[0m", "a\nb\nc\rd\n\re\x1b[0m", ""),  # as a terminal's log has
    ):
        found = await attach(tmp_path, "notes.md", data)
        assert (found.data, found.part.left_out) == (text.encode(), note)
    for text, word in (
        ("naïve: € 5", "naïve"),
        ("é", "é"),
        ("15 € für Öl", "€"),
        ("„Größe“ – l’été à 20 °C, Ça déçoit: «Où?»…", "„Größe"),
        ("crème brûlée", "crème"),
    ):
        found = await attach(tmp_path, "notes.md", text.encode("cp1252"))
        assert found.data == text.encode()
        assert found.part.left_out == f"taken for Windows-1252, as in {word}"


@pytest.mark.parametrize(
    ("name", "data", "sentence"),
    [
        ("garden.png", image()[:-400], "garden.png is damaged or cut off."),
        (
            "bomb.png",
            image("PNG", (10_001, 10_000), "1"),
            "bomb.png has more than 100 million pixels.",
        ),
        ("notes.md", b"", "notes.md is empty."),
        ("notes.md", b"\xff\xfe", "notes.md is empty."),
        ("notes.md", b"a" * 1_000_001, "notes.md has more than 1 MB of text."),
        ("a.docx", b"PK\3\4\0", "a.docx is a ZIP file, as office documents and e-books are."),
        ("a.rtf", b"{\\rtf1\\ansi hello}", "a.rtf is a Rich Text document."),
        ("b.rtf", b"\xef\xbb\xbf{\\rtf1 hello}", "b.rtf is a Rich Text document."),
        ("a.msg", b"\xd0\xcf\x11\xe0\0", "a.msg is an older office document or mail."),
        ("a.gz", b"\x1f\x8b\0", "a.gz is a gzip file."),
        (
            "a.bin",
            b"\xff\xfe\1\0a\0",
            "a.bin is neither text nor a PDF nor an image of a known kind.",
        ),
        (
            "a.bin",
            b"\xff\xfea\0\0\0",
            "a.bin is neither text nor a PDF nor an image of a known kind.",
        ),
        (
            "a.txt",
            "oats".encode("utf-16-le"),
            "a.txt is neither text nor a PDF nor an image of a known kind.",
        ),
        *(
            ("a.txt", text.encode(encoding), "a.txt is text in an unknown encoding.")
            for text, encoding in (
                ("今天天气很好。", "gbk"),
                ("今天天氣很好。", "big5"),
                ("日本語の文章です。", "shift-jis"),
                ("日本語の文章です。", "euc-jp"),
                ("안녕하세요", "euc-kr"),
                ("Привет, мир", "cp1251"),
                ("Привет, мир", "koi8-r"),
                ("Καλημέρα κόσμε", "iso8859-7"),
                ("שלום עולם", "cp1255"),
                ("สวัสดีครับ", "cp874"),
                ("bed;plant\n" + 6 * "Möhren;gießen\n", "cp850"),
                ("bed;plant\nmás agua\n", "cp437"),
                ("Où est le bed? Là-bas, où tout pousse", "mac-roman"),
                ("# notes for the garden\nx = 1  # 豆子要水\n", "gbk"),
                ("plan = 'water the beds at noon'  # 水を", "euc-jp"),
            )
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_cannot_be_attached_is_refused_in_one_sentence(tmp_path, name, data, sentence):
    with pytest.raises(FileRefused) as refused:
        await attach(tmp_path, name, data)
    assert refused.value.message == sentence
    assert refused.value.next_step.endswith(".")


async def test_without_pillow_images_go_as_they_are_up_to_10_mb(tmp_path, monkeypatch):
    large = image("PNG", (3000, 10))
    photo = image("JPEG")
    monkeypatch.setitem(sys.modules, "PIL", None)
    found = await attach(tmp_path, "garden.png", large)
    assert found.data == large
    assert (found.part.width, found.part.tokens) == (3000, 40)
    tiny = await attach(tmp_path, "tiny.png", large[:16] + bytes([0, 0, 0, 9] * 2) + large[24:])
    assert (tiny.part.width, tiny.part.height, tiny.part.tokens) == (9, 9, 0)
    unknown = await attach(tmp_path, "garden.jpeg", photo)
    assert (unknown.part.width, unknown.part.tokens) == (0, 1600)
    with pytest.raises(FileRefused, match="larger than 10 MB") as refused:
        await attach(tmp_path, "garden.jpg", photo + bytes(10_000_000))
    assert refused.value.next_step.endswith(install_command("images"))
