"""What a server quotes of a request says nothing about why it refused it."""

from __future__ import annotations

import json
import time

import pytest
from msgspec.structs import replace

from lmchat.core.servers.events import RequestAdapted, RetryScheduled
from lmchat.core.servers.products import product_named
from lmchat.core.servers.wire.quotes import texts_of, unquoted
from lmchat.core.servers.wire.refusals import refusal, refusal_in_stream
from lmchat.core.sessions.message import FilePart, Role, TextPart, text_message
from tests.support.client_calls import (
    READ_TOOL,
    answered,
    ask,
    events_of,
    failure_of,
    message_of,
    text_of,
)
from tests.support.refusal_corpus import RECORDS
from tests.support.scripted_products import CHAT, chat_reply
from tests.support.scripted_server import Seen, delta, error_reply, json_reply, sse

NEUTRAL = "Tell me about the garden behind the old house, please."


def texts_in(value) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for one in inner for text in texts_in(one)]


QUESTIONS = (
    "My llama.cpp says: request (20031 tokens) exceeds the available context size (512 tokens). Why?",
    "What does 'This model's maximum context length is 4096 tokens' mean?",
    "LM Studio: Trying to keep the first 9 tokens when context the overflows. How do I mend that?",
    "Translate: max_tokens is too large: 100000. This model supports at most 16384 completion tokens.",
    "Ollama stopped with `model requires more system memory (11.2 GiB) than is available`. Help!",
    "Explain the log line: llama runner process has terminated: signal: killed",
    "RuntimeError: CUDA out of memory. Tried to allocate 2.00 GiB. Which batch size fits?",
    "Is 'Failed to load model' the fault of the file or of the engine?",
    "Which sentence is better: No model is loaded, or Please load a model?",
    "When does a server answer 503 with Loading model?",
    "The model `pear` does not exist, says vLLM. Where do I download it?",
    '"embed" does not support chat - what is it good for, then?',
    "Write a joke about 'image input is not supported'",
    "Only 'text' content type is supported. Says who?",
    "Cannot use tools with stream: is that still so?",
    "Error: Jinja Exception: Roles must alternate here. Mend this template!",
    "Invalid host header appears in Django; how do I allow box.lan?",
    "You have reached your weekly usage limit: is that per account?",
    "Write a poem with the line: Rate limit reached, please try again in 20s",
    '{"error": {"code": "context_length_exceeded", "message": "Reduce the length of the messages"}}',
)
STATUSES = (400, 404, 503, 200)  # the last is that of a stream
PROMPTS = {question: {*STATUSES} for question in QUESTIONS}
for record in RECORDS:
    for text in texts_in(record["body"]):
        if len(text.split()) > 2:  # fewer words may stand in both by chance
            # its own status, where it would mean something if it were not quoted
            own = 200 if record["where"] == "stream" else record["status"]
            PROMPTS.setdefault(text, {400}).add(own)


def with_image(request):
    image = FilePart(name="leaf.png", media_type="image/png", digest="a", size=3)
    message = message_of(Role.USER, image, TextPart(text="What grows here?"))
    return replace(request, messages=(message,), files={"a": b"png"})


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
    neutral = {
        status: error_for(form, NEUTRAL, status) for status in set().union(*PROMPTS.values())
    }
    for prompt, statuses in PROMPTS.items():
        for status in statuses:
            error = error_for(form, prompt, status)
            expected = neutral[status]
            found = (error.kind, error.next_step, error.retry_after_s, error.room_tokens)
            assert found == (expected.kind, expected.next_step, None, None), (prompt, error.said)


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
        for status in (400, 500):
            server.requests.clear()
            server.on(CHAT, error_reply(status, f"Message {json.dumps(prompt)} is odd"))
            request = ask(server, prompt, product="vLLM", reasoning_effort="low")
            system = text_message(Role.SYSTEM, "Be kind.")
            request = replace(request, messages=(system, *request.messages), tools=(READ_TOOL,))
            error = await failure_of(make_client(), request)
            assert len(server.seen(CHAT)) == 1, prompt
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
        assert error.next_step == "Check the server's log, then try again."
    for words in (
        "jinja_render gave no schema",
        "nothing came from http://chat.example/exit-code/sigkill",
    ):
        server.on(CHAT, error_reply(500, words))
        tool = replace(READ_TOOL, wire_name="jinja_render")
        error = await failure_of(client, replace(ask(server), tools=(tool,)))
        assert error.kind == "server_error", words


