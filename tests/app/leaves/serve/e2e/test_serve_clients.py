"""Programs of others use `lmchat serve` as they use OpenAI: the official package, and `llm`."""

from __future__ import annotations

import re

import openai
import pytest

from tests.support.programs import Inside, wait_until
from tests.support.serving import HI, serving

pytestmark = pytest.mark.timeout(120)


def test_the_official_package_talks_to_a_real_server_and_frees_its_slot_by_hanging_up(
    tmp_path, real_server
):
    with (
        serving(tmp_path, url=real_server.url) as gateway,
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client,
    ):
        (model,) = client.models.list().data
        assert model.id == real_server.models[0]
        assert client.models.retrieve(model.id).id == model.id
        options = {"model": model.id, "messages": HI, "temperature": 0, "seed": 1}
        for _ in range(3):  # each alone would take 40 s
            stream = client.chat.completions.create(**options, max_tokens=4000, stream=True)
            next(iter(stream))
            stream.close()
        whole = client.chat.completions.create(**options, max_tokens=12)
        assert whole.usage.completion_tokens <= 12
        stream = client.chat.completions.create(**options, max_tokens=12, stream=True)
        deltas = [chunk.choices[0].delta.content for chunk in stream if chunk.choices]
        assert "".join(filter(None, deltas)) == whole.choices[0].message.content
        done = client.completions.create(model=model.id, prompt="One, two,", max_tokens=4)
        assert done.choices[0].text


def test_responses_and_messages_of_a_real_server_pass_whole_and_in_parts(tmp_path, real_server):
    model = real_server.models[0]
    with (
        serving(tmp_path, url=real_server.url) as gateway,
        openai.OpenAI(base_url=f"{gateway.url}/v1", api_key="any", max_retries=0) as client,
    ):
        asked = {"model": model, "input": "Hi"}
        options = {**asked, "max_output_tokens": 8, "temperature": 0}
        whole = client.responses.create(**options)
        events = list(client.responses.create(**options, stream=True))
        assert events[-1].type == "response.completed"
        parts = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert "".join(parts) == whole.output_text != ""
        assert client.responses.input_tokens.count(**asked).input_tokens > 0
        with pytest.raises(openai.NotFoundError, match="no such path"):
            client.responses.retrieve(whole.id)

        # as Claude Code sends it
        message = {"model": model, "max_tokens": 8, "messages": HI}
        reply = gateway.post("/v1/messages?beta=true", message, headers={"X-Api-Key": "any"}).json()
        assert reply["content"][0]["text"]
        stream = gateway.post("/v1/messages?beta=true", {**message, "stream": True}).text
        assert stream.rstrip().endswith('data: {"type":"message_stop"}')
        counted = gateway.post("/v1/messages/count_tokens?beta=true", message)
        assert counted.json()["input_tokens"] > 0

        def stats() -> dict:
            return Inside(home=tmp_path).json("stats", "--json")["data"][0]

        wait_until(lambda: stats()["turns"] == 4, "the statistics of four answers")
        counts = [int(count) for count in re.findall(r'"output_tokens":(\d+)', stream)[-1:]]
        counts += [whole.usage.output_tokens, events[-1].response.usage.output_tokens]
        assert stats()["completion_tokens"] == sum(counts) + reply["usage"]["output_tokens"]
