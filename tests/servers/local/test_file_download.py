"""A GGUF file is downloaded from an address for the built-in engine.

Redirect, `X-Linked-Size` and `X-Linked-Etag` are as huggingface.co sends them for `/resolve/`.
"""

from __future__ import annotations

import pytest

from lmchat.errors import EngineUnavailable, LMChatError, WrongUse
from lmchat.servers.http.connections import Connections
from lmchat.servers.local.download import download
from tests.support.scripted_server import Reply, ScriptedServer, body_reply

FILE = b"GGUF" + bytes(range(256)) * 40
LINKED = {"X-Linked-Size": str(len(FILE)), "X-Linked-Etag": '"b179"'}


@pytest.fixture
def server():
    with ScriptedServer() as scripted:
        yield scripted


@pytest.fixture
async def connections():
    made = Connections()
    yield made
    await made.aclose()


def serve(server, content=FILE, *, sent=None, etag='"b179"'):
    """Serve a file by ranges; without a range, only the first `sent` bytes come, and then the end."""

    def play(seen):
        headers = {"ETag": etag} if etag else {}
        if begin := seen.headers.get("range"):
            rest = content[int(begin.removeprefix("bytes=").rstrip("-")) :]
            return body_reply(rest, status=206, headers=headers)
        headers |= {"Content-Length": str(len(content))}
        reply = body_reply(content[:sent], headers=headers)
        return Reply(steps=reply.steps, is_last=sent is not None)

    server.on(
        "HEAD /alder.gguf", body_reply(b"", headers={"ETag": etag, "Content-Length": "10244"})
    )
    server.on("GET /alder.gguf", play)


async def got(connections, server, folder, path="/alder.gguf", *, agrees=True):
    """Return the file, the question, and the progress."""
    asked, told = [], []

    async def ask(words):
        asked.append(words.replace("\u00a0", " "))
        return agrees

    file = await download(connections, f"{server.url}{path}", folder, ask, told.append)
    return file, asked, told


async def test_a_file_is_downloaded_with_its_size_told_and_only_once(server, connections, tmp_path):
    serve(server)
    file, (question,), told = await got(connections, server, tmp_path)
    assert file.read_bytes() == FILE
    assert file.name == "alder.gguf"
    host = server.url.removeprefix("http://")
    assert question.startswith(f"alder.gguf (10 kB) from {host} into {file.parent}, where ")
    assert (told[-1].done_bytes, told[-1].total_bytes) == (len(FILE), len(FILE))
    assert "authorization" not in server.seen("GET /alder.gguf")[0].headers
    assert await got(connections, server, tmp_path) == (file, [], [])
    assert len(server.seen()) == 2, "what is here is not asked for"


async def test_a_download_that_breaks_off_continues_where_it_stopped(server, connections, tmp_path):
    serve(server, sent=5000)
    with pytest.raises(EngineUnavailable, match="broke off") as failed:
        await got(connections, server, tmp_path)
    assert "continues where it stopped" in failed.value.hint
    assert list(tmp_path.rglob("*.gguf")) == [], "a part is no model"
    file, *_ = await got(connections, server, tmp_path)
    assert file.read_bytes() == FILE
    assert server.seen("GET /alder.gguf")[-1].headers["range"] == "bytes=5000-"


async def test_a_download_that_was_ended_behind_its_last_byte_is_complete(
    server, connections, tmp_path
):
    serve(server, sent=5000)
    with pytest.raises(EngineUnavailable):
        await got(connections, server, tmp_path)
    (part,) = tmp_path.rglob("*.part")
    part.write_bytes(FILE)
    file, *_ = await got(connections, server, tmp_path)
    assert file.read_bytes() == FILE
    assert len(server.seen("GET /alder.gguf")) == 1


async def test_another_version_begins_from_the_start(server, connections, tmp_path):
    serve(server, sent=5000)
    with pytest.raises(EngineUnavailable):
        await got(connections, server, tmp_path)
    other = b"GGUF" + bytes(10_240)
    serve(server, other, etag='"e3b0"')
    file, *_ = await got(connections, server, tmp_path)
    assert file.read_bytes() == other
    assert "range" not in server.seen("GET /alder.gguf")[-1].headers


async def test_another_host_is_asked_only_for_the_file_itself(server, connections, tmp_path):
    with ScriptedServer() as cdn:
        serve(cdn)
        there = LINKED | {"Location": f"{cdn.url}/alder.gguf"}
        for method in ("HEAD", "GET"):
            server.on(f"{method} /alder.gguf", body_reply(b"", status=302, headers=there))
        refused, (question,), _ = await got(connections, server, tmp_path, agrees=False)
        assert (refused, "(10 kB)" in question, cdn.seen()) == (None, True, [])
        file, *_ = await got(connections, server, tmp_path)
        assert file.read_bytes() == FILE


@pytest.mark.parametrize(
    ("path", "kind", "words"),
    [
        ("/readme.md", "wrong_use", "not the address of a GGUF file"),
        ("/alder-00001-of-00003.gguf", "wrong_use", "one of several files"),
        ("/missing.gguf", "fetch", "answered with status 404"),
        ("/page.gguf", "fetch", "that of a page, not of a GGUF file"),
        ("/huge.gguf", "no_space", "on the disk, and "),
    ],
)
async def test_what_cannot_be_downloaded_is_told_and_leaves_nothing(
    server, connections, tmp_path, path, kind, words
):
    page = body_reply(b"<!doctype html>" * 9, content_type="text/html")
    server.on("HEAD /page.gguf", page)
    huge = LINKED | {"X-Linked-Size": str(10**15), "Location": "/other"}
    server.on("HEAD /huge.gguf", body_reply(b"", headers=huge))
    with pytest.raises(LMChatError) as failed:
        await got(connections, server, tmp_path, path)
    assert failed.value.kind == kind
    assert words in failed.value.message
    assert failed.value.hint
    assert not any(one.stat().st_size for one in tmp_path.rglob("*") if one.is_file())


@pytest.mark.parametrize("url", ["http://[x/a.gguf", "https://ada:secret@example.org/a.gguf"])
async def test_a_wrong_address_is_refused_without_being_quoted(connections, tmp_path, url):
    async def ask(_):
        return True

    with pytest.raises(LMChatError) as failed:
        await download(connections, url, tmp_path, ask, lambda _: None)
    assert "secret" not in failed.value.message_with_hint
    assert isinstance(failed.value, WrongUse) or failed.value.kind == "not_allowed"
