"""Pages of the web as files for a prompt: real sockets, real HTML, a real child process."""

from __future__ import annotations

import gzip
import importlib.util
import itertools
import os
import zlib
from collections.abc import Awaitable
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace

from lmchat.base.errors import (
    EndpointNotAllowed,
    FileRefused,
    LMChatError,
    ServerUnavailable,
    WrongUse,
)
from lmchat.base.extras import install_command
from lmchat.core.attachments import web_page
from lmchat.core.attachments.attachment import Attachment, read_attachment
from lmchat.core.attachments.given_files import GivenFiles
from lmchat.core.config.settings import Settings
from tests.support.files_to_attach import image
from tests.support.page_host import PageHost, reply_of
from tests.support.scripted_server import free_port

MEGABYTE = 1_000_000
GZIP = "Content-Encoding: gzip\r\n"
PDF = Path("tests/core/attachments/pdfs/latex.pdf").read_bytes()
PAGE = b"<p>Beans like <b>sun</b>."


@pytest.fixture
def host():
    with PageHost() as pages:
        yield pages


@pytest.fixture
def other():
    with PageHost() as pages:
        yield pages


class User:
    """A user who answers each question in the same way."""

    def __init__(self, *, is_willing: bool = True) -> None:
        self.asked: list[str] = []  # addresses as they are requested
        self.given = GivenFiles(Settings(), self.answer)
        self._is_willing = is_willing

    async def answer(self, question) -> bool:
        address, host = question.text.split("\n")
        assert host == f"Host: 127.0.0.1, port {address.split(':')[2].split('/')[0]}"
        self.asked.append(address)
        return self._is_willing


async def page_of(address: str, *allowed: str) -> Attachment:
    """Return a page of a host that is allowed beforehand."""
    settings = Settings(allowed_hosts=allowed or ("127.0.0.1",))
    [page], _ = await GivenFiles(settings, User().answer, is_typed=True).named(address)
    return page


async def text_of(address: str, *allowed: str) -> str:
    return (await page_of(address, *allowed)).data.decode()


async def refusal(address: str, kind: type[LMChatError] = FileRefused) -> LMChatError:
    with pytest.raises(kind) as caught:
        await text_of(address)
    assert caught.value.next_step
    return caught.value


async def test_nothing_is_fetched_without_a_yes(host):
    user = User(is_willing=False)
    address = host.put("/a", reply_of(PAGE))
    with pytest.raises(
        EndpointNotAllowed, match=r"Nothing was downloaded from http://127\.0\.0\.1"
    ):
        await user.given.named(address)
    with pytest.raises(EndpointNotAllowed) as caught:
        await text_of(address, "other.example")
    assert caught.value.next_step == f"Add --allow-host 127.0.0.1:{host.port}."
    assert user.asked == [address]
    assert host.connections == 0


async def test_each_host_and_port_is_asked_about_once_a_session(host, other):
    user = User()
    first, second = host.put("/a", reply_of(PAGE)), host.put("/b?c=d", reply_of(PAGE)) + "#e"
    third = other.put("/a", reply_of(PAGE))
    for address in (first, second, third):
        await user.given.named(address, "one")
    await user.given.named(first, "two")
    assert user.asked == [first, third, first]


async def test_a_redirect_to_another_port_is_asked_about_and_one_at_the_same_is_not(host, other):
    host.redirect("/near", "/far")
    host.redirect("/far", other.put("/page", reply_of(PAGE)))
    user = User()
    [page], _ = await user.given.named(f"{host.url}/near")
    assert page.part.name == f"{other.url}/page"
    assert user.asked == [f"{host.url}/near", f"{other.url}/page"]

    with pytest.raises(EndpointNotAllowed):
        await text_of(f"{host.url}/near", f"127.0.0.1:{host.port}")
    assert other.connections == 1


async def test_a_redirect_to_another_scheme_at_the_same_port_is_asked_about(host):
    host.redirect("/near", f"https://127.0.0.1:{host.port}/page")
    user = User()

    async def answer(question):
        return await user.answer(question) and len(user.asked) == 1

    with pytest.raises(EndpointNotAllowed):
        await GivenFiles(Settings(), answer).named(f"{host.url}/near")
    assert user.asked == [f"{host.url}/near", f"https://127.0.0.1:{host.port}/page"]
    assert host.connections == 1


