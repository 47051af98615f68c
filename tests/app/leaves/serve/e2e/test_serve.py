"""`lmchat serve` in front of scripted servers: what passes, what is refused, and how it ends."""

from __future__ import annotations

import fcntl
import json
import re
import signal
import socket
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from lmchat.base.extras import install_command
from tests.support.programs import Cli, Inside, wait_until
from tests.support.pty_program import PtyProgram
from tests.support.scripted_products import (
    CHAT,
    chat_reply,
    echo,
    guarded,
    llama_cpp,
    lm_studio,
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
    text_reply,
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


PASSED_ON = (
    *("/responses", "/responses/input_tokens", "/messages", "/messages/count_tokens"),
    *("/rerank", "/embeddings", "/completions"),
)


@pytest.mark.parametrize("path", PASSED_ON)
def test_what_codex_and_claude_code_ask_for_passes_byte_for_byte(gateway, server, path):
    body = b'{ "stream":true, "model" : "tiny","input":"\\u0041 \\ud83c", "x": 1.00 }'
    # as llama.cpp sends it, but for the bytes that are no UTF-8
    events = (
        b": a comment\r\n",
        b'event: message_start\ndata: {"type":"message_start","message":{"content":[]}}\n\n',
        b'event: error\ndata: {"type":"error","error":{"message":"late"}}\n\n',
        b"event: response.completed\ndata: \xff\xf0 not even JSON\n\n",
        b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
    )
    server.on(f"POST /v1{path}", guarded(KEY, json_reply({}, status=401), sse(*events, every=7)))
    reply = gateway.post(f"/v1{path}?beta=true", content=body)
    assert (reply.status_code, reply.content) == (200, b"".join(events))
    assert server.seen(f"POST /v1{path}")[0].body == body
    for value, code in (({"model": "nope"}, 404), ({}, 400), ({"model": None}, 400), ([], 400)):
        assert gateway.post(f"/v1{path}", value).status_code == code
    assert len(server.seen(f"POST /v1{path}")) == 1
    lacking = {"error": {"message": "File Not Found", "type": "not_found_error", "code": 404}}
    server.on(f"POST /v1{path}", json_reply(lacking, status=404))
    reply = gateway.post(f"/v1{path}", {"model": "tiny"})
    assert (reply.status_code, reply.json()) == (404, lacking)
    server.on(f"POST /v1{path}", text_reply("404 page not found", status=404))  # Ollama
    reply = gateway.post(f"/v1{path}", {"model": "tiny"})
    assert (reply.status_code, error_of(reply)["code"]) == (404, "wrong_path")
    assert error_of(reply)["message"].startswith(f"The server has no path /v1{path}.")


def test_a_slash_too_many_and_v1_twice_or_missing_are_the_same_path(gateway, server):
    models = gateway.get("/v1/models").json()
    for path in ("/v1/models/", "//v1//models", "/v1/v1/models", "/v1%2Fmodels", "/v1//v1/models/"):
        assert gateway.get(path).json() == models, path
    assert gateway.get("/v1/models/tiny/").json()["id"] == "tiny"
    server.on("POST /v1/messages", json_reply({"type": "message"}))
    for path in ("/messages", "/v1/v1/messages", "/v1/messages/", "//v1//messages//"):
        assert gateway.post(path, {"model": "tiny"}).json() == {"type": "message"}, path
    assert gateway.chat("//chat//completions/").headers["content-type"] == "text/event-stream"
    for path in (
        "/",
        "/v1",
        "/v1/",
        "/v2/models",
        "/v1/responses/resp_1",
        "/v1/audio/speech",
        "/V1",
    ):
        reply = gateway.post(path, {"model": "tiny"})
        assert (reply.status_code, error_of(reply)["code"]) == (404, "wrong_path"), path


def test_only_some_headers_come_back_and_the_server_gets_its_own_key_alone(gateway, server):
    headers = {"X-Request-Id": "r1", "Set-Cookie": "a=b", "Access-Control-Allow-Origin": "*"}
    server.on(CHAT, json_reply({"choices": []}, headers=headers))
    reply = gateway.post(
        CHAT_PATH,
        {"model": "tiny", "messages": HI},
        headers={"Authorization": "Bearer sk-of-the-program", "Cookie": "c=d"},
    )
    assert (reply.headers["x-request-id"], reply.headers["server"]) == ("r1", "lmchat")
    assert not {"set-cookie", "access-control-allow-origin"} & set(reply.headers)
    assert server.seen(CHAT)[0].headers["authorization"] == f"Bearer {KEY}"
    assert "cookie" not in server.seen(CHAT)[0].headers
    head = b"HTTP/1.1 200 OK\r\nContent-Type: \xe2\x82\xac\r\nContent-Length: 2\r\n\r\n{}"
    server.on(CHAT, raw_reply(head))
    assert gateway.chat().content == b"{}", "a header that is not ASCII harms nothing"


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
    ):
        server.on(CHAT, reply)
        passed = gateway.chat(stream=True)
        assert KEY not in f"{passed.text} {passed.headers}"
        assert passed.text.endswith(("}", "\n\n"))


