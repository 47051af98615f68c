"""A GGUF file is downloaded from an address for the built-in engine.

Redirect, `X-Linked-Size` and `X-Linked-Etag` are as huggingface.co sends them for `/resolve/`.
"""

from __future__ import annotations

import gzip

import httpx
import pytest

from lmchat.errors import EngineUnavailable, LMChatError, WrongUse
from lmchat.servers.http.connections import Connections
from lmchat.servers.local.download import download
from tests.support.faults import no_room
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


@pytest.mark.posix
async def test_a_disk_that_fills_is_told_as_such_and_the_download_continues_with_room(
    server, connections, tmp_path
):
    large = FILE * 40  # more than Python keeps before it writes
    serve(server, large)
    head = {"ETag": '"b179"', "Content-Length": str(len(large))}
    server.on("HEAD /alder.gguf", body_reply(b"", headers=head))
    with no_room(len(FILE)), pytest.raises(EngineUnavailable) as failed:
        await got(connections, server, tmp_path)
    assert f"cannot be written to {tmp_path}" in failed.value.message
    assert "Check the free space" in failed.value.hint
    file, *_ = await got(connections, server, tmp_path)
    assert file.read_bytes() == large


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


def chunked(content):
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    steps = [b"%x\r\n%s\r\n" % (len(content), content)] * 3
    return Reply(steps=(head, *steps, b"0\r\n\r\n"))


# each `HEAD` names 1000 bytes
WRONG_BODIES = {
    "a page": (body_reply(b"<html>" * 250), "sends more than the 1 kB that it named"),
    "short": (body_reply(b"NOTAGGUF"), "is not a GGUF file"),
    "no GGUF file": (body_reply(b"NOTAGGUF" * 125), "is not a GGUF file"),
    "compressed": (
        body_reply(gzip.compress(FILE), headers={"Content-Encoding": "gzip"}),
        "sends the file compressed",
    ),
    "without end": (chunked(FILE[:500]), "sends more than the 1 kB that it named"),
    "far too long": (
        body_reply(FILE[:500], headers={"Content-Length": "900000000000"}),
        "sends more than the 1 kB that it named",
    ),
}


@pytest.mark.parametrize("name", WRONG_BODIES)
async def test_a_file_that_is_not_as_agreed_is_refused_and_leaves_nothing(
    server, connections, tmp_path, name
):
    reply, words = WRONG_BODIES[name]
    server.on("HEAD /alder.gguf", body_reply(b"", headers={"Content-Length": "1000"}))
    server.on("GET /alder.gguf", reply)
    for _ in range(2):
        with pytest.raises(EngineUnavailable) as failed:
            await got(connections, server, tmp_path)
        assert words in failed.value.message.replace("\u00a0", " ")
        assert not any(one.stat().st_size for one in tmp_path.rglob("*") if one.is_file())


async def test_a_reply_that_ends_too_early_is_no_model_and_is_continued(
    server, connections, tmp_path
):
    serve(server)
    server.on("GET /alder.gguf", body_reply(FILE[:5000]))
    with pytest.raises(EngineUnavailable, match="broke off") as failed:
        await got(connections, server, tmp_path)
    assert failed.value.details == "5000 bytes came."
    assert list(tmp_path.rglob("*.gguf")) == []
    serve(server)
    file, *_ = await got(connections, server, tmp_path)
    assert file.read_bytes() == FILE
    assert server.seen("GET /alder.gguf")[-1].headers["range"] == "bytes=5000-"


async def test_a_part_of_the_size_that_is_no_gguf_file_is_emptied(server, connections, tmp_path):
    serve(server, sent=5000)
    with pytest.raises(EngineUnavailable):
        await got(connections, server, tmp_path)
    (part,) = tmp_path.rglob("*.part")
    part.write_bytes(bytes(len(FILE)))
    with pytest.raises(EngineUnavailable, match="is not a GGUF file"):
        await got(connections, server, tmp_path)
    serve(server)
    file, *_ = await got(connections, server, tmp_path)
    assert file.read_bytes() == FILE