async def test_a_redirect_to_what_is_no_page_or_has_a_password_is_refused(host, other):
    only_web = "Only pages with http:// or https:// can be attached."
    for target, sentence in (
        ("file:///etc/passwd", only_web),
        ("ftp://127.0.0.1/a", only_web),
        ("data:text/html,evil", only_web),
        ("javascript:a()", only_web),
        ("http://xn--/b", "This is not the address of a page."),
        (other.url.replace("//", "//ada:secret@"), ""),
    ):
        error = await refusal(host.redirect("/a", target), WrongUse)
        assert sentence in error.message
        assert "secret" not in error.message_with_next_step
    assert other.connections == 0


async def test_a_proxy_of_the_environment_sees_no_page_of_this_machine(host, other, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", other.url)
    assert await text_of(host.put("/a", reply_of(PAGE))) == "Beans like sun."
    assert other.connections == 0


async def test_a_host_that_does_not_answer_is_no_model_server_for_the_next_step():
    with free_port() as port:
        error = await refusal(f"http://127.0.0.1:{port}/a", ServerUnavailable)
    assert error.next_step == "Check the address and the network."


async def test_a_wrong_address_is_one_sentence_that_does_not_quote_it():
    for address in (
        "http://ada:secret@127.0.0.1/",
        "http://" + "a" * 3000,
        "http://xn--n28h.de/a",
        "http://\ud800/",
    ):
        error = await refusal(address, WrongUse)
        assert "secret" not in error.message_with_next_step


async def test_requests_have_neither_cookies_nor_keys_nor_a_referrer(host):
    host.put("/b", reply_of(PAGE))
    extra = "Location: /b\r\nSet-Cookie: who=ada\r\n"
    host.put("/a", reply_of(b"", status="302 Found", extra=extra))
    await text_of(f"{host.url}/a")
    expected = {"host", "accept", "accept-encoding", "connection", "user-agent"}
    assert {*host.requests[1].headers} == expected


async def test_scripts_styles_and_hidden_parts_are_no_text_and_the_layout_is(host):
    html = b"""<html><head><title>T</title><style>a{}</style></head><body><h1>Beans</h1>
    <script>document.write("evil")</script><ul><li>one<li>two</ul>
    <table><tr><th>a<th>b<tr><td>1<td>2</table><pre>x\n  y</pre>
    <template>evil</template><iframe src="http://127.0.0.1:1/">evil</iframe>
    <img src="http://127.0.0.1:1/a.png"><p style="display:none">evil</p></body>"""
    text = await text_of(host.put("/a", reply_of(html)))
    assert text == "Beans\n\n  * one\n  * two\na  b\n1  2\n\n\nx\n  y"


async def test_letters_are_read_in_the_charset_of_the_page(host):
    latin = "<p>Grüße".encode("latin-1")
    utf8 = "<p>Grüße".encode()
    for media_type, body in (
        ("text/html; charset=iso-8859-1", latin),
        ("text/html", b"<meta charset=iso-8859-1>" + latin),
        ("text/html; charset=utf-8", b'<?xml version="1.0" encoding="x"?>' + utf8),
        ("text/plain; charset=iso-8859-1", latin[3:]),
        ("text/plain; charset*=us-ascii''a%00b", utf8[3:]),
        (f"text/html; charset*{'1' * 5000}=x", utf8),
    ):
        assert await text_of(host.put("/a", reply_of(body, media_type))) == "Grüße", media_type
    # a charset is read as browsers read it, also where a letter is damaged or the name is wrong
    for charset, text, encoding in (
        ("gb2312", "朱镕基", "gbk"),
        ("GBK", "朱镕基㐂", "gb18030"),
        ("Shift_JIS", "①髙橋", "cp932"),
        ("x-sjis", "①髙橋", "cp932"),
        ("euc-kr", "똠방각하", "cp949"),
        ("ks_c_5601-1987", "똠방각하", "cp949"),
        ("big5", "香港嘅", "big5hkscs"),
        ("tis-620", "“ไทย”", "cp874"),
        ("iso-8859-1", "“Grüße”", "cp1252"),
        ("iso-8859-1", "日本語です", "utf-8"),
        ("shift_jis", "日本語です", "utf-8"),
        ("iso-8859-1", "日本語です", "utf-16"),
        ("hex", "日本語です", "utf-8"),
    ):
        media_type = f"text/plain; charset={charset}"
        page = host.put("/a", reply_of(text.encode(encoding), media_type))
        assert await text_of(page) == text, charset
    damaged = "日本語です".encode("euc-jp") + b"\xff" + "日本語です".encode("euc-jp")
    page = host.put("/a", reply_of(damaged, "text/plain; charset=euc-jp"))
    assert await text_of(page) == "日本語です\ufffd日本語です"
    page = host.put("/a", reply_of("今天天气很好。".encode("gbk"), "text/plain"))
    with pytest.raises(FileRefused, match="/a is text in an unknown encoding"):
        await text_of(page)
    page = host.put("/a", reply_of("<p>今天天气很好。".encode("gbk")))
    with pytest.raises(FileRefused, match="The page is text in an unknown encoding"):
        await text_of(page)
    for charset in ("punycode", "IDNA"):  # they would take hours
        text = "xn--" + "b" * (MEGABYTE - 4)
        address = host.put("/a", reply_of(text.encode(), f"text/plain; charset={charset}"))
        assert await text_of(address) == text


async def test_what_is_no_html_is_read_as_a_file_with_the_same_bytes(host, tmp_path):
    for name, data in (
        ("beds.toml", b'[bed]\na = "<b>"\x1b[2J\x10\r\n'),
        ("run.sh", b"#!/bin/sh\n"),
        ("notes", "Möhren".encode("cp1252")),
        ("bee.svg", b"<svg/>"),
        ("bee.png", image()),
        ("plan.pdf", PDF),
        ("a.bin", bytes(range(256))),
        ("cut.png", image()[:-400]),
        ("beds.csv", "bed;plant\nMöhren;gießen\n".encode("cp850")),
        ("none.txt", b""),
    ):
        path = tmp_path / name
        path.write_bytes(data)
        of_file = await what_is_read(read_attachment(path), name)
        types = ("application/toml", "text/x-sh", "image/png", "application/octet-stream", None)
        for media_type in types:
            address = host.put(f"/{name}", reply_of(data, media_type))
            assert await what_is_read(page_of(address), address) == of_file


async def what_is_read(reading: Awaitable[Attachment], name: str) -> tuple[object, ...]:
    """Return a file without its name, or the refusal."""
    try:
        found = await reading
    except FileRefused as error:
        return error.message.replace(name, "a"), error.next_step
    return replace(found.part, name="a"), found.data


async def test_what_is_no_text_is_refused_with_one_sentence(host):
    for reply, sentence in (
        (reply_of(b"x", status="403 No"), "answered with status 403"),
        (reply_of(b"<script>a()</script>"), "The page has no text"),
        (reply_of(b"x\r\n" * (MEGABYTE // 2 + 1), "text/plain"), "has more than 1 MB of text"),
        (
            reply_of(b"x", extra="Content-Encoding: br\r\n"),
            'its compression "br" was not asked for',
        ),
        (reply_of(gzip.compress(PAGE, mtime=0)[:-9], extra=GZIP), "its compression is damaged"),
        (reply_of(PAGE, extra=GZIP), "its compression is damaged"),
    ):
        error = await refusal(host.put("/a", reply))
        assert sentence in error.message


async def test_of_100_mb_no_more_than_10_are_read(host):
    sent = itertools.count()

    def chunks():
        yield b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\n\r\n"
        for _ in range(1000):
            next(sent)
            yield b"x" * 100_000

    assert "larger than 10 MB" in (await refusal(host.put("/a", chunks()))).message
    assert next(sent) < 1000, "what is on its way when the reading ends has been sent"


def most_memory_kb():
    if os.name == "nt":
        return psutil.Process().memory_info().peak_wset // 1024
    import resource  # noqa: PLC0415 - Windows has none

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


async def test_a_gzip_bomb_takes_no_memory(host):
    packer = zlib.compressobj(1, wbits=31)
    bomb = b"".join(packer.compress(bytes(MEGABYTE)) for _ in range(150)) + packer.flush()
    before_kb = most_memory_kb()
    error = await refusal(host.put("/a", reply_of(bomb, extra=GZIP)))
    assert "larger than 10 MB" in error.message
    assert most_memory_kb() - before_kb < 60_000


async def test_html_that_would_take_minutes_or_gigabytes_is_refused(host, monkeypatch):
    monkeypatch.setattr(web_page, "_CONVERT_S", 1.0)
    hostile = b"<table>" + b"<tr><td>a<td>b" * 600_000
    assert "too complicated" in (await refusal(host.put("/a", reply_of(hostile)))).message


async def test_without_the_extra_a_sentence_says_what_to_install(host, monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda _: None)
    monkeypatch.setattr(web_page, "find_spec", lambda _: None)
    error = await refusal(host.put("/a", reply_of(PAGE)))
    assert error.next_step == f"Install it: {install_command('web')}"
    assert await text_of(host.put("/b", reply_of(b"Beans", "text/plain"))) == "Beans"