@pytest.mark.parametrize("cut", [1, len(KEY) // 2, len(KEY) - 1])
def test_a_key_in_two_pieces_is_cut_out_and_what_only_begins_like_it_passes(gateway, server, cut):
    for end, whole in ((KEY[cut:], "…"), ("else", f"{KEY[:cut]}else"), ("", KEY[:cut])):
        gate = Gate()
        server.on(CHAT, sse("Hel", f"data: {KEY[:cut]}".encode(), gate, end.encode()))
        with gateway.stream() as reply:
            chunks = reply.iter_raw()
            passed = next(chunks)  # the first piece was read by then
            gate.open()
            passed += b"".join(chunks)
        assert passed.decode().endswith(f"data: {whole}")


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


def test_a_program_that_stops_reading_holds_up_no_other_program(gateway, server):
    large = sse(*(["x" * 64_000] * 640), finish(), DONE)

    def reply(seen):
        return large if seen.json.get("user") == "lazy" else chat_reply()

    server.on(CHAT, reply)
    body = json.dumps({"model": "tiny", "messages": HI, "user": "lazy", "stream": True}).encode()
    head = f"POST {CHAT_PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", gateway.port)) as lazy:
        lazy.sendall(head.encode() + body)
        assert lazy.recv(9) == b"HTTP/1.1 "
        assert gateway.chat(user="second").status_code == 200
        whole = bytearray()
        while DONE not in whole[-100:]:  # the rest was kept for it
            whole += lazy.recv(1_000_000)
        assert len(whole) > 640 * 64_000


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


def test_a_key_guards_every_route_and_with_it_this_machine_may_have_any_name(several):
    gateway, _ = several
    for path in ("/v1/models", "/health", "/metrics", "/x"):
        for key in ("", "Bearer wrong", GATE, f"Basic {GATE}", f"Bearer {GATE}\xe9"):
            reply = gateway.get(path, headers={"Authorization": key.encode("latin-1")})
            assert (reply.status_code, error_of(reply)["code"]) == (401, "invalid_api_key")
            assert reply.headers["www-authenticate"] == "Bearer"
            assert GATE not in reply.text
    for headers in (
        {"Host": "box.local:1"},
        {"Origin": "app://notes", "Sec-Fetch-Site": "cross-site"},  # a program made of web pages
        {"Authorization": "", "X-Api-Key": GATE},  # as programs for Anthropic send it
        {"X-Api-Key": "wrong"},
    ):
        reply = gateway.get("/v1/models", headers=headers)
        assert reply.status_code == 200
        assert "access-control-allow-origin" not in reply.headers
    wrong = {"Authorization": "", "X-Api-Key": "wrong", "Origin": "app://notes"}
    assert gateway.get("/v1/models", headers=wrong).status_code == 401


