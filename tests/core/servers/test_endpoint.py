from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmchat.base.errors import EndpointNotAllowed
from lmchat.core.servers.allow_list import AllowList
from lmchat.core.servers.endpoint import Endpoint, is_address


def test_an_address_may_be_typed_with_or_without_version_and_scheme():
    for typed, base_url in [
        ("http://gpu:1234", "http://gpu:1234/v1"),
        ("http://gpu:1234/v1/", "http://gpu:1234/v1"),
        ("localhost:8080", "http://localhost:8080/v1"),
        ("http://127.0.0.1:1234", "http://localhost:1234/v1"),
        ("127.8.9.1:1234", "http://127.8.9.1:1234/v1"),  # another server may listen there
        ("http://[::1]:11434", "http://localhost:11434/v1"),
        ("http://[::ffff:127.0.0.1]:1234", "http://localhost:1234/v1"),
        ("http://0.0.0.0:8080", "http://localhost:8080/v1"),
        ("http://[::]:8080", "http://localhost:8080/v1"),
        ("http://[2001:DB8:0:0::1]:8080", "http://[2001:db8::1]:8080/v1"),
        ("https://api.example.org", "https://api.example.org:443/v1"),
        ("http://box.lan:8080/llm", "http://box.lan:8080/llm/v1"),
        ("https://host/v1beta/openai", "https://host:443/v1beta/openai"),
        ("http://127.0.0.1:11434/v1/chat/completions", "http://localhost:11434/v1"),
        ("http://box:3000/api/chat/completions", "http://box:3000/api/v1"),
        ("HTTP://LOCALHOST:1234", "http://localhost:1234/v1"),
        ("http://localhost:8000//v1//", "http://localhost:8000/v1"),
        ("http:/localhost:8000", "http://localhost:8000/v1"),
        ("https//box/v1", "https://box:443/v1"),
        ("http://box///engines//v1/chat//completions", "http://box:80/engines/v1"),
        ("box:8000/v1//models/", "http://box:8000/v1"),
        ("http://box:8000//api//chat", "http://box:8000/v1"),
        # their own APIs; others have these paths as well
        ("localhost:1234/api/v1", "http://localhost:1234/v1"),
        ("http://gpu:1234/api/v1/chat", "http://gpu:1234/v1"),
        ("http://gpu:5555/api/v0/models/", "http://gpu:5555/v1"),
        ("localhost:1234/api", "http://localhost:1234/v1"),
        ("localhost:11434/api", "http://localhost:11434/v1"),
        ("https://openrouter.ai/api/v1", "https://openrouter.ai:443/api/v1"),
        ("http://box:3000/api", "http://box:3000/api/v1"),
        ("http://box:3000/api/v1/models", "http://box:3000/api/v1"),
        ("4321", "http://localhost:4321/v1"),
        (":4321", "http://localhost:4321/v1"),
    ]:
        endpoint = Endpoint.parse(typed)
        assert (endpoint.base_url, endpoint.url) == (base_url, base_url.removesuffix("/v1"))


NO_HOSTS = [
    "http://xn--/",
    "http://xn--a/",
    "http://gpu.xn--/",
    "http://xn--n28h.de",
    "http://xn--nxasmq6b.xn--/",
    "http://xn--\xfc",
    "http://\u200d.de",
    "http://\u0661\u0662.de",
    "http://a\u2024b",
    "http://\ud800",
    "http://\U0001f999.de",
    "http://256.1.1.1",
    "http://1.2.3.4.5",
    f"http://{'9' * 5000}",
    f"http://{'a' * 64}.de",
    "http://a..b",
    "http://<a>",
    "http://a|b",
    "http://*",
]


def test_what_is_no_plain_http_address_is_refused_with_the_fixed_words():
    for typed in [
        "ftp://127.0.0.1",
        "file:///etc/passwd",
        "unix:///tmp/x.sock",
        "http://user:pw@127.0.0.1",
        "http://localhost@evil.com",
        "http://evil.com@127.0.0.1/",
        "http://",
        "http://:1234",
        "",
        "http://127.0.0.1:99999",
        "http://127.0.0.1:abc",
        "http://127.0.0.1:1234?x=1",
        "http://127.0.0.1:1234#x",
        "http://127.0.0.1\\@evil.com",
        "http://127.0.0.1 .evil.com",
        "http://127.0.0.1\n.evil.com",
        "http://127.0.0.1\t.evil.com",
        "http://[::1",
        "javascript:alert(1)",
        "http:///v1",  # as of `http://$HOST/v1` without HOST: `v1` is no host
        "https:////v1",
        "http://127.0.0.1:0",
        "http://.",
        "http://localhost:٣",
        "http://[::1%25lo]",
        *NO_HOSTS,
        f"http://{'a.' * 126}aa",  # a name has at most 253 characters
        f"http://127.0.0.1/{'x' * 2000}",
        "http://127.0.0.1/\ud800",
    ]:
        with pytest.raises(EndpointNotAllowed, match=r"^Endpoint not allowed"):
            Endpoint.parse(typed)


def test_a_refusal_repeats_nothing_of_what_may_be_a_password():
    for typed in [
        "http://ada:marked@[bad",
        "http://ada:marked@host",
        "http://ada:marked",
        "http://ada:marked@h\u2100st",
        "ftp://ada:marked@host",
        "http://host/?key=marked",
        "http://host:8080/#marked",
        "http://[marked]:1",
    ]:
        with pytest.raises(EndpointNotAllowed) as caught:
            Endpoint.parse(typed)
        error = caught.value
        assert "marked" not in f"{error} {error.next_step} {error.details} {error.__cause__}"
        assert not is_address(typed)


PARTS = ["http://", "https://", "//", "localhost", "127.0.0.1", "[::1]", "evil.com", "127.1"]
PARTS += [*"@:/\\#?%.0[] \t\n\x00。\uff0eé-", "..", "::", "0x7f", "1234", "v1"]


@given(st.lists(st.sampled_from(PARTS) | st.text(max_size=3), max_size=7).map("".join))
def test_whatever_is_typed_is_refused_or_reads_back_as_itself(typed: str):
    try:
        endpoint = Endpoint.parse(typed)
        AllowList().check(endpoint)
    except EndpointNotAllowed as error:
        assert error.message.startswith("Endpoint not allowed")  # noqa: PT017 - most of these are refused
        return
    assert Endpoint.parse(endpoint.base_url) == endpoint
    assert endpoint.host == "localhost"
    url = httpx.URL(endpoint.base_url)
    assert (url.host.strip("[]"), url.port or 80 if url.scheme == "http" else url.port or 443) == (
        endpoint.host,
        endpoint.port,
    )
    assert not url.userinfo