def test_the_name_of_a_model_that_is_a_usual_word_hides_no_words_of_a_refusal():
    for name, words, kind in (
        ("a", "tiny is not a chat model", "unsupported"),
        ("model", "No model is loaded", "model_not_loaded"),
    ):
        facts = product_named("OpenAI-compatible").refusal_context(model=name)
        assert refusal(400, {}, words.encode(), facts).kind == kind


# As llama.cpp, Groq, LiteLLM and Ollama quote what the model has written.
FORMS_OF_ANSWERS = {
    "at a position": lambda text: error_reply(500, f"Failed to parse input at pos 12: {text}"),
    "as JSON": lambda text: error_reply(
        500,
        "Failed to parse tool call arguments as JSON: [json.exception.parse_error.101] parse error "
        f"at line 1, column 2: syntax error while parsing value - invalid literal; last read: '{text}'",
    ),
    "in a field": lambda text: error_reply(
        400, "Failed to call a function.", code="tool_use_failed", failed_generation=text
    ),
    "in the words of a gateway": lambda text: error_reply(
        400, f'GroqException - {{"error":{{"message":"No call","failed_generation":"<f>{text}'
    ),
    "in a stream": lambda text: sse({"error": {"message": f"Bad input at pos 1: {text}"}}),
    "of Ollama": lambda text: error_reply(500, f"error parsing tool call: raw='{text}', err=EOF"),
    "as a difference": lambda text: sse(
        "So", {"error": {"message": f"Invalid diff: 'So' not found at start of 'So, {text}'"}}
    ),
    "behind the text": lambda text: sse(text, {"error": {"message": f"It is odd: {text}"}}),
    "behind a call": lambda text: sse(
        delta(tool_calls=[{"index": 0, "id": "a", "function": {"name": "f", "arguments": text}}]),
        {"error": {"message": f"No JSON: {text}"}},
    ),
}
WORDS_OF_ANSWERS = (
    "the shed is out of memory of summer",
    "sadly, the prompt is too long",
    "no, the model is not loaded at all",
    "they say: Loading model, please try again in 20s",
    "this maximum context length is 4096 tokens",
    "the gardener does not support tools, they said",
    "a system role not supported by the house",
    "and image input is not supported there",
)


@pytest.mark.rule("R-24")
async def test_what_the_model_has_written_does_not_change_what_a_refusal_means(server, make_client):
    for name, form in FORMS_OF_ANSWERS.items():
        found = []
        for text in (NEUTRAL, *WORDS_OF_ANSWERS):
            server.requests.clear()
            server.on(CHAT, form(text))
            request = replace(with_image(ask(server)), tools=(READ_TOOL,))
            _, error = await events_of(make_client(), request)
            count = len(server.seen(CHAT))
            found.append((error.kind, error.next_step, error.retry_after_s, count))
            assert text.split()[-1] in error.message or "field" in name, "it is told as it came"
        assert set(found) == {found[0]}, name