def test_models_are_listed_with_the_details_that_the_command_prints(several):
    gateway, servers = several
    listed = gateway.get("/models").json()["data"]
    for row in listed:
        row["id"] = row["id"].partition("@")[0]  # the product, where several have a model
    for server in servers:
        printed = Inside(home=gateway.home, url=server.url).json("models", "--json")
        assert gateway.get("/models", params={"endpoint": server.url}).json() == printed
        assert all(row in listed for row in printed["data"])


def test_two_requests_at_once_load_a_model_once(tmp_path):
    gate = Gate()
    with ScriptedServer() as server:
        lm_studio(server, loaded=[], has_jit=False, loading=gate)
        with (
            serving(tmp_path, config=UNLIMITED + endpoints(server)) as gateway,
            ThreadPoolExecutor() as programs,
        ):
            replies = [programs.submit(gateway.chat, model="qwen3-8b") for _ in range(2)]
            server.wait_for(CHAT)  # it is refused, since the model is not loaded; the other waits
            gate.open()
            assert {reply.result().status_code for reply in replies} == {200}
        assert len(server.seen("POST /api/v1/models/load")) == 1


# What is refused


def test_what_is_wrong_is_refused_in_the_shape_of_openai_and_anthropic(gateway, server):
    for fields, status, text in (
        ({"model": "nope"}, 404, "No server has a model nope."),
        ({"model": ""}, 400, "No LM Studio model selected: "),
        ({"model": "m" * 9_500_000}, 400, "Invalid model parameter"),
        ({"messages": []}, 400, "Invalid messages array"),
    ):
        reply = gateway.post(CHAT_PATH, {"model": "tiny", "messages": HI, **fields})
        assert reply.status_code == status
        assert len(reply.content) < 1000
        assert error_of(reply)["message"].startswith(text)
        assert set(error_of(reply)) == {"message", "type", "param", "code"}
        assert (reply.json()["type"], error_of(reply)["type"]) == ("error", "invalid_request_error")
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


def test_a_body_of_any_form_gets_an_answer_and_a_model_named_twice_reaches_no_server(
    gateway, server
):
    server.on(CHAT, chat_reply())
    deep = b"[" * 100_000 + b"]" * 100_000
    for more, status, text in (
        (b', "model": "other"', 400, "Invalid model parameter: the request names its model twice."),
        (b', "x": ' + deep, 400, "The body of the request is not a JSON object"),
        (b', "x": "\n"', 400, "The body of the request is not a JSON object"),
        (b', "x": {"model": "other"}', 200, ""),
        (b', "\\ud83c": "\\udf31 \\ud83c"', 200, ""),
        (b', "\xff": "\xfe"', 400, "The body of the request is not a JSON object in UTF-8"),
        (b', "x": [NaN, 1e999]', 200, ""),
    ):
        body = b'{"model": "tiny", "messages": [{"role": "user", "content": "Hi"}]' + more + b"}"
        server.requests.clear()
        reply = gateway.post(CHAT_PATH, content=body)
        assert reply.status_code == status, more[:40]
        if text:
            assert error_of(reply)["message"].startswith(text)
        assert [seen.body for seen in server.seen(CHAT)] == [body] * (status == 200)
        named = body.replace(b'"tiny"', b'"tiny@OpenAI-compatible"')
        assert gateway.post(CHAT_PATH, content=named).status_code == status
        assert all(seen.json["model"] == "tiny" for seen in server.seen(CHAT)[1:])


