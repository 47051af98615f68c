"""Words that want to command a terminal, and a server that says nothing else."""

from __future__ import annotations

from tests.support.scripted_products import CHAT, LLAMA
from tests.support.scripted_server import (
    DONE,
    ScriptedServer,
    delta,
    finish,
    json_reply,
    sse,
    usage,
)

ATTACKS = (
    "\x1b]52;c;UFdORUQ=\x07",  # clipboard
    "\x1b]0;PWNED title\x07",
    "\x1b]2;PWNED title\x1b\\",
    "\x1b]8;;http://pwned.example\x1b\\PWNED\x1b]8;;\x1b\\",
    "\x1b[3;5;41mPWNED",
    "\x1b[?1049lPWNED",
    "\x1b[2JPWNED",
    "\x1b[6n",
    "\x1bc",
    "\x1bP$qPWNED\x1b\\",
    "\x1b_GPWNED\x1b\\",
    "\x9b5;41mPWNED",
    "\x9d52;c;UFdORUQ=\x9c",
    "\x90PWNED\x9c",
    "\x05\x0e\x08\x7f\x00",
    "\u202ePWNED\u202c\u2066PWNED\u2069\u200f\ufeff",
    "\x07\x07\x08\x07]END",
)
FORBIDDEN = (
    b"\x1b]52;c;UFdORUQ=",
    b"PWNED title\x07",
    b"PWNED title\x1b\\",
    b"http://pwned.example\x1b\\",
    b"\x1b[3;5;41m",
    b"\x1b[6n",
    b"\x1bc",
    b"\x1b_G",
    b"\x07]END",
)
MODEL = "tiny"
"""The one model whose name can be asked for; the others' names are words of the server."""
HOSTILE = "PWNED " + " ".join(ATTACKS) + " END"
HARMLESS = "PWNED harmless words of about the same length, " * 4 + " END"


def speak(server: ScriptedServer, words: str) -> ScriptedServer:
    """Let a server say these words wherever a server can say anything."""
    name = f"model {words}"
    meta = {"n_ctx": 4096, "n_ctx_train": 8192, "n_params": 1000, "size": 1000, "ftype": words}
    row = {"object": "model", "owned_by": words, "created": 1, "meta": meta}
    rows = [{"id": MODEL, **row}, {"id": name, **row}]
    server.on("GET /v1/models", json_reply({"object": "list", "data": rows}, headers=LLAMA))
    props = {"build_info": words, "model_path": words, "chat_template_caps": {"supports_tools": True}}
    server.on("GET /props", json_reply(props, headers=LLAMA))
    server.on("GET /health", json_reply({"status": "ok", "words": words}, headers=LLAMA))
    return server.on(CHAT, answer(words))


def answer(words: str):
    """Make an answer with reasoning and a tool call; its bytes are split everywhere."""
    function = {"name": f"tool {words}", "arguments": words}
    call = {"index": 0, "id": words, "type": "function", "function": function}
    name = f"model {words}"
    text = (
        f"# {words}\n\n- {words}\n\n```{words}\n{words}\n```\n\n| a | b |\n|---|---|\n| {words} | x |\n\nLAST"
    )
    return sse(
        delta(reasoning_content=words, model=name),
        *(delta(text[start : start + 40], model=name) for start in range(0, len(text), 40)),
        delta(tool_calls=[call], model=name),
        finish(reason=f"stop{words}", model=name),
        usage(model=name),
        DONE,
        every=7,
    )


def failure(words: str):
    """Make a refusal."""
    return json_reply({"error": {"message": words, "type": words, "code": words}}, status=400)
