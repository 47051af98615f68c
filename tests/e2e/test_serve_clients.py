"""Programs of others use `lmchat serve` as they use OpenAI: the official package, and `llm`."""

from __future__ import annotations

import sys
from pathlib import Path

import openai
import pytest

from tests.support.programs import run
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import json_reply
from tests.support.serving import serving

pytestmark = pytest.mark.timeout(120)
HI = [{"role": "user", "content": "Hi"}]


def _client(gateway) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0, timeout=30)


@pytest.fixture
def client(tmp_path, server):
    with serving(tmp_path, url=server.url) as gateway, _client(gateway) as client:
        yield client


@pytest.fixture
def of_real_server(tmp_path, real_server):
    with serving(tmp_path, url=real_server.url) as gateway, _client(gateway) as client:
        yield client


def test_the_official_package_talks_to_a_real_server(of_real_server, real_server):
    (model,) = of_real_server.models.list().data
    assert model.id == real_server.models[0]
    assert of_real_server.models.retrieve(model.id).id == model.id
    options = {"model": model.id, "messages": HI, "max_tokens": 12, "temperature": 0, "seed": 1}
    whole = of_real_server.chat.completions.create(**options)
    assert whole.usage.completion_tokens <= 12
    stream = of_real_server.chat.completions.create(**options, stream=True)
    pieces = [
        chunk.choices[0].delta.content
        for chunk in stream
        if chunk.choices and chunk.choices[0].delta
    ]
    assert "".join(filter(None, pieces)) == whole.choices[0].message.content
    done = of_real_server.completions.create(model=model.id, prompt="One, two,", max_tokens=4)
    assert done.choices[0].text


def test_a_hang_up_in_mid_stream_frees_the_slot_of_a_real_server(of_real_server, real_server):
    options = {"model": real_server.models[0], "messages": HI}
    for _ in range(6):  # more than it has slots; each alone would take 40 s
        stream = of_real_server.chat.completions.create(**options, max_tokens=4000, stream=True)
        next(iter(stream))
        stream.close()
    assert of_real_server.chat.completions.create(**options, max_tokens=2).choices


@pytest.mark.parametrize("words", [(), ("--no-stream",)])
def test_llm_answers_through_its_file_of_extra_models(tmp_path, server, words):
    whole = {
        "id": "1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7},
        "choices": [
            {
                "index": 0,
                "finish_reason": "stop",
                "message": {"role": "assistant", "content": "Hello there."},
            }
        ],
    }
    server.on(CHAT, json_reply(whole) if words else chat_reply())
    with serving(tmp_path, url=server.url) as gateway:
        (tmp_path / "extra-openai-models.yaml").write_text(
            f"- model_id: local\n  model_name: tiny\n  api_base: {gateway.url}/v1\n"
        )
        llm = str(Path(sys.executable).with_name("llm"))
        done = run(
            [llm, "-m", "local", *words, "Hi"],
            home=tmp_path,
            env={"LLM_USER_PATH": str(tmp_path)},
            wait_s=60,
        )
    assert (done.stdout, done.returncode) == ("Hello there.\n", 0), done.stderr
    assert server.seen(CHAT)[0].json["messages"][-1]["content"] == "Hi"