def test_requests_of_old_and_odd_programs_get_an_answer(gateway, server):
    def status(head: str, body: bytes = b"", *, asks_first: bool = False) -> int:
        with socket.create_connection(("127.0.0.1", gateway.port), 5) as program:
            program.sendall(head.replace("\n", "\r\n").encode() + b"\r\n\r\n")
            if asks_first:
                assert program.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"
            program.sendall(body)
            return int(program.recv(12)[9:])

    body = json.dumps({"model": "tiny", "messages": HI}).encode()
    post = f"POST {CHAT_PATH} HTTP/1.%d\nHost: 127.0.0.1\n"
    length = f"Content-Length: {len(body)}"
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    assert status(post % 0 + length, body) == 200
    assert status(post % 1 + length + "\nExpect: 100-continue", body, asks_first=True) == 200
    assert status(post % 1 + "Transfer-Encoding: chunked", chunks) == 200
    assert status(post % 1 + "Transfer-Encoding: chunked", b"zz\r\n") == 400
    assert status(post % 1 + "Content-Length: -1") == 400
    assert status("GET /v1/models HTTP/1.0") == 403
    assert status("HEAD /v1/models HTTP/1.1\nHost: 127.0.0.1") == 200
    assert status("OPTIONS /v1/messages HTTP/1.1\nHost: 127.0.0.1") == 405
    assert status("GET /v1/models/" + "a" * 60_000 + " HTTP/1.1\nHost: 127.0.0.1") == 404
    assert status("GET /v1/models/%00%0d%0a%ff HTTP/1.1\nHost: 127.0.0.1") == 404
    websocket = "Connection: Upgrade\nUpgrade: websocket\nSec-WebSocket-Version: 13"
    assert status(f"GET /v1/responses HTTP/1.1\nHost: 127.0.0.1\n{websocket}") == 405


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


# Source routes


def told(reply: httpx.Response | dict) -> dict:
    """Return a JSON object without what changes with each look."""
    value = reply if isinstance(reply, dict) else reply.json()
    value.pop("timestamp", None)
    for row in (value, *value.get("candidates", ())):
        row.pop("latency_ms", None)
    return value


def test_health_models_and_detection_say_what_the_commands_say(gateway, server):
    cli = Inside(home=gateway.home, url=server.url)
    health = told(gateway.get("/health"))
    assert (health["healthy"], health["endpoint"], health["models"]) == (True, server.url, 1)
    assert (health["model"], health["orchestrator_ready"]) == ("tiny", True)
    assert health == told(cli.json("health"))
    assert gateway.get("/models").json() == cli.json("models", "--json")
    detected = told(gateway.get("/detect-endpoint"))
    assert (detected["endpoint"], detected["detected"]) == (server.url, True)
    assert detected["candidates"][0] == told(cli.json("detect"))["candidates"][0]
    for path in ("/health", "/models"):
        named = gateway.get(path, params={"endpoint": server.url})
        assert told(named) == told(gateway.get(path))
        for url, words in (("localhost:1", "no server was found"), ("a.com", "Endpoint must be ")):
            refused = gateway.get(path, params={"endpoint": f"http://{url}"})
            assert refused.status_code == 403
            assert refused.json()["error"].startswith(f"Endpoint not allowed: {words}")
            assert refused.json().get("endpoint") is None


def test_health_of_a_server_that_is_gone_has_the_same_fields_and_says_why(tmp_path):
    config = "[timeouts]\nconnect_s = 0.5\n"
    with serving(tmp_path, url="http://127.0.0.1:1", config=config) as gateway:
        reply = gateway.get("/health")
        assert reply.status_code == 500
        assert told(reply) == told(
            Inside(home=tmp_path, url="http://127.0.0.1:1").json("health", code=1)
        )
        for path, status in (("/models", 500), ("/detect-endpoint", 404), ("/v1/models", 503)):
            assert gateway.get(path).status_code == status


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


# Start and end


