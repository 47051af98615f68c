"""Whole turns with what real servers sent: how each answers, calls tools and refuses."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from msgspec.structs import replace

from lmchat.core.servers.discovery.status import ServerStatus
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import StreamFinished, ToolCallDelta
from lmchat.core.servers.request import ChatRequest, Tool
from tests.support.client_calls import (
    answered,
    ask,
    body_of,
    failure_of,
    replay,
)
from tests.support.programs import Inside
from tests.support.recorded_server import LONG_CHARS, RecordedServer
from tests.support.scripted_server import Reply, json_reply, raw_reply

LIST = "/v1/models"
CHAT = "/v1/chat/completions"
ADD = Tool(server="sums", name="add", wire_name="add", schema={"type": "object"})
LONG = "word " * LONG_CHARS
HELLO = "Hello, welcome to my little corner of the world!"


@dataclass(frozen=True)
class Recorded:
    """What shows of a server."""

    uses: str  # model of the turns
    answer: str = HELLO
    more: dict[str, Reply] = field(default_factory=dict)  # routes that were not recorded
    path: str = ""  # base of its address


SERVERS = {
    "ollama": Recorded(
        uses="smol:latest",
        answer="Awesome, welcome to the city of Elysium",
    ),
    "llama-swap": Recorded(
        uses="smol-small",
    ),
    "docker-model-runner": Recorded(
        uses="docker.io/ai/smollm2-small:latest",
        path="/engines/v1",
    ),
    "litellm": Recorded(
        uses="smol",
        answer="Hello, welcome to my little corner of the world.",
        # litellm/proxy/health_endpoints/_health_endpoints.py
        more={"GET /health/liveliness": json_reply("I'm alive!")},
    ),
    "llama-cpp-python": Recorded(
        uses="/srv/gguf/SmolLM2-135M-Instruct.Q4_1.gguf",
    ),
    "koboldcpp": Recorded(
        uses="koboldcpp/SmolLM2-135M-Instruct.Q4_1",
        answer="Awesome, welcome to the city of Elysium",
        # koboldcpp.py; the number is that of its /props
        more={"GET /api/extra/true_max_context_length": json_reply({"value": 2048})},
    ),
    "mlx-lm": Recorded(
        uses="/models/smollm2",
        answer="Hello, welcome, hello, hello, hello, hello,",
    ),
    "vllm": Recorded(
        uses="smollm2",
    ),
    "jan": Recorded(
        uses="smol-small",
        answer="Hello, welcome to my world!",
    ),
    "lemonade": Recorded(
        uses="smollm2-135m-instruct",
        answer="The colour is a rare and precious gem",
    ),
    "transformers-serve": Recorded(
        uses="/models/smollm2",
        answer="Hello, welcome to my world!",
    ),
}
CUT_PROMPTS = {
    "ollama": "4096: Ollama",
    "koboldcpp": "2048: KoboldCpp",
}  # what does not fit is dropped without a word


@pytest.fixture(params=SERVERS)
def name(request) -> str:
    return request.param


@pytest.fixture
def expected(name) -> Recorded:
    return SERVERS[name]


@pytest.fixture
def server(name) -> Iterator[RecordedServer]:
    with RecordedServer(name) as one:
        for route, reply in SERVERS[name].more.items():
            one.on(route, reply)
        yield one


@pytest.fixture
def endpoint(server, expected) -> Endpoint:
    return Endpoint.parse(f"{server.url}{expected.path}")


@pytest.fixture
def cli(tmp_path, endpoint) -> Inside:
    return Inside(home=tmp_path, url=endpoint.url)


def request_to(probed: ServerStatus, model: str, text: str = "Hi", **more) -> ChatRequest:
    return replace(ask(probed.endpoint, text, product=probed.product, model=model), **more)


def test_a_recorded_answer_is_that_of_the_model_that_was_asked_for(server, expected, cli):
    """Some servers write a path, or a name with a version, into the chunks."""
    model = expected.uses
    done = cli("ask", "-m", model, "--json", "Hi")
    value = json.loads(done.stdout)
    assert (value["reply"], value["state"]) == (expected.answer, "complete")
    assert value["model"] in (model, model.removesuffix(":latest"))
    assert value["asked_model"] is None
    assert "instead of" not in done.stderr
    assert [seen.json["model"] for seen in server.seen() if seen.path.endswith(CHAT)] == [model]


@pytest.mark.parametrize("name", ["ollama", "koboldcpp"], indirect=True)
async def test_a_recorded_call_of_a_tool_is_one(endpoint, expected, client):
    probed = await client.models.check(endpoint)
    events = await answered(client, request_to(probed, expected.uses, tools=(ADD,)))
    assert [one.name for one in events if isinstance(one, ToolCallDelta) and one.name] == ["add"]
    assert events[-1] == StreamFinished(reason="tool_calls")


@pytest.mark.parametrize("name", CUT_PROMPTS, indirect=True)
def test_a_prompt_that_a_recorded_server_cuts_is_told_with_the_window(name, cli, expected):
    done = cli("ask", "-m", expected.uses, stdin=LONG)
    assert f"the context window {CUT_PROMPTS[name]} " in done.stderr
    assert "drop" in done.stderr


OVERFLOW_OF_LLAMA_CPP_PYTHON = {  # llama_cpp/server/errors.py; its stream has none of it
    "error": {
        "message": "This model's maximum context length is 2048 tokens. However, you requested "
        "20031 tokens (20031 in the messages, None in the completion). Please reduce the length "
        "of the messages or completion.",
        "type": "invalid_request_error",
        "param": "messages",
        "code": "context_length_exceeded",
    }
}


@pytest.mark.parametrize("name", ["llama-cpp-python"], indirect=True)
async def test_an_overflow_that_is_an_empty_stream_is_told_by_the_request_without_a_stream(
    server, endpoint, expected, client
):
    def chat(seen) -> Reply:
        if seen.json["stream"]:
            return replay("llama-cpp-python/error-overflow")
        return json_reply(OVERFLOW_OF_LLAMA_CPP_PYTHON, status=400)

    server.on(f"POST {CHAT}", chat)
    probed = await client.models.check(endpoint)
    error = await failure_of(client, request_to(probed, expected.uses, LONG))
    assert error.kind == "context_overflow"
    assert [seen.json["stream"] for seen in server.seen(f"POST {CHAT}")] == [True, False]


def test_an_empty_answer_to_a_prompt_that_was_cut_is_an_overflow(tmp_path):
    """Ollama keeps half of a window of 512 tokens; the model then has nothing to say."""
    with RecordedServer("ollama", "error-overflow-512") as server:
        cli = Inside(home=tmp_path, url=server.url)
        value = cli.json("ask", "-m", "smol-512", "--json", stdin=LONG, code=1)
    assert value["detail"]["error"] == "context_overflow"


@pytest.mark.parametrize("name", ["jan"], indirect=True)
def test_jan_is_not_said_to_have_loaded_a_model_and_is_asked_for_no_other_path(server, cli):
    value = cli.json("health")
    told = (value["status"], value["model_loaded"], value["model_state"])
    assert told == ("degraded", False, "unknown")
    for verb in ("load", "unload"):
        done = cli("models", verb, "smol-small")
        step = "Jan loads a model with its first prompt"
        step = step if verb == "load" else "Use the server's own program"
        assert done.stderr.endswith(f"lmchat: Jan cannot {verb} models on request.\n{step}.\n")
        assert (done.returncode, done.stdout) == (1, "")
    assert {seen.path for seen in server.seen()} == {LIST}


@pytest.mark.parametrize("name", ["jan"], indirect=True)
@pytest.mark.parametrize(
    ("recording", "model", "words", "step"),
    [
        ("stream-no-engine", "smol-small", "No models are available", "Start its engine"),
        ("stream-provider-off", "gpt-5.1", "Proxy request", "The provider does not answer."),
    ],
)
def test_jan_without_an_engine_or_a_provider_is_asked_once(
    recording, model, words, step, server, cli
):
    server.on(f"POST {CHAT}", replay(f"jan/{recording}"))
    done = cli("ask", "-m", model, "Hi")
    assert f"Jan says: {words}" in done.stderr
    assert done.stderr.splitlines()[-1].startswith(step)
    assert (done.returncode, len(server.seen(f"POST {CHAT}"))) == (1, 1)


@pytest.mark.leaf("batch")
@pytest.mark.rule("R-40")
@pytest.mark.parametrize("name", ["jan"], indirect=True)
@pytest.mark.parametrize("served", ["gpt-5.1", "gpt-oss-local"])
def test_a_local_model_of_jan_that_a_provider_answers_for_is_told(served, server, cli):
    """The list calls `openai/gpt-oss-local` local; Jan sends it to its provider `openai`."""
    head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
    answer = body_of("jan/stream-provider").replace(b"gpt-5.1", served.encode())
    server.on(f"POST {CHAT}", raw_reply(head, answer))
    left = "lmchat: The prompt may have left this machine.\n"
    asked = "openai/gpt-oss-local"
    done = cli("ask", "-m", asked, "Hi")
    assert f"lmchat: {served} answers instead of {asked}.\n{left}" in done.stderr
    done = cli("batch", "-m", asked, stdin='{"prompt": "Hi"}\n{"prompt": "Ho"}\n')
    assert done.stderr.count(left) == 1, "once for the model"
    assert left not in cli("ask", "-m", "gpt-5.1", "Hi").stderr, "it has named a remote model"


@pytest.mark.leaf("batch")
def test_scripts_are_told_of_a_prompt_that_was_cut(tmp_path):
    """Ollama answers to a part of it with status 200. No value is thrown away for that."""
    with RecordedServer("ollama", "error-overflow-512") as server:
        server.on(f"POST {CHAT}", replay("ollama/stream"))
        cli = Inside(home=tmp_path, url=server.url)
        value = cli.json("ask", "-m", "smol-512", "--json", stdin=LONG)
        assert (value["state"], value["prompt_cut"]) == ("complete", True)
        for prompt, is_cut in ((LONG, True), ("Hello", None)):
            done = cli("ask", "-m", "smol-512", "--stream-json", stdin=prompt)
            assert json.loads(done.stdout.splitlines()[-1]).get("prompt_cut") is is_cut

        lines = json.dumps({"prompt": LONG}) + "\n" + json.dumps({"prompt": "Hello"})
        done = cli("batch", "-m", "smol-512", stdin=lines)
        long, short = map(json.loads, done.stdout.splitlines())
        assert (long["prompt_cut"], short["prompt_cut"]) == (True, False)
        server.on(f"POST {CHAT}", replay("ollama/json-object"))
        schema = tmp_path / "schema.json"
        schema.write_text('{"type": "object"}', encoding="utf-8")
        done = cli("ask", "-m", "smol-512", "--schema", str(schema), stdin=LONG)
        assert (done.returncode, json.loads(done.stdout)) == (0, {"Hello": "Hello"})
        assert "of which 15 were read: Ollama has left out a part." in done.stderr

        names = ("smol-512:latest", "smol:latest")
        running = [{"name": one, "model": one, "context_length": 512} for one in names]
        server.on("GET /api/ps", json_reply({"models": running}))
        cases = tmp_path / "cases.toml"
        cases.write_text(
            f"[[case]]\nname = 'long'\nprompt = '{LONG.strip()}'\nreject = 'no'\n", encoding="utf-8"
        )
        (case,) = cli.json("eval", str(cases), "-m", "smol-512", "--json")["cases"]
        assert case["prompt_cut"] is True
        models = cli.json("compare", "-m", "smol-512", "-m", "smol", "--json", stdin=LONG)["models"]
        assert [one["prompt_cut"] for one in models] == [True, True]