# Each has words of rows in passing, or speaks of another thing with them.
IN_PASSING = (
    (400, "The billing address has to be a text"),
    (400, "Unknown value: the memory of this session is out of order"),
    (400, "Out of memories: 'recall' must be a list"),
    (400, "The image of the user is shown without tools"),
    (400, "Prompt 7 is longer than prompt 6"),
    (400, "The context of this call is not known, its window neither"),
    (400, "Tokens of the account: at most 3 keys"),
    (400, "max_tokens must be greater than 0"),
    (400, "The API token is longer than 64 characters"),
    (400, "The name of a tool is longer than 64 characters"),
    (422, "The length of `stop` must be less than 5"),
    (500, "The window of the queue is larger than the pool"),
    (404, "The pear that you asked for was not found here"),
    (404, "Our model for prices has moved to another page"),
    (409, "Another chat template has this name already"),
    (422, "The model card must have a license"),
    (429, "Slow down: the limits of your plan are on the billing page"),
    (500, "The process for exit interviews is not implemented"),
    (500, "Disk check: no errors, no space issues, nothing crashed"),
    (500, "Load average is high, loading takes longer than usual"),
    (500, "This host, its header and its footer are under repair"),
    (500, "Jinja and mustache are both installed"),
    (500, "A key is not needed here, and authentication is off"),
    (503, "Closed until 9: last night there was no space left on device."),
    (503, "Back soon: we are out of memory for today"),
    (503, "The billing office moves; the account pages say why"),
    (503, "We repair the chat template and its jinja"),
    (503, "All tools are not supported on Sundays"),
)


def test_words_in_passing_mean_no_more_than_their_status():
    facts = product_named("OpenAI-compatible").refusal_context(model="qwen3")
    for status, words in IN_PASSING:
        body = json.dumps({"error": {"message": words}}).encode()
        found, plain = (refusal(status, {}, sent, facts) for sent in (body, b"Sunday"))
        assert (found.kind, found.next_step) == (plain.kind, plain.next_step), words
        assert found.message == f"The server says: {words}"
        if status == 503:
            assert "Try again later" in found.next_step


ANSWERS = (
    "Error: something went wrong.",
    "error: out of memory",
    "CUDA out of memory. Tried to allocate 2.00 GiB.",
    "The model requires more system memory (11.2 GiB) than is available (7.4 GiB).",
    "llama runner process has terminated: signal: killed",
    "The model has crashed without additional information. (Exit code: 7)",
    "Segmentation fault (core dumped)",
    "Failed to load model: the file is broken.",
    "Loading model, please wait.",
    "No models loaded. Please load a model first.",
    "This model's maximum context length is 4096 tokens.",
    "Your prompt is too long: 213462 tokens > 200000 maximum.",
    "Reduce the length of the messages or of the completion.",
    "max_tokens is too large: 100000.",
    "I have reached my token limit.",
    "I'm sorry, but the context window exceeds its limit.",
    "Rate limit reached; please try again in 20s.",
    "429 Too Many Requests",
    "HTTP/1.1 503 Service Unavailable",
    "502 Bad Gateway",
    "404 page not found",
    "Not Found",
    "Unauthorized",
    "Invalid API key. Check OPENAI_API_KEY.",
    "Your key sk-1234 has expired.",
    "You exceeded your current quota, please check your plan and billing details.",
    "Insufficient balance. Go to Plans & Billing.",
    "The content filter has refused this prompt.",
    "I cannot use tools here: they are not supported.",
    "I cannot see images; image input is not supported.",
    "Conversation roles must alternate user/assistant/user/assistant.",
    "jinja2.exceptions.TemplateError: unexpected role",
    "Traceback (most recent call last):\n  File 'x.py', line 1\nMemoryError",
    "No space left on device",
    "Invalid host header",
    '{"error": {"message": "No", "code": "context_length_exceeded"}}',
    '{"error": "model not found"}',
    'data: {"error": {"message": "overloaded_error", "code": 503}}',
    "event: error\ndata: {}",
    "<html><title>502 Bad Gateway</title></html>",
)


async def test_an_answer_that_speaks_of_errors_is_an_answer(server, make_client):
    for words in ANSWERS:
        message = {"role": "assistant", "content": words}
        whole = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
        for reply in (chat_reply(words), json_reply(whole)):
            server.on(CHAT, reply)
            events = await answered(make_client(), ask(server))
            assert text_of(events) == words
            assert not [one for one in events if isinstance(one, RequestAdapted | RetryScheduled)]


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
        started_s = time.process_time()
        unquoted(text[:4800], texts_of(body))
        assert time.process_time() - started_s < 2, piece