def test_a_signal_lets_a_running_answer_end_and_its_stats_without_content_are_kept(
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
    assert len([*cli.folder.glob("sessions.db.backup-*")]) == 1
    row = cli.json("stats", "--json")["data"][0]
    assert (row["model"], row["turns"], row["complete"]) == ("tiny", 2, 1)
    assert row["ttft_ms"]["p50"] > 0
    metrics = cli.json("metrics")
    assert (metrics["totalRequests"], metrics["cacheMisses"]) == (2, 0), (
        "its own searches do not count"
    )
    for file in (tmp_path / "lmchat").rglob("*"):
        if file.is_file():
            assert b"SECRET" not in file.read_bytes()


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


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
        program.wait_for(re.compile(r"Editor/1.0 +tiny +200 +\d+\.\d\d s"))
        program.wait_for(re.compile(r"/v1/.*models +404"))
        [row] = [row for row in program.text.splitlines() if "Editor" in row]
        assert len(f"{row.rstrip()}  99.9 tok/s") < 80, "it would wrap"
        assert f"Servers: {server.url.removeprefix('http://')} (1 model)" in program.text
        program.hang_up()
        assert program.wait_exit() == 0


def test_each_request_is_a_line_on_stderr_also_in_a_log_file(tmp_path, server):
    timings = {"choices": [], "timings": {"predicted_per_second": 42.3}}
    plain(server, "tiny").on(CHAT, sse("Hello.", finish(), timings, DONE))
    config = "[serve]\nrequests_per_minute = 1\n[limits]\nmax_body_mb = 0.001\n"
    with serving(tmp_path, url=server.url, config=config) as program:
        assert program.chat(user="x" * 1000).status_code == 413
        program.chat(stream=True)
        refused = program.chat()
        lines = [program.process.stderr.readline().decode() for _ in range(4)]
    assert lines[0].startswith("Servers: ")
    start = r"\d\d:\d\d:\d\d +python-httpx\S+ +"
    for rest in (r"/v1/chat/completions +413", r"tiny +200  \d+\.\d\d s  42.3\stok/s", r"\S+ +429"):
        assert any(re.fullmatch(start + rest, line.rstrip()) for line in lines), (rest, lines)
    assert 0 < int(refused.headers["retry-after"]) <= 60


def test_a_pipe_on_stderr_that_nobody_reads_stops_no_answer(tmp_path, server):
    plain(server, "tiny")
    with serving(tmp_path, url=server.url) as program:
        fcntl.fcntl(program.process.stderr, fcntl.F_SETPIPE_SZ, 4096)
        for _ in range(100):
            assert program.get("/v1/models").status_code == 200


def test_what_cannot_be_started_is_one_sentence(tmp_path, gateway):
    cli = Inside(home=tmp_path, url="http://127.0.0.1:1")
    for words, text in (
        (("--host", "10.0.0.1"), "needs --key"),
        (("--key", " \r"), "KEY is empty."),
        (("--key", "schlüssel"), "The value of --key"),
        (("--host", "no such host", "--key", "x"), "port 8642: Name or service not known."),
        (("--host", "2001:db8::1", "--key", "x"), "port 8642: Cannot assign requested address."),
        (("--host", "é..b", "--key", "x"), "port 8642: no such host or port."),
        (("--port", "70000"), "port 70000: no such host or port."),
        (
            ("--port", str(gateway.port)),
            f"Cannot listen at 127.0.0.1, port {gateway.port}: Address already in use.",
        ),
    ):
        done = cli("serve", *words)
        assert done.returncode == 2
        assert text in done.stderr
    done = cli("serve", "--port", "70000", LMCHAT_SERVE_KEY="")
    assert "LMCHAT_SERVE_KEY is empty." in done.stderr


def test_without_the_extra_one_sentence_names_the_install_line(alone, tmp_path):
    absent = "import sys; sys.modules['starlette'] = None"
    (tmp_path / "sitecustomize.py").write_text(absent)
    done = alone("serve", PYTHONPATH=str(tmp_path))
    assert done.returncode == 1
    sentence, hint = done.stderr.splitlines()
    command = install_command("serve")
    assert sentence == f"lmchat: lmchat serve needs two more packages; install them: {command}"
    assert hint.endswith("try PYTHONPATH= lmchat")  # another starlette may have come from there