@pytest.mark.parametrize(
    "named", [{"X-Linked-Size": "9" * 5000}, {"X-Linked-Size": "many"}, {"Content-Length": "0"}]
)
async def test_a_file_of_no_sane_size_is_asked_about_as_one_of_unknown_size(
    server, connections, tmp_path, named
):
    serve(server)
    server.on("HEAD /alder.gguf", body_reply(b"", status=302, headers={"Location": "/x"} | named))
    file, (question,), told = await got(connections, server, tmp_path)
    assert question.startswith("alder.gguf (size not known) from ")
    assert (file.read_bytes(), told[-1].total_bytes) == (FILE, len(FILE))


async def test_a_file_of_unknown_size_stops_at_the_free_space(server, connections, tmp_path):
    server.on("HEAD /alder.gguf", body_reply(b"", status=302, headers={"Location": "/x"}))
    huge = body_reply(FILE, headers={"Content-Length": str(10**15 - 1)})
    server.on("GET /alder.gguf", huge)
    with pytest.raises(EngineUnavailable, match=r"sends more than the .* that are free"):
        await got(connections, server, tmp_path)
    assert not any(one.stat().st_size for one in tmp_path.rglob("*") if one.is_file())


async def ask_through(play, folder, url):
    """Download from a host that `play` answers for; return the error and the hosts asked."""
    hosts = []

    def answer(request):
        hosts.append(request.url.host)
        return play(request)

    connections = Connections(httpx.MockTransport(answer))

    async def agree(_):
        return True

    try:
        with pytest.raises(EngineUnavailable) as failed:
            await download(connections, url, folder, agree, lambda _: None)
    finally:
        await connections.aclose()
    return failed.value, hosts


@pytest.mark.parametrize(
    ("host", "location", "words"),
    [
        ("models.example", "http://localhost:8080/a", "redirects to this machine"),
        ("models.example", "http://[::1]:8080/a", "redirects to this machine"),
        ("models.example", "http://[::ffff:127.0.0.1]/a", "redirects to this machine"),
        ("models.example", "http://0.0.0.0/a", "redirects to this machine"),
        ("models.example", "http://192.168.1.1/a", "redirects to a private network"),
        ("models.example", "http://169.254.169.254/a", "redirects to a private network"),
        ("models.example", "//router.lan/a", "redirects to a private network"),
        ("models.example", "//ada.localhost/a", "redirects to a private network"),
        ("192.168.1.7", "http://127.0.0.1:8080/a", "redirects to this machine"),
        ("models.example", "http://[::", "redirects to what is not an allowed address"),
        ("models.example", "file:///etc/passwd", "redirects to what is not an allowed address"),
        ("models.example", "http://2130706433/a", "redirects to what is not an allowed address"),
        ("models.example", "http://ada:secret@x.example/a", "what is not an allowed address"),
    ],
)
async def test_a_redirect_to_this_machine_or_to_no_address_is_not_followed(
    tmp_path, host, location, words
):
    def play(request):
        return httpx.Response(302, headers={"Location": location})

    error, hosts = await ask_through(play, tmp_path, f"http://{host}/alder.gguf")
    assert words in error.message
    assert "secret" not in error.message_with_hint
    assert set(hosts) == {host}, "HEAD and GET"


async def test_a_redirect_does_not_leave_https(tmp_path):
    def play(request):
        return httpx.Response(302, headers={"Location": "http://models.example/alder.gguf"})

    error, _ = await ask_through(play, tmp_path, "https://models.example/alder.gguf")
    assert "redirects to an address without https" in error.message


async def test_a_redirect_to_a_wrong_address_is_told_by_a_real_host(server, connections, tmp_path):
    for method in ("HEAD", "GET"):
        server.on(
            f"{method} /alder.gguf", body_reply(b"", status=302, headers={"Location": "http://[::"})
        )
    with pytest.raises(EngineUnavailable, match="redirects to what is not an allowed address"):
        await got(connections, server, tmp_path)


@pytest.mark.parametrize("url", ["http://[x/a.gguf", "https://ada:secret@example.org/a.gguf"])
async def test_a_wrong_address_is_refused_without_being_quoted(connections, tmp_path, url):
    async def ask(_):
        return True

    with pytest.raises(LMChatError) as failed:
        await download(connections, url, tmp_path, ask, lambda _: None)
    assert "secret" not in failed.value.message_with_hint
    assert isinstance(failed.value, WrongUse) or failed.value.kind == "not_allowed"
