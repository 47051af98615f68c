from __future__ import annotations

from lmchat.servers.products import named_endpoints


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
        ("https://gpu-box", "https://gpu-box:443"),
        ("localhost:99999", None),
        ("no host:1", None),
        ("a:b", None),
    ):
        endpoint = named_endpoints({"OLLAMA_HOST": host}).get("Ollama")
        assert (endpoint and endpoint.origin) == origin, host


def test_lm_studio_is_expected_where_it_binds():
    for host, origin in (
        ("", None),
        ("0.0.0.0", "http://localhost:1234"),  # noqa: S104 - read, not bound to
        ("127.0.0.2", "http://localhost:1234"),
        ("192.168.1.5", None),
    ):
        endpoint = named_endpoints({"LMS_SERVER_HOST": host}).get("LM Studio")
        assert (endpoint and endpoint.origin) == origin, host


def test_llama_cpp_is_expected_where_its_variables_say():
    for environ, origin in (
        ({}, None),
        ({"LLAMA_ARG_PORT": "9090"}, "http://localhost:9090"),
        ({"LLAMA_ARG_HOST": "0.0.0.0", "LLAMA_ARG_PORT": "9090"}, "http://localhost:9090"),  # noqa: S104 - read, not bound to
        ({"LLAMA_ARG_HOST": "::1"}, "http://localhost:9931"),
        ({"LLAMA_ARG_HOST": "localhost"}, "http://localhost:9931"),
        ({"LLAMA_ARG_HOST": "/run/llama.sock"}, None),
        ({"LLAMA_ARG_HOST": "gpu-box"}, None),
        ({"LLAMA_ARG_PORT": "-1"}, None),
        ({"LLAMA_ARG_PORT": "\u0669"}, None),
    ):
        endpoint = named_endpoints(environ).get("llama.cpp")
        assert (endpoint and endpoint.origin) == origin, environ
