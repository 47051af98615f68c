"""`lmchat serve` in front of scripted servers: what passes, what is refused, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
import time
from itertools import product

import httpx
import pytest

from tests.support.programs import Cli, wait_until
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import (
    CHAT,
    chat_reply,
    echo,
    llama_cpp,
    lm_studio,
    model_list,
    ollama,
    plain,
)
from tests.support.scripted_server import (
    DONE,
    Cut,
    Gate,
    Hold,
    ScriptedServer,
    finish,
    json_reply,
    raw_reply,
    sse,
)
from tests.support.serving import serving

pytestmark = pytest.mark.timeout(120)
HI = [{"role": "user", "content": "Hi"}]


@pytest.fixture
def gateway(tmp_path, server):
    """`lmchat serve` in front of a plain server with the model `tiny`."""
    with serving(tmp_path, url=server.url) as program:
        yield program


def _error(reply: httpx.Response) -> dict:
    return reply.json()["error"]


# What passes


def test_a_stream_comes_back_byte_for_byte_and_the_body_goes_out_so(gateway, server):
    events = [b"data: %d \xff\xf0 not even JSON\n\n" % number for number in range(50)]
    server.on(CHAT, sse(b": a comment\r\n", *events, finish(), DONE, every=7))
    body = b'{ "model" : "tiny","messages":[{"role":"user","content":"\\u0041"}], "x": 1.00 }'
    reply = gateway.post("/v1/chat/completions", content=body)
    assert server.seen(CHAT)[0].body == body
    end = b"data: " + json.dumps(finish()).encode() + b"\n\n" + DONE
    assert reply.content == b": a comment\r\n" + b"".join(events) + end
    assert reply.headers["content-type"] == "text/event-stream"


def test_a_chunk_is_passed_on_before_its_event_is_complete(gateway, server):
    gate = Gate()
    server.on(CHAT, sse(b'data: {"cho', gate, b'ices":[]}\n\n', DONE))
    url = f"{gateway.url}/v1/chat/completions"
    with httpx.stream("POST", url, json={"model": "tiny", "messages": HI}, timeout=10) as reply:
        chunks = reply.iter_raw()
        assert next(chunks) == b'data: {"cho'
        gate.open()
        assert b"".join(chunks) == b'ices":[]}\n\n' + DONE


def test_only_some_headers_come_back_and_the_key_of_the_program_stays_here(gateway, server):
    headers = {"X-Request-Id": "r1", "Set-Cookie": "a=b", "Access-Control-Allow-Origin": "*"}
    server.on(CHAT, json_reply({"choices": []}, headers=headers))
    reply = gateway.post(
        "/v1/chat/completions",
        {"model": "tiny", "messages": HI},
        headers={"Authorization": "Bearer sk-of-the-program", "Cookie": "c=d"},
    )
    assert reply.headers["x-request-id"] == "r1"
    assert not {"set-cookie", "access-control-allow-origin"} & set(reply.headers)
    assert not {"authorization", "cookie"} & set(server.seen(CHAT)[0].headers)


def test_a_header_that_is_not_ascii_harms_nothing(gateway, server):
    head = b"HTTP/1.1 200 OK\r\nContent-Type: \xe2\x82\xac\r\nContent-Length: 2\r\n\r\n{}"
    server.on(CHAT, raw_reply(head))
    assert gateway.chat().content == b"{}"


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/embeddings"])
def test_prompts_and_embeddings_pass_too(gateway, server, path):
    server.on(f"POST {path}", json_reply({"data": [[0.25, 0.5]]}))
    assert gateway.post(path, {"model": "tiny", "input": "Hi"}).json() == {"data": [[0.25, 0.5]]}
    assert server.seen(f"POST {path}")[0].json == {"model": "tiny", "input": "Hi"}


def test_a_refusal_of_the_server_comes_as_it_came(gateway, server):
    refusal = {"error": {"message": "too long", "code": 418}}
    server.on(CHAT, json_reply(refusal, status=413, headers={"Retry-After": "7"}))
    reply = gateway.chat()
    assert (reply.status_code, reply.json()) == (413, refusal)
    assert reply.headers["retry-after"] == "7"


def test_a_busy_server_is_asked_again_before_the_first_byte(tmp_path, server):
    busy = json_reply({"error": "busy"}, status=503, headers={"Retry-After": "0"})
    server.on(CHAT, busy, chat_reply())
    with serving(tmp_path, url=server.url) as gateway:
        assert gateway.chat().status_code == 200
    assert len(server.seen(CHAT)) == 2


def test_a_server_that_still_loads_its_model_is_waited_for(tmp_path, server):
    server.forget()
    error = {"message": "Loading model", "type": "unavailable_error", "code": 503}
    loading = json_reply({"error": error}, status=503, headers={"Server": "llama.cpp"})
    llama_cpp(server).on(CHAT, loading, echo)
    with serving(tmp_path, url=server.url) as gateway:
        assert gateway.chat("tiny.gguf").status_code == 200
    assert len(server.seen(CHAT)) == 2


def test_the_server_gets_its_own_key_and_not_that_of_the_program(tmp_path, server):
    server.forget()
    plain(server, "tiny", key="sk-own-key")
    config = f'[[endpoints]]\nname = "mine"\nurl = "{server.url}"\napi_key = "sk-own-key"\n'
    with serving(tmp_path, "--key", "sk-for-programs", config=config) as gateway:
        headers = {"Authorization": "Bearer sk-for-programs"}
        body = {"model": "tiny", "messages": HI}
        reply = gateway.post("/v1/chat/completions", body, headers=headers)
    assert reply.status_code == 200
    assert server.seen(CHAT)[0].headers["authorization"] == "Bearer sk-own-key"


_KEY = "sk-own-key"
_QUOTED = {"error": {"message": f"Incorrect API key provided: {_KEY}."}}


@pytest.mark.parametrize(
    "reply",
    [
        json_reply(_QUOTED, status=400, headers={"X-Request-Id": f"id-{_KEY}"}),
        json_reply(_QUOTED, headers={"Retry-After": _KEY}),
        sse("Hel", f"data: {json.dumps(_QUOTED)}\n\n".encode()),
        sse("Hel", f"data: {json.dumps(_QUOTED)}\n\n".encode(), every=3),
        sse(f"data: the end is {_KEY[:-1]}".encode()),
    ],
    ids=["refusal", "reply", "stream", "stream in small parts", "beginning of a key"],
)
def test_a_key_that_the_server_repeats_is_cut_out_of_its_reply(tmp_path, server, reply):
    server.forget()
    plain(server, "tiny", key=_KEY).on(CHAT, reply)
    config = f'[[endpoints]]\nname = "mine"\nurl = "{server.url}"\napi_key = "{_KEY}"\n'
    with serving(tmp_path, config=config) as gateway:
        passed = gateway.chat(stream=True)
    assert server.seen(CHAT)[0].headers["authorization"] == f"Bearer {_KEY}"
    assert _KEY not in f"{passed.text} {passed.headers}"
    assert passed.text.endswith(("}", "\n\n", _KEY[:-1]))


def test_an_answer_that_breaks_off_breaks_off_for_the_program_too(gateway, server):
    server.on(CHAT, sse("Hel", Cut()))
    with pytest.raises(httpx.RemoteProtocolError):
        gateway.chat(stream=True)
    server.on(CHAT, chat_reply())
    assert gateway.chat().status_code == 200


@pytest.mark.rule("R-28")
def test_a_program_that_hangs_up_ends_the_generation(gateway, server):
    server.on(CHAT, sse("Hel", Hold()))
    url = f"{gateway.url}/v1/chat/completions"
    with httpx.stream("POST", url, json={"model": "tiny", "messages": HI}, timeout=10) as reply:
        next(reply.iter_raw())
    assert server.seen(CHAT)[0].client_left.wait(5)


@pytest.mark.rule("R-25")
def test_a_program_that_hangs_up_while_it_waits_for_its_turn_is_never_sent(gateway, server):
    gate = Gate()
    server.on(CHAT, sse("Hel", gate, finish(), DONE), chat_reply())
    url = f"{gateway.url}/v1/chat/completions"
    body = {"model": "tiny", "messages": HI}
    with httpx.stream("POST", url, json=body, timeout=10) as first:
        chunks = first.iter_raw()  # closed with its last reference, and so is the connection
        next(chunks)
        with pytest.raises(httpx.ReadTimeout):  # a server without slots answers one at once
            httpx.post(url, json={**body, "user": "second"}, timeout=0.3)
        gate.open()
        assert b"".join(chunks).endswith(DONE)
    assert gateway.chat(user="third").status_code == 200
    assert [request.json.get("user") for request in server.seen(CHAT)] == [None, "third"]


def test_a_hundred_parallel_streams_arrive_without_loss(tmp_path, server):
    def answer_of(seen):
        name = seen.json["user"]
        return sse(*(f"{name}:{number} " for number in range(20)), finish(), DONE, every=100)

    server.forget()
    llama_cpp(server).on(CHAT, answer_of)
    server.on("GET /props", json_reply({"total_slots": 100, "default_generation_settings": {}}))
    bodies = [{"model": "tiny.gguf", "messages": HI, "user": f"u{n}"} for n in range(100)]

    async def ask_all(url: str) -> list[str]:
        limits = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(limits=limits, timeout=60) as client:
            replies = await asyncio.gather(*(client.post(url, json=body) for body in bodies))
        return [reply.text for reply in replies]

    config = "[serve]\nrequests_per_minute = 0\n"
    with serving(tmp_path, url=server.url, config=config) as gateway:
        through = asyncio.run(ask_all(f"{gateway.url}/v1/chat/completions"))
    assert through == asyncio.run(ask_all(f"{server.url}/v1/chat/completions"))


# Names and servers


def _endpoints(*servers: ScriptedServer) -> str:
    return "".join(
        f'[[endpoints]]\nname = "s{number}"\nurl = "{server.url}"\n'
        for number, server in enumerate(servers)
    )


def _ids(gateway) -> set[str]:
    return {row["id"] for row in gateway.get("/v1/models").json()["data"]}


def test_a_name_of_two_servers_leads_to_either_by_its_product(tmp_path, server):
    server.forget()
    with ScriptedServer() as other:
        llama_cpp(server).on(CHAT, echo)
        ollama(other, "tiny.gguf").on(CHAT, echo)
        with serving(tmp_path, config=_endpoints(server, other)) as gateway:
            assert _ids(gateway) >= {"tiny.gguf", "tiny.gguf@llama.cpp", "tiny.gguf@Ollama"}
            for name in ("tiny.gguf@Ollama", "tiny.gguf@llama.cpp"):
                assert gateway.chat(name).status_code == 200
        assert [one.json["model"] for one in other.seen(CHAT)] == ["tiny.gguf"]
        assert [one.json["model"] for one in server.seen(CHAT)] == ["tiny.gguf"]


def test_servers_that_go_and_appear_are_noticed_within_5_seconds(tmp_path, server):
    with serving(tmp_path, url=server.url) as gateway:
        server.stop()
        assert gateway.chat().status_code == 503
        began_s = time.monotonic()
        wait_until(lambda: gateway.get("/v1/models").status_code == 503, "the server is gone")
        server.start()
        wait_until(lambda: gateway.get("/v1/models").status_code == 200, "it is there again")
        assert time.monotonic() - began_s < 2 * 5
        assert gateway.chat().status_code == 200


def test_lmchat_serve_does_not_pass_requests_on_to_itself(tmp_path, server):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    config = _endpoints(server) + f'[[endpoints]]\nname = "me"\nurl = "127.0.0.1:{port}"\n'
    with serving(tmp_path, "--port", str(port), config=config) as gateway:
        server.on("GET /v1/models", model_list("other"))
        wait_until(lambda: "other" in _ids(gateway), "a look while it answers")
        assert _ids(gateway) == {"other"}


def test_without_a_server_everything_says_so(tmp_path, alone):
    with serving(tmp_path, url=alone.url) as gateway:
        for reply in (gateway.chat(), gateway.get("/v1/models")):
            assert reply.status_code == 503
            assert "Nothing answers at 127.0.0.1:1." in _error(reply)["message"]


def test_a_model_that_is_not_loaded_is_loaded_first(tmp_path, server):
    server.forget()
    lm_studio(server, loaded=("qwen3-8b",), has_jit=False)
    with serving(tmp_path, url=server.url) as gateway:
        assert gateway.chat("gemma-3-4b").status_code == 200
    statuses = [request.json["model"] for request in server.seen(CHAT)]
    assert statuses == ["gemma-3-4b", "gemma-3-4b"]
    assert len(server.seen("POST /api/v1/models/load")) == 1


# What is refused


@pytest.mark.parametrize(
    ("fields", "status", "text"),
    [
        ({"model": "nope"}, 404, "No server has a model nope."),
        ({"model": ""}, 400, "No LM Studio model selected"),
        ({"model": 7}, 400, "Invalid model parameter"),
        ({"messages": []}, 400, "Invalid messages array"),
        ({"messages": ["Hi"]}, 400, "Invalid messages array"),
        ({"messages": [{"role": "god", "content": "Hi"}]}, 400, "Invalid message role"),
        ({"messages": [{"role": "user"}]}, 400, "Invalid message content"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "Invalid message content"),
        ({"messages": [{"role": "tool", "content": ["x"]}]}, 400, "Invalid message content"),
    ],
)
def test_what_is_wrong_is_refused_in_the_shape_of_openai(gateway, server, fields, status, text):
    reply = gateway.post("/v1/chat/completions", {"model": "tiny", "messages": HI, **fields})
    assert reply.status_code == status
    assert _error(reply)["message"].startswith(text)
    assert set(_error(reply)) == {"message", "type", "param", "code"}
    assert (_error(reply)["code"] == "model_not_found") is (status == 404)
    assert not server.seen(CHAT)


def test_messages_of_every_role_and_parts_pass(gateway, server):
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": [{"type": "text", "text": "Be short."}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "1", "content": ""},
    ]
    assert gateway.post("/v1/chat/completions", {"model": "tiny", "messages": messages}).is_success
    assert server.seen(CHAT)[0].json["messages"] == messages


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"model": "\\ud800"}']
)
def test_a_body_that_is_no_json_object_is_refused(gateway, body):
    reply = gateway.post("/v1/chat/completions", content=body)
    assert reply.status_code == 400
    assert gateway.chat().status_code == 200


def test_a_name_in_a_body_that_is_no_utf_8_is_refused(gateway):
    body = b'{"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "\xff": 1}'
    reply = gateway.post("/chat/completions", content=body)
    assert reply.status_code == 400
    assert reply.json() == {"error": "The body of the request is not a JSON object."}


@pytest.mark.parametrize(
    ("path", "field", "words"),
    [
        ("/v1/chat/completions", "model", "Invalid model parameter"),
        ("/chat/completions", "model", "Invalid model parameter"),
        ("/chat/completions", "endpoint", "Endpoint not allowed"),
    ],
)
def test_a_name_of_megabytes_is_refused_as_such(gateway, server, path, field, words):
    reply = gateway.chat(path=path, **{"model": "tiny", field: "m" * 9_500_000})
    assert reply.status_code in (400, 403)
    assert words in reply.text
    assert len(reply.content) < 1000
    assert not server.seen(CHAT)


@pytest.mark.parametrize("is_announced", [True, False])
def test_more_than_10_mb_are_refused_also_if_the_size_is_not_announced(
    gateway, server, is_announced
):
    body = b'{"model":"tiny","messages":"' + b"x" * 10_000_001 + b'"}'
    parts = body if is_announced else (body[at : at + 65536] for at in range(0, len(body), 65536))
    try:
        assert gateway.post("/v1/chat/completions", content=parts).status_code == 413
    except (httpx.WriteError, httpx.ReadError):
        assert not is_announced  # the connection was closed while the program still sent
    assert gateway.chat().status_code == 200
    assert len(server.seen(CHAT)) == 1


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.nip.io"},
        {"Host": "localhost.:8642"},
        {"Host": "127.0.0.1:1"},
        {"Host": ""},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_web_pages_and_foreign_hosts_are_refused_everywhere(gateway, server, headers):
    for path in ("/v1/models", "/v1/chat/completions", "/metrics/reset", "/x"):
        for method in ("GET", "POST", "OPTIONS"):
            reply = httpx.request(method, gateway.url + path, headers=headers, json={})
            assert reply.status_code == 403
            assert "access-control-allow-origin" not in reply.headers
    assert not server.seen(CHAT)


def test_this_machine_by_each_of_its_names_passes(gateway):
    for name in ("127.0.0.1", "localhost", "[::1]", "LOCALHOST"):
        for host in (name, f"{name}:{gateway.port}"):
            assert gateway.get("/v1/models", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("site", ["none", "same-origin"])
def test_an_address_that_a_person_typed_into_a_browser_passes(gateway, site):
    assert gateway.get("/v1/models", headers={"Sec-Fetch-Site": site}).status_code == 200


def test_with_a_key_this_machine_may_have_any_name(tmp_path, server):
    with serving(tmp_path, "--key", "garden-gate", url=server.url) as gateway:
        headers = {"Host": f"box.local:{gateway.port}", "Authorization": "Bearer garden-gate"}
        assert gateway.get("/v1/models", headers=headers).status_code == 200
        headers["Origin"] = "http://box.local"
        assert gateway.get("/v1/models", headers=headers).status_code == 403


@pytest.mark.parametrize("is_in_list_of_processes", [True, False])
def test_a_key_guards_every_route(tmp_path, server, is_in_list_of_processes):
    words = ("--key", "s3same") if is_in_list_of_processes else ()
    env = {} if is_in_list_of_processes else {"LMCHAT_SERVE_KEY": "s3same"}
    with serving(tmp_path, *words, url=server.url, env=env) as gateway:
        for path in ("/v1/models", "/health", "/metrics", "/x"):
            for key in ("", "Bearer wrong", "s3same", "Basic s3same", "Bearer s3same\xe9"):
                headers = {"Authorization": key.encode("latin-1")} if key else {}
                reply = gateway.get(path, headers=headers)
                assert (reply.status_code, _error(reply)["code"]) == (401, "invalid_api_key")
                assert "s3same" not in reply.text
        reply = gateway.get("/v1/models", headers={"Authorization": "Bearer s3same"})
        assert reply.status_code == 200


def test_a_wrong_method_and_a_wrong_path_are_refused(gateway):
    reply = gateway.get("/v1/chat/completions")
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert _error(reply)["message"]
    assert gateway.get("/v1/nothing").status_code == 404
    assert httpx.delete(gateway.url + "/metrics").status_code == 405


@pytest.mark.parametrize(
    "words",
    [
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ],
)
def test_malformed_http_is_refused_and_the_next_request_is_answered(gateway, words):
    with socket.create_connection(("127.0.0.1", gateway.port), 5) as connection:
        connection.sendall(words)
        connection.shutdown(socket.SHUT_WR)
        reply = connection.recv(65536)
    assert reply[:10] in (b"", b"HTTP/1.1 4")
    assert gateway.chat().status_code == 200


def test_the_limit_of_requests_names_the_seconds_to_wait(tmp_path, server):
    config = "[serve]\nrequests_per_minute = 2\n"
    with serving(tmp_path, url=server.url, config=config) as gateway:
        replies = [gateway.chat() for _ in range(3)]
    assert [reply.status_code for reply in replies] == [200, 200, 429]
    text = _error(replies[2])["message"]
    assert text.startswith("Too many requests to LMStudio, please try again later: ")
    assert "under [serve]" in text
    assert 0 < int(replies[2].headers["retry-after"]) <= 60


# Source routes


def test_health_models_and_detection_have_their_old_json(gateway, server):
    assert gateway.get("/health").json() == {"healthy": True, "endpoint": server.url, "models": 1}
    assert gateway.get("/detect-endpoint").json() == {"endpoint": server.url, "detected": True}
    row = gateway.get("/models").json()["data"][0]
    assert set(row) == {"id", "object", "created", "owned_by"}
    for path in ("/health", "/models"):
        named = gateway.get(path, params={"endpoint": server.url})
        assert named.json() == gateway.get(path).json()


def test_source_routes_without_a_server_have_their_old_errors(tmp_path, alone):
    with serving(tmp_path, url=alone.url) as gateway:
        health = gateway.get("/health")
        assert (health.status_code, health.json()["healthy"]) == (500, False)
        assert health.json()["error"]
        detected = gateway.get("/detect-endpoint")
        assert detected.status_code == 404
        assert detected.json() == {"detected": False, "error": "No LMStudio server detected"}
        models = gateway.get("/models")
        assert (models.status_code, list(models.json())) == (500, ["error"])
        chat = gateway.chat(path="/chat/completions", endpoint=alone.url)
        assert (chat.status_code, chat.json()["error"]) == (500, "Streaming failed")


def test_a_server_that_is_neither_found_nor_configured_is_not_asked(tmp_path, server):
    config = f'api_key = "sk-mine"\n{_endpoints(server)}'
    with ScriptedServer() as other, serving(tmp_path, config=config) as gateway:
        plain(other, "tiny", key="sk-mine")
        for path, url in product(("/health", "/models"), (other.url, "file:///etc")):
            reply = gateway.get(path, params={"endpoint": url})
            assert reply.status_code == 403
            assert reply.json()["error"].startswith("Endpoint not allowed")
        reply = gateway.chat(path="/chat/completions", endpoint=other.url)
        assert (reply.status_code, reply.json()["error"][:20]) == (403, "Endpoint not allowed")
        assert not other.seen()


def test_the_chat_of_the_source_documents_streams_unless_told_otherwise(gateway, server):
    reply = gateway.chat(path="/chat/completions", endpoint=server.url)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream")
    assert server.seen(CHAT)[0].json == {"model": "tiny", "messages": HI, "stream": True}
    gateway.chat(path="/chat/completions", stream=False)
    assert server.seen(CHAT)[1].json == {"model": "tiny", "messages": HI, "stream": False}

    reply = gateway.chat(path="/chat/completions", endpoint="http://example.com")
    assert (reply.status_code, reply.json()["error"][:20]) == (403, "Endpoint not allowed")
    server.on(CHAT, json_reply({"error": "broken"}, status=500))
    reply = gateway.chat(path="/chat/completions")
    assert (reply.status_code, reply.json()["error"]) == (500, "Streaming failed")
    reply = gateway.post("/chat/completions", {"model": "tiny", "messages": []})
    assert (reply.status_code, reply.json()["error"][:22]) == (400, "Invalid messages array")


def test_the_counters_count_and_can_be_reset(gateway, server):
    gateway.chat()
    gateway.chat(messages=[])
    counted = gateway.get("/metrics").json()
    names = ("totalRequests", "successfulRequests", "failedRequests", "refusedRequests")
    assert [counted[name] for name in names] == [1, 1, 0, 1]
    assert counted["averageResponseTime"] > 0
    assert gateway.post("/metrics/reset").json() == {"message": "Metrics reset successfully"}
    assert not any(gateway.get("/metrics").json().values())


def test_the_ledger_gets_the_figures_and_no_content(tmp_path, gateway, server):
    server.on(CHAT, chat_reply("SECRET-ANSWER"), sse("x", Cut()))
    gateway.chat(messages=[{"role": "user", "content": "SECRET-PROMPT"}], stream=True)
    with pytest.raises(httpx.RemoteProtocolError):
        gateway.chat(stream=True)
    assert gateway.end() == 0
    row = Cli(home=tmp_path).json("stats", "--json")["data"][0]
    assert (row["model"], row["turns"], row["complete"]) == ("tiny", 2, 1)
    assert row["ttft_ms"]["p50"] > 0
    assert Cli(home=tmp_path).json("metrics")["totalRequests"] == 2
    for file in (tmp_path / "lmchat").rglob("*"):
        if file.is_file():
            assert b"SECRET" not in file.read_bytes()


def test_answers_pass_though_the_disk_takes_no_figures(tmp_path, server):
    (tmp_path / "lmchat" / "sessions.db").mkdir(parents=True)
    with serving(tmp_path, url=server.url) as gateway:
        assert [gateway.chat().status_code for _ in range(2)] == [200, 200]
        assert gateway.end() == 0


# Start and end


def test_a_terminal_that_closes_ends_it(tmp_path, server):
    argv = Cli(home=tmp_path, url=server.url).argv("serve", "--port", "0")
    with PtyProgram(argv, home=tmp_path) as program:
        program.wait_for("Ctrl+C ends it.")
        program.hang_up()
        assert program.wait_exit() == 0


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_a_running_answer_end(gateway, server, number):
    gate = Gate()
    server.on(CHAT, sse("Hel", gate, "lo", finish(), DONE))
    url = f"{gateway.url}/v1/chat/completions"
    with httpx.stream("POST", url, json={"model": "tiny", "messages": HI}, timeout=10) as reply:
        chunks = reply.iter_raw()
        next(chunks)
        gateway.process.send_signal(number)
        wait_until(lambda: not _accepts(gateway.port), "no new connections")
        gate.open()
        assert b"".join(chunks).endswith(DONE)
    assert gateway.process.wait(10) == 0


def _accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_an_answer_that_does_not_end_is_cut_after_5_seconds(gateway, server):
    server.on(CHAT, sse("Hel", Hold()))
    url = f"{gateway.url}/v1/chat/completions"
    with httpx.stream("POST", url, json={"model": "tiny", "messages": HI}, timeout=20) as reply:
        chunks = reply.iter_raw()  # closed with its last reference, and so is the connection
        next(chunks)
        began_s = time.monotonic()
        assert gateway.end() == 0
        assert 4 < time.monotonic() - began_s < 10
    assert server.seen(CHAT)[0].client_left.wait(5)


def test_on_a_terminal_each_request_is_one_safe_line(tmp_path, server):
    server.on(CHAT, chat_reply(*("word " for _ in range(30))))
    argv = Cli(home=tmp_path, url=server.url).argv("serve", "--port", "0")
    with PtyProgram(argv, home=tmp_path, size=(120, 20)) as program:
        program.wait_for("Ctrl+C ends it.")
        url = re.search(r"http://[0-9.:]+/v1", program.text)[0]
        body = {"model": "tiny", "messages": HI, "stream": True}
        httpx.post(f"{url}/chat/completions", json=body, headers={"User-Agent": "Editor/1.0 (X)"})
        httpx.get(f"{url}/%1b[2Jmodels", headers={"User-Agent": b"Ed\xe9\x9b2J"})
        program.wait_for(re.compile(r"Editor/1.0 +tiny +200 +\d+\.\d\d s +\d+\.\d tok/s"))
        program.wait_for(re.compile(r"/v1/.*models +404"))
        assert "OpenAI-compatible" in program.text  # the servers, above the lines
        program.type("\x03")
        assert program.wait_exit() == 0


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("--host", "10.0.0.1"), "needs --key"),
        (("--host", "192.168.1.20", "--key", ""), "needs --key"),
        (("--host", "192.0.2.1", "--key", " \r"), "needs --key"),
        (("--key", "schlüssel"), "The value of --key"),
        (("--port", "70000"), "--port must be a port from 0 to 65535"),
        (("--port", "http"), "--port must be a port from 0 to 65535"),
        (("--host", "no such host", "--key", "x"), "Cannot listen at no such host"),
    ],
)
def test_wrong_options_are_one_sentence(alone, words, text):
    done = alone("serve", *words)
    assert done.returncode == 2
    assert text in done.stderr


def test_a_port_in_use_is_one_sentence(alone, gateway):
    done = alone("serve", "--port", str(gateway.port))
    assert done.returncode == 2
    assert (
        f"Cannot listen at 127.0.0.1, port {gateway.port}: Address already in use." in done.stderr
    )


def test_without_the_extra_one_sentence_names_the_install_line(alone, tmp_path):
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError(name='starlette')")
    done = alone("serve", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        'lmchat: lmchat serve needs two more packages; install them: pip install "lmchat[serve]"\n'
    )
