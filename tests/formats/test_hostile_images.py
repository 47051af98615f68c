"""Images in chats that unpack to gigabytes: they are left out before anything decodes them."""

from __future__ import annotations

import json
import struct
import zipfile
import zlib
from base64 import b64encode
from hashlib import sha256

import pytest

from lmchat.files.images import MAX_IMAGE_BYTES, MAX_PIXELS
from lmchat.formats.json_sessions import to_json
from lmchat.sessions.message import FilePart
from tests.support.chats import chat
from tests.support.files_to_attach import image
from tests.support.foreign_chats import CHATGPT, DATA, read_file

SIDE = 20_000
assert SIDE * SIDE > MAX_PIXELS


def _chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _png():
    head = struct.pack(">IIBBBBB", SIDE, SIDE, 8, 6, 0, 0, 0)
    chunks = _chunk(b"IHDR", head) + _chunk(b"IDAT", zlib.compress(bytes(10**6)))
    return b"\x89PNG\r\n\x1a\n" + chunks + _chunk(b"IEND", b"")


def _gif():
    """Return a small image with a large frame."""
    head = b"GIF89a" + struct.pack("<HHBBB", 1, 1, 0x80, 0, 0) + bytes(6)
    return head + b"," + struct.pack("<HHHHB", 0, 0, SIDE, SIDE, 0) + b"\x02\x02D\x01\x00;"


BOMBS = {
    "many pixels": _png(),
    "a large frame": _gif(),
    "many bytes": image("PNG") + bytes(MAX_IMAGE_BYTES),
}


@pytest.fixture(autouse=True)
def nothing_is_decoded(monkeypatch):
    def load(self):
        raise AssertionError(self)

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)


def url(data):
    return f"data:image/png;base64,{b64encode(data).decode()}"


def open_webui(folder, data):
    value = json.loads((DATA / "open-webui.json").read_text())
    messages = value[0]["chat"]["history"]["messages"]
    for message in messages.values():
        message["files"] = (
            [{"type": "image", "url": url(data)}] if message["role"] == "user" else []
        )
    path = folder / "open-webui.json"
    path.write_text(json.dumps(value))
    return path


def chatgpt(folder, data):
    path = folder / "export.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.write(DATA / CHATGPT, CHATGPT)
        archive.writestr("file_1-sanitized.png", data)
    return path


def lmchat(folder, data):
    digest = sha256(data).hexdigest()
    value = json.loads(to_json(chat()))
    part = FilePart(name="a.png", media_type="image/png", digest=digest, size=len(data))
    fields = {name: getattr(part, name) for name in part.__struct_fields__}
    value["messages"][0]["parts"].append({"type": "file"} | fields)
    value["files"] = {digest: b64encode(data).decode()}
    path = folder / "lmchat.json"
    path.write_text(json.dumps(value))
    return path


def test_an_image_that_is_too_large_is_left_out_and_counted(tmp_path):
    for name, bomb in BOMBS.items():
        for make in (open_webui, chatgpt, lmchat):
            path = make(tmp_path, bomb)
            sessions, lost = read_file(path)
            assert [session.files for session in sessions] == [{}] * len(sessions), (name, make)
            assert all(session.messages for session in sessions)
            assert any("image" in words for words in lost), (name, make)
