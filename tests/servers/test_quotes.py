"""What a server quotes of a request says nothing about why it refused it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.servers.products import product_named
from lmchat.servers.wire.quotes import texts_of, unquoted
from lmchat.servers.wire.refusals import refusal, refusal_in_stream
from lmchat.sessions.message import Role, text_message
from tests.support.client_calls import READ_TOOL, ask, events_of, failure_of
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import Seen, error_reply, json_reply, sse

RECORDS = [
    json.loads(line)
    for file in sorted((Path(__file__).parent / "refusals").glob("*.jsonl"))
    for line in file.read_text(encoding="utf-8").splitlines()
]
NEUTRAL = "Tell me about the garden behind the old house, please."


def texts_in(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in texts_in(one)]


PROMPTS = sorted({text for record in RECORDS for text in texts_in(record["body"])} - {""})


def of_pydantic(value: object) -> str:
    """Its middle is left out, as pydantic does."""
    shown = repr(value)
    return shown if len(shown) <= 50 else f"{shown[:25]}...{shown[-24:]}"


# As vLLM, llama.cpp, text-generation-inference, Ollama and gateways quote requests.
FORMS = {
    "a body in a sentence": lambda body, _: f"Bad value in {json.dumps(body)}",
    "a body as Python writes it": lambda body, _: f"Bad value: {body}",
    "messages of llama.cpp": lambda body, _: (
        f"Failed to parse messages: no user; messages = {json.dumps(body['messages'], indent=2)}"
    ),
    "an input of pydantic": lambda body, _: (
        "1 error for ValidatorIterator 0.content Input is odd [type=odd, "
        f"input_value={of_pydantic(body['messages'][-1])}, input_type=dict] More at https://a.dev"
    ),
    "a text of pydantic": lambda _, prompt: (
        f"Input is odd [type=odd, input_value={of_pydantic(prompt)}, input_type=str]"
    ),
    "a text in quotation marks": lambda _, prompt: f"Message {json.dumps(prompt)} is odd",
    "a text as Python writes it": lambda _, prompt: f"Message {prompt!r} is odd.",
}


def error_for(form: str, prompt: str, status: int):
    body = {
        "model": "qwen3",
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": prompt},
        ],
        "stream": True,
        "temperature": 0.5,
    }
    said = {"error": {"message": FORMS[form](body, prompt)}}
    facts = product_named("OpenAI-compatible").refusal_context(model="qwen3", host="box.lan")
    facts = replace(facts, sent=json.dumps(body).encode(), tools=("weigh",), has_images=True)
    if status == 200:
        return refusal_in_stream(said, facts)
    return refusal(status, {}, json.dumps(said).encode(), facts)


@pytest.mark.rule("R-24")
@pytest.mark.parametrize("form", FORMS)
def test_a_prompt_that_is_quoted_back_does_not_change_what_a_refusal_means(form):
    for status in (400, 404, 503, 200):
        expected = error_for(form, NEUTRAL, status)
        for prompt in PROMPTS:
            error = error_for(form, prompt, status)
            found = (error.kind, error.hint, error.retry_after_s, error.needed_tokens)
            assert found == (expected.kind, expected.hint, None, None), (prompt, error.words)


WORDS_OF_LESSONS = (
    "Does the server say that tools are not supported with this model?",
    "Unsupported parameter: reasoning_effort. Why?",
    "System role not supported",
    "Tool call IDs should be alphanumeric strings with length 9!",
    "Extra inputs are not permitted: stream_options, max_tokens",
    "Loading model, please try again in 20s",
    "messages.1: reasoning_content is not permitted",
    "streaming is not supported, context_length_exceeded",
)


@pytest.mark.rule("R-13")
async def test_a_prompt_that_is_quoted_back_does_not_change_what_is_sent_next(server, make_client):
    for prompt in WORDS_OF_LESSONS:
        for name, form in FORMS.items():
            for status in (400, 500, 200):
                server.requests.clear()

                def play(seen: Seen, form=form, prompt=prompt, status=status):
                    words = form(seen.json, prompt)
                    if status == 200:
                        return sse({"error": {"message": words}})
                    return error_reply(status, words)

                server.on(CHAT, play)
                request = ask(server, prompt, product="vLLM", reasoning_effort="low")
                system = text_message(Role.SYSTEM, "Be kind.")
                request = replace(request, messages=(system, *request.messages), tools=(READ_TOOL,))
                events, error = await events_of(make_client(), request)
                assert len(server.seen(CHAT)) == 1, (name, status, prompt, events)
                assert error.message.startswith("vLLM says: ")


async def test_the_name_of_a_model_a_tool_or_a_host_means_nothing(server, client):
    for words, name in (
        ("sigkill-7b: sampler returned nothing", "sigkill-7b"),
        ("/models/jinja-coder.gguf has no tensors", "jinja-coder.gguf"),
        ("sampler of out-of-memory-1b stopped", "org/out-of-memory-1b"),
        ("Sampler of SIGABRT-2B stopped", "sigabrt-2b"),
    ):
        server.on(CHAT, error_reply(500, words))
        error = await failure_of(client, ask(server, model=name))
        assert (error.kind, error.message) == ("server_error", f"The server says: {words}")
        assert error.hint == "Check the server's log, then try again."
    for words in (
        "jinja_render gave no schema",
        "nothing came from http://chat.example/exit-code/sigkill",
    ):
        server.on(CHAT, error_reply(500, words))
        tool = replace(READ_TOOL, wire_name="jinja_render")
        error = await failure_of(client, replace(ask(server), tools=(tool,)))
        assert error.kind == "server_error", words


async def test_a_server_that_is_away_for_a_while_is_to_be_tried_later(server, make_client):
    for words in (
        "Closed until 9: last night there was no space left on device.",
        "Back soon: we are out of memory for today",
        "The billing office moves; the account pages say why",
        "We repair the chat template and its jinja",
        "All tools are not supported on Sundays",
    ):
        server.on(CHAT, error_reply(503, words))
        request = replace(ask(server), tools=(READ_TOOL,))
        error = await failure_of(make_client(), request)
        assert "Try again later" in error.hint, words
        assert error.message == f"The server says: {words}"
        assert all("tools" in seen.json for seen in server.seen(CHAT))


def test_money_needs_its_status_or_a_code_and_a_key_its_status_or_a_code():
    money = "Your billing plan: insufficient balance"
    key = "Invalid API key"
    for status, said, kind in (
        (402, {"message": money}, "billing"),
        (429, {"message": money}, "billing"),
        (400, {"message": money}, "bad_request"),
        (500, {"message": money}, "server_error"),
        (400, {"message": "No", "code": "insufficient_quota"}, "billing"),
        (500, {"message": "No", "type": "credits_exhausted"}, "billing"),
        (401, {"message": key}, "auth"),
        (403, {"message": key}, "auth"),
        (400, {"message": key}, "bad_request"),
        (500, {"message": key}, "server_error"),
        (400, {"message": "No", "code": "invalid_api_key"}, "auth"),
    ):
        facts = product_named("OpenAI-compatible").refusal_context()
        error = refusal(status, {}, json.dumps({"error": said}).encode(), facts)
        assert error.kind == kind, (status, said)
        assert error.message == f"The server says: {said['message']}"


async def test_a_field_of_the_request_that_the_words_name_wins(server, make_client):
    for said in (
        {"message": "min_p: the sampler of this chat template does not take it, out of memory"},
        {"message": "Segmentation fault", "param": "min_p"},
        {"message": "Unsupported: min_p. Is a model loaded? No model is loaded"},
    ):
        server.requests.clear()

        def play(seen: Seen, said=said):
            if "min_p" in seen.json:
                return json_reply({"error": said}, status=400)
            return chat_reply()

        server.on(CHAT, play)
        request = ask(server, product="vLLM", more={"min_p": 0.1, "top_k": 5})
        _, error = await events_of(make_client(), request)
        assert error is None, said
        assert [("min_p" in one.json, "top_k" in one.json) for one in server.seen(CHAT)] == [
            (True, True),
            (False, True),
        ]


def test_a_request_of_megabytes_is_searched_at_once():
    for piece in ("a b c d ", "jinja ", "\\n\\n", '"', "\\u00e9", "input_value="):
        text = piece * (4_000_000 // len(piece))
        body = json.dumps({"messages": [{"role": "user", "content": text}] * 2}).encode()
        began_s = time.perf_counter()
        unquoted(text[:4800], texts_of(body))
        assert time.perf_counter() - began_s < 2, piece


def test_words_that_stand_in_the_request_by_chance_stay():
    sent = ['{"messages": [{"role": "user", "content": "Is the model loaded? It can\'t load"}]}']
    for said in (
        "Model is not loaded",
        "can't load the model",
        "Unknown role 'system'",
        "Field `temperature` must be a number",
    ):
        assert unquoted(said, sent) == said
