"""What the providers that are known by their host answer to a chat, and how each of them refuses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lmchat.domain.server import Product
from tests.support.scripted_answers import model_list
from tests.support.scripted_server import DONE, Reply, ScriptedServer, delta, finish, json_reply, sse, usage


@dataclass(frozen=True)
class Provider:
    """One of them, with the words that it refuses in."""

    product: Product
    """Which."""
    host: str
    """Where it alone is."""
    path: str
    """The base of its addresses."""
    stream: tuple[Any, ...]
    """An answer in its own form; its text is always "Hello there."."""
    thought: str = ""
    """What of it is thought."""
    calls: tuple[tuple[str, str], ...] = ()
    """Names and arguments of the tools that it asks for."""
    refusals: dict[str, Reply] = field(default_factory=dict)
    """By the kind that lmchat tells."""

    def url(self, port: int) -> str:
        return f"https://{self.host}:{port}{self.path}"

    def script(self, server: ScriptedServer) -> None:
        """Let a server answer as it does."""
        server.on(f"GET {self.path}/models", model_list("some-model", owned_by="provider"))
        server.on(f"POST {self.path}/chat/completions", sse(*self.stream))

    def refuse(self, server: ScriptedServer, *replies: Reply) -> None:
        server.on(f"POST {self.path}/chat/completions", *replies)


def _error(status: int, message: str, *, headers=None, **more: object) -> Reply:
    return json_reply({"error": {"message": message, **more}}, status=status, headers=headers)


def _tool(name: str, arguments: str, **more: object) -> dict:
    return {
        "id": f"call_{name}",
        "type": "function",
        "function": {"name": name, "arguments": arguments},
    } | more


_HELLO = (delta("Hello"), delta(" there."))
_END = (finish(), usage(), DONE)

OPENAI = Provider(
    product=Product.OPENAI,
    host="api.openai.com",
    path="/v1",
    stream=(
        delta("", role="assistant", refusal=None) | {"obfuscation": "zq7", "usage": None},
        *(chunk | {"obfuscation": "x" * 9, "service_tier": "default", "usage": None} for chunk in _HELLO),
        *_END,
    ),
    refusals={
        "auth": _error(401, "Incorrect API key provided: sk-pr**key.", code="invalid_api_key"),
        "billing": _error(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            type="insufficient_quota",
            code="insufficient_quota",
            headers={"Retry-After": "1"},
        ),
        "model_missing": _error(
            404, "The model `gpt-9` does not exist or you do not have access to it.", code="model_not_found"
        ),
        "context_overflow": _error(
            400,
            "This model's maximum context length is 128000 tokens. However, your messages resulted in 130001 "
            "tokens. Please reduce the length of the messages.",
            code="context_length_exceeded",
        ),
        "bad_request": _error(
            400, "Unsupported value: 'temperature' does not support 0.7.", param="temperature"
        ),
    },
)

MISTRAL = Provider(
    product=Product.MISTRAL,
    host="api.mistral.ai",
    path="/v1",
    stream=(
        delta("", role="assistant") | {"p": "abcdefghij"},
        delta(
            content=[{"type": "thinking", "thinking": [{"type": "text", "text": "Plan."}], "closed": True}]
        ),
        delta(content=[{"type": "text", "text": "Hello"}, {"type": "reference", "reference_ids": [1]}])
        | {"p": "k"},
        delta(" there."),
        finish() | {"usage": {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}, "p": "lmno"},
        DONE,
    ),
    thought="Plan.",
    refusals={
        "auth": json_reply({"message": "Unauthorized", "request_id": "1"}, status=401),
        "bad_request": json_reply(
            {
                "object": "error",
                "message": {
                    "detail": [
                        {
                            "type": "less_than_equal",
                            "loc": ["body", "temperature"],
                            "msg": "Input should be <= 1.5",
                        }
                    ]
                },
                "type": "invalid_request_error",
                "param": None,
            },
            status=422,
        ),
        "model_missing": json_reply(
            {
                "object": "error",
                "message": "Invalid model: no such model mistral-9",
                "type": "invalid_model",
                "code": "1500",
            },
            status=400,
        ),
        "rate_limited": json_reply({"message": "Requests rate limit exceeded"}, status=429),
    },
)

ANTHROPIC = Provider(
    product=Product.ANTHROPIC,
    host="api.anthropic.com",
    path="/v1",
    stream=(
        delta("", role="assistant"),
        *_HELLO,
        delta(tool_calls=[_tool("look", ""), _tool("read", "{}")]),
        finish("tool_calls"),
        usage(),
        DONE,
    ),
    calls=(("look", ""), ("read", "{}")),
    refusals={
        "auth": json_reply(
            {"type": "error", "error": {"type": "authentication_error", "message": "invalid x-api-key"}},
            status=401,
        ),
        "busy": json_reply(
            {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, status=529
        ),
        "billing": _error(
            400,
            "Your credit balance is too low to access the Anthropic API. Please go to Plans & Billing.",
            type="invalid_request_error",
        ),
        "model_missing": _error(404, "model: claude-9", type="not_found_error"),
    },
)

GEMINI = Provider(
    product=Product.GEMINI,
    host="generativelanguage.googleapis.com",
    path="/v1beta/openai",
    stream=(
        delta("Hello", role="assistant"),
        # complete calls, all without an index; no reason for the end on the way
        delta(" there.", tool_calls=[_tool("look", '{"at": 1}'), _tool("look", '{"at": 2}', id="")]),
        finish(),
        usage(),
        DONE,
    ),
    calls=(("look", '{"at": 1}'), ("look", '{"at": 2}')),
    refusals={
        "auth": json_reply(
            [{"error": {"code": 400, "message": "API key not valid. Please pass a valid API key."}}],
            status=400,
        ),
        "rate_limited": json_reply(
            [
                {
                    "error": {
                        "code": 429,
                        "message": "Resource has been exhausted (e.g. check quota).",
                        "status": "RESOURCE_EXHAUSTED",
                        "details": [
                            {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3600s"}
                        ],
                    }
                }
            ],
            status=429,
        ),
        "model_missing": json_reply(
            [{"error": {"code": 404, "message": "models/gemini-9 is not found for API version v1main"}}],
            status=404,
        ),
    },
)

OPENROUTER = Provider(
    product=Product.OPENROUTER,
    host="openrouter.ai",
    path="/api/v1",
    stream=(
        b": OPENROUTER PROCESSING\n\n",
        b": OPENROUTER PROCESSING\n\n",
        delta(
            "",
            role="assistant",
            reasoning="Plan.",
            reasoning_details=[{"type": "reasoning.text", "text": "Plan.", "format": "unknown"}],
        )
        | {"provider": "Someone"},
        *_HELLO,
        *_END,
    ),
    thought="Plan.",
    refusals={
        "auth": _error(401, "No auth credentials found", code=401),
        "billing": _error(
            402, "Insufficient credits. Add more using https://openrouter.ai/credits", code=402
        ),
        "model_missing": _error(400, "vendor/nothing is not a valid model ID", code=400),
        "upstream": _error(502, "Provider returned error", code=502, metadata={"provider_name": "Someone"}),
        "timeout": _error(408, "Request timed out", code=408),
    },
)

PROVIDERS = (OPENAI, MISTRAL, ANTHROPIC, GEMINI, OPENROUTER)
