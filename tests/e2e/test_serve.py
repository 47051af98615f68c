"""`lmchat serve` in front of scripted servers: what passes, what is refused, and how it ends."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import socket
from contextlib import suppress

import httpx
import pytest

from tests.support.programs import Cli, Inside, wait_until
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
from tests.support.serving import CHAT_PATH, HI, serving

pytestmark = pytest.mark.timeout(120)
KEY = "sk-own-key"  # of the server
GATE = "s3same"  # the key of `lmchat serve`
UNLIMITED = "[serve]\nrequests_per_minute = 0\n"


def endpoints(*servers: ScriptedServer, key: str = "") -> str:
    return "".join(
        f'[[endpoints]]\nname = "s{number}"\nurl = "{server.url}"\napi_key = "{key}"\n'
        for number, server in enumerate(servers)
    )


@pytest.fixture(scope="module")
def started():
    with ScriptedServer() as server:
        yield plain(server, "tiny", key=KEY)


@pytest.fixture(scope="module")
def gateway(started, tmp_path_factory):
    """`lmchat serve` in front of a server with the model `tiny`, which wants a key."""
    config = UNLIMITED + endpoints(started, key=KEY)
    with serving(tmp_path_factory.mktemp("home"), config=config) as program:
        yield program


@pytest.fixture
def server(started):
    """The server behind it, as it was at first."""
    started.requests.clear()
    return plain(started, "tiny", key=KEY)


def error_of(reply: httpx.Response) -> dict:
    return reply.json()["error"]


# What passes


def test_a_stream_comes_back_byte_for_byte_and_the_body_goes_out_so(gateway, server):
    events = [b"data: %d \xff\xf0 not even JSON\n\n" % number for number in range(30)]
    server.on(CHAT, sse(b": a comment\r\n", *events, finish(), DONE, every=7))
    body = b'{ "model" : "tiny","messages":[{"role":"user","content":"\\u0041"}], "x": 1.00 }'
    reply = gateway.post(CHAT_PATH, content=body)
    assert server.seen(CHAT)[0].body == body
    end = b"data: " + json.dumps(finish()).encode() + b"\n\n" + DONE
    assert reply.content == b": a comment\r\n" + b"".join(events) + end
    assert reply.headers["content-type"] == "text/event-stream"


def test_a_chunk_is_passed_on_before_its_event_is_complete(gateway, server):
    gate = Gate()
    server.on(CHAT, sse(b'data: {"cho', gate, b'ices":[]}\n\n', DONE))
    with gateway.stream() as reply:
        chunks = reply.iter_raw()
        assert next(chunks) == b'data: {"cho'
        gate.open()
        assert b"".join(chunks) == b'ices":[]}\n\n' + DONE


def test_only_some_headers_come_back_and_the_server_gets_its_own_key_alone(gateway, server):
    headers = {"X-Request-Id": "r1", "Set-Cookie": "a=b", "Access-Control-Allow-Origin": "*"}
    server.on(CHAT, json_reply({"choices": []}, headers=headers))
    reply = gateway.post(
        CHAT_PATH,
        {"model": "tiny", "messages": HI},
        headers={"Authorization": "Bearer sk-of-the-program", "Cookie": "c=d"},
    )
    assert reply.headers["x-request-id"] == "r1"
    assert not {"set-cookie", "access-control-allow-origin"} & set(reply.headers)
    assert server.seen(CHAT)[0].headers["authorization"] == f"Bearer {KEY}"
    assert "cookie" not in server.seen(CHAT)[0].headers
    head = b"HTTP/1.1 200 OK\r\nContent-Type: \xe2\x82\xac\r\nContent-Length: 2\r\n\r\n{}"
    server.on(CHAT, raw_reply(head))
    assert gateway.chat().content == b"{}", "a header that is not ASCII harms nothing"


def test_prompts_and_embeddings_pass_too(gateway, server):
    for path in ("/v1/completions", "/v1/embeddings"):
        server.on(f"POST {path}", json_reply({"data": [[0.25, 0.5]]}))
        reply = gateway.post(path, {"model": "tiny", "input": "Hi"})
        assert reply.json() == {"data": [[0.25, 0.5]]}
        assert server.seen(f"POST {path}")[0].json == {"model": "tiny", "input": "Hi"}


def test_a_refusal_comes_as_it_came_and_a_busy_server_is_asked_again(gateway, server):
    refusal = {"error": {"message": "too long", "code": 418}}
    busy = json_reply({"error": "busy"}, status=503, headers={"Retry-After": "0"})
    refuse = json_reply(refusal, status=413, headers={"Retry-After": "7"})
    server.on(CHAT, busy, refuse)
    reply = gateway.chat()
    assert (reply.status_code, reply.json()) == (413, refusal)
    assert reply.headers["retry-after"] == "7"
    assert len(server.seen(CHAT)) == 2


def test_a_key_that_the_server_repeats_is_cut_out_of_its_reply(gateway, server):
    quoted = {"error": {"message": f"Incorrect API key provided: {KEY}."}}
    event = f"data: {json.dumps(quoted)}\n\n".encode()
    for reply in (
        json_reply(quoted, status=400, headers={"X-Request-Id": f"id-{KEY}"}),
        json_reply(quoted, headers={"Retry-After": KEY}),
        sse("Hel", event),
        sse("Hel", event, every=3),
        sse(f"data: the end is {KEY[:-1]}".encode()),
    ):
        server.on(CHAT, reply)
        passed = gateway.chat(stream=True)
        assert KEY not in f"{passed.text} {passed.headers}"
        assert passed.text.endswith(("}", "\n\n", KEY[:-1]))


def test_an_answer_that_breaks_off_breaks_off_for_the_program_too(gateway, server):
    server.on(CHAT, sse("Hel", Cut()))
    with pytest.raises(httpx.RemoteProtocolError):
        gateway.chat(stream=True)
    server.on(CHAT, chat_reply())
    assert gateway.chat().status_code == 200


def test_a_program_that_hangs_up_ends_the_generation_and_frees_the_server(gateway, server):
    server.on(CHAT, sse("Hel", Hold()), chat_reply())
    with gateway.stream() as reply:
        next(reply.iter_raw())
    assert server.seen(CHAT)[0].client_left.wait(5)
    gate = Gate()
    server.on(CHAT, sse("Hel", gate, finish(), DONE), chat_reply())
    with gateway.stream() as first:
        chunks = first.iter_raw()  # closed with its last reference, and so is the connection
        next(chunks)
        with pytest.raises(httpx.ReadTimeout):  # a server without slots answers one at once
            gateway.http.post(
                gateway.url + CHAT_PATH,
                json={"model": "tiny", "messages": HI, "user": "waiting"},
                timeout=0.3,
            )
        gate.open()
        assert b"".join(chunks).endswith(DONE)
    assert gateway.chat(user="third").status_code == 200
    assert [request.json.get("user") for request in server.seen(CHAT)] == [None, None, "third"]


# Several servers, and a key


@pytest.fixture(scope="module")
def several(tmp_path_factory):
    """`lmchat serve` with a key, in front of llama.cpp, Ollama and LM Studio; and these."""
    with ScriptedServer() as first, ScriptedServer() as second, ScriptedServer() as third:
        llama_cpp(first).on(CHAT, echo)
        first.on("GET /props", json_reply({"total_slots": 100, "default_generation_settings": {}}))
        ollama(second, "tiny.gguf").on(CHAT, echo)
        lm_studio(third, loaded=("qwen3-8b",), has_jit=False)
        servers = (first, second, third)
        config = UNLIMITED + endpoints(*servers)
        home = tmp_path_factory.mktemp("several")
        with serving(home, config=config, env={"LMCHAT_SERVE_KEY": GATE}) as program:
            program.http.headers["Authorization"] = f"Bearer {GATE}"
            yield program, servers


def ids_at(gateway) -> set[str]:
    return {row["id"] for row in gateway.get("/v1/models").json()["data"]}


def test_a_name_of_two_servers_leads_to_either_by_its_product(several):
    gateway, servers = several
    assert ids_at(gateway) >= {"tiny.gguf", "tiny.gguf@llama.cpp", "tiny.gguf@Ollama"}
    for product, server in zip(("llama.cpp", "Ollama"), servers, strict=False):
        before = len(server.seen(CHAT))
        assert gateway.chat(f"tiny.gguf@{product}").status_code == 200
        assert [one.json["model"] for one in server.seen(CHAT)[before:]] == ["tiny.gguf"]


def test_a_model_that_is_not_loaded_is_loaded_first_and_one_that_loads_is_waited_for(several):
    gateway, (llama, _, studio) = several
    assert gateway.chat("gemma-3-4b").status_code == 200
    assert [one.json["model"] for one in studio.seen(CHAT)] == ["gemma-3-4b"] * 2
    assert len(studio.seen("POST /api/v1/models/load")) == 1
    error = {"message": "Loading model", "type": "unavailable_error", "code": 503}
    loading = json_reply({"error": error}, status=503, headers={"Server": "llama.cpp"})
    llama.on(CHAT, loading, echo)
    before = len(llama.seen(CHAT))
    assert gateway.chat("tiny.gguf@llama.cpp").status_code == 200
    assert len(llama.seen(CHAT)) == before + 2


def test_thirty_parallel_streams_arrive_without_loss(several):
    gateway, (llama, *_) = several

    def answer_of(seen):
        name = seen.json["user"]
        return sse(*(f"{name}:{number} " for number in range(20)), finish(), DONE, every=100)

    llama.on(CHAT, answer_of)
    bodies = [{"model": "tiny.gguf", "messages": HI, "user": f"u{n}"} for n in range(30)]

    async def ask_all(url: str) -> list[str]:
        limits = httpx.Limits(max_connections=None)
        headers = gateway.http.headers
        async with httpx.AsyncClient(limits=limits, timeout=60, headers=headers) as client:
            replies = await asyncio.gather(*(client.post(url, json=body) for body in bodies))
        return [reply.text for reply in replies]

    through = asyncio.run(ask_all(gateway.url + CHAT_PATH))
    assert through == asyncio.run(ask_all(llama.url + CHAT_PATH))


def test_a_key_guards_every_route_and_with_it_this_machine_may_have_any_name(several):
    gateway, _ = several
    for path in ("/v1/models", "/health", "/metrics", "/x"):
        for key in ("", "Bearer wrong", GATE, f"Basic {GATE}", f"Bearer {GATE}\xe9"):
            reply = gateway.get(path, headers={"Authorization": key.encode("latin-1")})
            assert (reply.status_code, error_of(reply)["code"]) == (401, "invalid_api_key")
            assert GATE not in reply.text
    assert gateway.get("/v1/models", headers={"Host": "box.local:1"}).status_code == 200
    assert gateway.get("/v1/models", headers={"Origin": "http://box.local"}).status_code == 403


# What is refused


def test_what_is_wrong_is_refused_in_the_shape_of_openai(gateway, server):
    for fields, status, text in (
        ({"model": "nope"}, 404, "No server has a model nope."),
        ({"model": ""}, 400, "No LM Studio model selected"),
        ({"model": 7}, 400, "Invalid model parameter"),
        ({"model": "m" * 9_500_000}, 400, "Invalid model parameter"),
        ({"messages": []}, 400, "Invalid messages array"),
        ({"messages": ["Hi"]}, 400, "Invalid messages array"),
        ({"messages": [{"role": "god", "content": "Hi"}]}, 400, "Invalid message role"),
        ({"messages": [{"role": "user"}]}, 400, "Invalid message content"),
        ({"messages": [{"role": "user", "content": 5}]}, 400, "Invalid message content"),
        ({"messages": [{"role": "tool", "content": ["x"]}]}, 400, "Invalid message content"),
    ):
        reply = gateway.post(CHAT_PATH, {"model": "tiny", "messages": HI, **fields})
        assert reply.status_code == status
        assert len(reply.content) < 1000
        assert error_of(reply)["message"].startswith(text)
        assert set(error_of(reply)) == {"message", "type", "param", "code"}
        assert (error_of(reply)["code"] == "model_not_found") is (status == 404)
    assert not server.seen(CHAT)
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": [{"type": "text", "text": "Be short."}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,"}}]},
        {"role": "assistant", "content": None, "tool_calls": []},
        {"role": "tool", "tool_call_id": "1", "content": ""},
    ]
    assert gateway.chat(messages=messages).is_success, "all that is right passes"
    assert server.seen(CHAT)[0].json["messages"] == messages


def test_a_body_that_is_no_json_object_or_too_large_is_refused(gateway, server):
    for body in (b"", b"[]", b"{", b"\xff", b"[" * 100_000, b'{"model": "\\ud800"}'):
        assert gateway.post(CHAT_PATH, content=body).status_code == 400
    body = b'{"model": "tiny", "messages": [{"role": "user", "content": "Hi"}], "\xff": 1}'
    reply = gateway.post("/chat/completions", content=body)
    assert reply.status_code == 400
    assert reply.json() == {"error": "The body of the request is not a JSON object."}
    large = b'{"model":"tiny","messages":"' + b"x" * 10_000_001 + b'"}'
    assert gateway.post(CHAT_PATH, content=large).status_code == 413
    unannounced = (large[at : at + 65536] for at in range(0, len(large), 65536))
    # the connection may be closed while the program still sends
    with suppress(httpx.WriteError, httpx.ReadError):
        assert gateway.post(CHAT_PATH, content=unannounced).status_code == 413
    assert gateway.chat().status_code == 200
    assert len(server.seen(CHAT)) == 1


def test_web_pages_and_foreign_hosts_are_refused_everywhere(gateway, server):
    for headers in (
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
    ):
        for path in ("/v1/models", CHAT_PATH, "/metrics/reset", "/x"):
            for method in ("GET", "POST", "OPTIONS"):
                reply = gateway.http.request(method, gateway.url + path, headers=headers, json={})
                assert reply.status_code == 403
                assert "access-control-allow-origin" not in reply.headers
    assert not server.seen(CHAT)


def test_this_machine_by_each_of_its_names_and_a_typed_address_pass(gateway):
    for name in ("127.0.0.1", "localhost", "[::1]", "LOCALHOST"):
        for host in (name, f"{name}:{gateway.port}"):
            assert gateway.get("/v1/models", headers={"Host": host}).status_code == 200
    for site in ("none", "same-origin"):
        assert gateway.get("/v1/models", headers={"Sec-Fetch-Site": site}).status_code == 200


def test_a_wrong_method_a_wrong_path_and_malformed_http_are_refused(gateway, server):
    reply = gateway.get(CHAT_PATH)
    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")
    assert error_of(reply)["message"]
    assert gateway.get("/v1/nothing").status_code == 404
    assert gateway.http.delete(gateway.url + "/metrics").status_code == 405
    for words in (
        b"nonsense\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /health HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 100_000 + b"\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", gateway.port), 5) as connection:
            connection.sendall(words)
            connection.shutdown(socket.SHUT_WR)
            assert connection.recv(65536)[:10] in (b"", b"HTTP/1.1 4")
    assert gateway.chat().status_code == 200


# Source routes


def test_health_models_and_detection_have_their_old_json(gateway, server):
    assert gateway.get("/health").json() == {"healthy": True, "endpoint": server.url, "models": 1}
    assert gateway.get("/detect-endpoint").json() == {"endpoint": server.url, "detected": True}
    row = gateway.get("/models").json()["data"][0]
    assert set(row) == {"id", "object", "created", "owned_by"}
    for path in ("/health", "/models"):
        named = gateway.get(path, params={"endpoint": server.url})
        assert named.json() == gateway.get(path).json()


def test_a_server_that_is_neither_found_nor_configured_is_not_asked(gateway):
    with ScriptedServer() as other:
        for url in (plain(other, "tiny", key=KEY).url, "file:///etc", "m" * 9_500_000):
            replies = [gateway.chat(path="/chat/completions", endpoint=url)]
            if len(url) < 1000:
                paths = ("/health", "/models")
                replies += [gateway.get(path, params={"endpoint": url}) for path in paths]
            for reply in replies:
                assert (reply.status_code, error_of(reply)[:20]) == (403, "Endpoint not allowed")
                assert len(reply.content) < 1000
        assert not other.seen()


def test_the_chat_of_the_source_documents_streams_unless_told_otherwise(gateway, server):
    reply = gateway.chat(path="/chat/completions", endpoint=server.url)
    assert (reply.status_code, reply.headers["content-type"]) == (200, "text/event-stream")
    assert server.seen(CHAT)[0].json == {"model": "tiny", "messages": HI, "stream": True}
    gateway.chat(path="/chat/completions", stream=False)
    assert server.seen(CHAT)[1].json == {"model": "tiny", "messages": HI, "stream": False}
    server.on(CHAT, json_reply({"error": "broken"}, status=500))
    reply = gateway.chat(path="/chat/completions")
    assert (reply.status_code, reply.json()["error"]) == (500, "Streaming failed")
    for fields, text in (({"messages": []}, "messages array"), ({"model": 7}, "model parameter")):
        reply = gateway.chat(path="/chat/completions", **fields)
        assert (reply.status_code, reply.json()["error"].startswith(f"Invalid {text}")) == (
            400,
            True,
        )


def test_the_counters_count_and_can_be_reset(gateway, server):
    gateway.post("/metrics/reset")
    gateway.chat()
    gateway.chat(messages=[])
    counted = gateway.get("/metrics").json()
    names = ("totalRequests", "successfulRequests", "failedRequests", "refusedRequests")
    assert [counted[name] for name in names] == [1, 1, 0, 1]
    assert counted["averageResponseTime"] > 0
    assert gateway.post("/metrics/reset").json() == {"message": "Metrics reset successfully"}
    assert not any(gateway.get("/metrics").json().values())


# Without a server, and with one that comes and goes


def test_without_a_server_everything_says_so(tmp_path, alone):
    with serving(tmp_path, url=alone.url) as gateway:
        for reply in (gateway.chat(), gateway.get("/v1/models")):
            assert reply.status_code == 503
            assert "Nothing answers at 127.0.0.1:1." in error_of(reply)["message"]
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


def test_a_server_that_goes_and_comes_back_is_noticed_and_lmchat_is_no_server_of_its_own(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with ScriptedServer() as server:
        itself = f'[[endpoints]]\nname = "me"\nurl = "127.0.0.1:{port}"\n'
        config = "[serve]\nrequests_per_minute = 4\n" + endpoints(plain(server, "tiny")) + itself
        with serving(tmp_path, "--port", str(port), config=config) as gateway:
            server.stop()
            assert gateway.chat().status_code == 503
            wait_until(lambda: gateway.get("/v1/models").status_code == 503, "the server is gone")
            server.on("GET /v1/models", model_list("other"))
            server.start()
            wait_until(lambda: gateway.get("/v1/models").status_code == 200, "it is there again")
            assert ids_at(gateway) == {"other"}
            replies = [gateway.chat("other") for _ in range(4)]
            *served, over = replies
            assert over.status_code == 429, "the limit of requests a minute"
            text = error_of(over)["message"]
            assert text.startswith("Too many requests to LMStudio, please try again later: ")
            assert "under [serve]" in text
            assert 0 < int(over.headers["retry-after"]) <= 60
            assert {reply.status_code for reply in served} == {200}


# Start and end


def test_a_signal_lets_a_running_answer_end_and_its_figures_without_content_are_kept(
    tmp_path, server
):
    gate = Gate()
    text = "SECRET-ANSWER"
    server.on(CHAT, sse("x", Cut()), sse(text, gate, "lo", finish(), DONE))
    with serving(tmp_path, config=endpoints(server, key=KEY)) as gateway:
        with pytest.raises(httpx.RemoteProtocolError):
            gateway.chat(stream=True, messages=[{"role": "user", "content": "SECRET-PROMPT"}])
        with gateway.stream() as reply:
            chunks = reply.iter_raw()
            next(chunks)
            gateway.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not accepts(gateway.port), "no new connections")
            gate.open()
            assert b"".join(chunks).endswith(DONE)
        assert gateway.process.wait(10) == 0
    cli = Inside(home=tmp_path)
    row = cli.json("stats", "--json")["data"][0]
    assert (row["model"], row["turns"], row["complete"]) == ("tiny", 2, 1)
    assert row["ttft_ms"]["p50"] > 0
    assert cli.json("metrics")["totalRequests"] == 2
    for file in (tmp_path / "lmchat").rglob("*"):
        if file.is_file():
            assert b"SECRET" not in file.read_bytes()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


def test_an_answer_that_does_not_end_is_cut_and_a_disk_that_takes_no_figures_harms_nothing(
    tmp_path, server
):
    (tmp_path / "lmchat" / "sessions.db").mkdir(parents=True)
    server.on(CHAT, chat_reply(), sse("Hel", Hold()))
    with serving(tmp_path, config=endpoints(server, key=KEY)) as gateway:
        assert gateway.chat().status_code == 200
        with gateway.stream() as reply:
            chunks = reply.iter_raw()  # closed with its last reference, and so is the connection
            next(chunks)
            assert gateway.end(signal.SIGINT) == 0, "within its time"
    assert server.seen(CHAT)[1].client_left.wait(5)


def test_on_a_terminal_each_request_is_one_safe_line_and_closing_it_ends_the_program(
    tmp_path, server
):
    plain(server, "tiny").on(CHAT, chat_reply(*("word " for _ in range(30))))
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
        program.hang_up()
        assert program.wait_exit() == 0


def test_what_cannot_be_started_is_one_sentence(tmp_path, gateway):
    cli = Inside(home=tmp_path, url="http://127.0.0.1:1")
    for words, text in (
        (("--host", "10.0.0.1"), "needs --key"),
        (("--host", "192.168.1.20", "--key", ""), "needs --key"),
        (("--host", "192.0.2.1", "--key", " \r"), "needs --key"),
        (("--key", "schlüssel"), "The value of --key"),
        (("--port", "70000"), "--port must be a port from 0 to 65535"),
        (("--port", "http"), "--port must be a port from 0 to 65535"),
        (("--host", "no such host", "--key", "x"), "Cannot listen at no such host"),
        (
            ("--port", str(gateway.port)),
            f"Cannot listen at 127.0.0.1, port {gateway.port}: Address already in use.",
        ),
    ):
        done = cli("serve", *words)
        assert done.returncode == 2
        assert text in done.stderr


def test_without_the_extra_one_sentence_names_the_install_line(alone, tmp_path):
    (tmp_path / "starlette.py").write_text("raise ModuleNotFoundError(name='starlette')")
    done = alone("serve", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == (
        'lmchat: lmchat serve needs two more packages; install them: pip install "lmchat[serve]"\n'
    )
