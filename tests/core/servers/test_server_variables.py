from __future__ import annotations

from lmchat.core.servers.products import named_endpoints


def test_ollama_is_expected_where_its_variable_says():
    for host, origin in (
        ("", None),
        ("0.0.0.0", None),  # noqa: S104 - read, not bound to
        ("localhost", None),
        ("127.0.0.1:11500", "http://localhost:11500"),
        (":11500", "http://localhost:11500"),
        ("0.0.0.0:11500", "http://localhost:11500"),
        ("[::]:11500", "http://localhost:11500"),
        ("[::1]:11500", "http://localhost:11500"),
        ("http://localhost:11500/", "http://localhost:11500"),
        ("gpu-box:11500", "http://gpu-box:11500"),
        ("gpu-box", "http://gpu-box:11434"),
        ('"gpu-box:11500"', "http://gpu-box:11500"),
        (" 'gpu-box' ", "http://gpu-box:11434"),
        ('" "', None),
        ("https://gpu-box", "https://gpu-box:443"),
        ("localhost:99999", None),
        ("no host:1", None),
        ("a:b", None),
    ):
        endpoint = named_endpoints({"OLLAMA_HOST": host}).get("Ollama")
        assert (endpoint and endpoint.origin) == origin, host
