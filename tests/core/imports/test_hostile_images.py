"""Images in chats that are imported: none is decoded, and one of too many bytes is left out."""

from __future__ import annotations

import json
import zipfile
from base64 import b64encode
from hashlib import sha256

import pytest

from lmchat.base.files.images import MAX_IMAGE_BYTES
from lmchat.core.formats.json_sessions import to_json
from lmchat.core.sessions.message import FilePart
from tests.core.imports.foreign_chats import CHATGPT, DATA, read_file
from tests.support.chats import chat
from tests.support.files_to_attach import image

PNG = image("PNG")


@pytest.fixture(autouse=True)
def nothing_is_decoded(monkeypatch):
    def refuse(*args, **_):
        raise AssertionError(args)

    monkeypatch.setattr("PIL.Image.open", refuse)


def url(data):
    return f"data:image/png;base64,{b64encode(data).decode()}"


def open_webui(folder, data):
    value = json.loads((DATA / "open-webui.json").read_text(encoding="utf-8"))
    messages = value[0]["chat"]["history"]["messages"]
    for message in messages.values():
        message["files"] = (
            [{"type": "image", "url": url(data)}] if message["role"] == "user" else []
        )
    path = folder / "open-webui.json"
    path.write_text(json.dumps(value), encoding="utf-8")
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
    path.write_text(json.dumps(value), encoding="utf-8")
    return path


@pytest.mark.parametrize("make", [open_webui, chatgpt, lmchat])
def test_an_image_that_is_too_large_is_left_out_and_counted(tmp_path, make):
    for size, is_lost in [(MAX_IMAGE_BYTES, False), (MAX_IMAGE_BYTES + 1, True)]:
        data = PNG.ljust(size, b"\0")
        sessions, lost = read_file(make(tmp_path, data))
        assert all(session.messages for session in sessions)
        assert any(data in session.files.values() for session in sessions) is not is_lost
        assert any("image" in words for words in lost) is is_lost
