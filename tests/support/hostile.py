"""Words that want to command a terminal, and a server that says nothing else."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator

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

EVIL = "x[/q][@click=app.quit]\x1b]0;o\x07\x9b1m\u202e\u200b\U000e0041\ufe0f\ufffe\n\r\ty"
OBEYED = frozenset("\x00\x07\r\x1b\x7f\x9b\u200b\u202e\U000e0041\ufffe")
"""A word that a terminal or a markup would obey, and the characters by which it would."""

SEQUENCES = (
    "\x1b]52;c;UFdORUQ=\x07",  # clipboard
    "\x1b]0;PWNED title\x07",
    "\x1b]2;PWNED title\x1b\\",
    "\x1b]8;;http://pwned.example\x1b\\PWNED\x1b]8;;\x1b\\",
    "\x1b]9;PWNED\x07\x1b]777;notify;PWNED;PWNED\x07\x1b]1337;File=:QQ==\x07",
    "\x1b[3;5;41mPWNED",
    "\x1b[7777GPWNED",  # lmchat sets the cursor so itself
    "\x1b[?1049lPWNED",
    "\x1b[2JPWNED",
    "\x1b[6n\x1b[21t\x1b[>c\x1b]11;?\x07",  # questions, whose answers would be typed
    "\x1b[200~\x1b[201~",
    "\x1bc\x1b#8\x1b(0\x1b%@",
    "\x1bP$qPWNED\x1b\\",
    "\x1b_GPWNED\x1b\\",
    "\x1b^PWNED\x1b\\\x1bXPWNED\x1b\\",
    "\x9b5;41mPWNED",
    "\x9d52;c;UFdORUQ=\x9c",
    "\x90PWNED\x9c\x84\x85\x8d\x9fPWNED\x9c",
    "\x05\x0e\x08\x7f\x00\x0b\x0c\x18\x1a",
    "\x07\x07\x08\x07]END",
    "first\rPWNED\r\rsecond\tthird",
)
"""What commands a terminal."""
UNSEEN = (
    "\u202ePWNED\u202c\u2066PWNED\u2069\u200f\u200e\u061c",
    "\ufeff\u200b\u2060\u00ad\u180e\u3164",
    "".join(map(chr, range(0xE0041, 0xE0050))) + "\U000e0001\U000e007f",  # letters that nobody sees
    "a\u2028b\u2029c\ufff9d\ufffae\ufffb",
    "a\ufe0f\ufe0f\ufe0f \U000e0100\U000e0101 \u200d\u200d x\u200c",
    "\ufffe\uffff\U0001fffe\U0010ffff\ufdd0",
    "\ud800 \udfff \udc80",
)
"""What shows something else than it is, or nothing."""
MARKUP = (
    "[/pwned][bold red]PWNED[/] [link=http://pwned.example]PWNED[/link] "
    "[@click=app.quit]PWNED[/] \\[x] [$text]y"
)
"""What commands Textual and rich."""
ATTACKS = (*SEQUENCES, *UNSEEN)
FORBIDDEN = (
    b"\x1b]52;c;UFdORUQ=",
    b"PWNED title\x07",
    b"PWNED title\x1b\\",
    b"http://pwned.example\x1b\\",
    b"\x1b]777",
    b"\x1b[3;5;41m",
    b"\x1b[7777G",
    b"\x1b[6n",
    b"\x1bc",
    b"\x1b_G",
    b"\x07]END",
)
MODEL = (
    "tiny"  # the one model whose name can be asked for; the others' names are words of the server
)
HOSTILE = "PWNED " + " ".join((*ATTACKS, MARKUP)) + " END"


def speak(server: ScriptedServer, words: str) -> ScriptedServer:
    name = f"model {words}"
    meta = {"n_ctx": 4096, "n_ctx_train": 8192, "n_params": 1000, "size": 1000, "ftype": words}
    row = {"object": "model", "owned_by": words, "created": 1, "meta": meta}
    rows = [{"id": MODEL, **row}, {"id": name, **row}]
    server.on("GET /v1/models", json_reply({"object": "list", "data": rows}, headers=LLAMA))
    props = {
        "build_info": words,
        "model_path": words,
        "chat_template_caps": {"supports_tools": True},
    }
    server.on("GET /props", json_reply(props, headers=LLAMA))
    server.on("GET /health", json_reply({"status": "ok", "words": words}, headers=LLAMA))
    return server.on(CHAT, hostile_reply(words))


def hostile_reply(words: str, *, reason: str = "stop"):
    """Make an answer with reasoning and a tool call; its bytes are split everywhere."""
    function = {"name": f"tool {words}", "arguments": words}
    call = {"index": 0, "id": words, "type": "function", "function": function}
    name = f"model {words}"
    text = (
        f"# {words}\n\n- {words}\n\n```{words}\n{words}\n```\n\n| a | b |\n|---|---|\n| {words} | x |\n\n"
        f"> **{words}** `{words}` $ {words} $\n\n![{words}](http://{words}) <b {words}>\n\n"
        f"<div>\n{words}\n</div>\n\n"
        f"[{words}](http://first.example/{words.replace(' ', '_')}) [x](http://second.example)\n\nLAST"
    )
    return sse(
        delta(reasoning_content=words, model=name),
        *(delta(text[start : start + 157], model=name) for start in range(0, len(text), 157)),
        delta(tool_calls=[call], model=name),
        finish(reason=reason, model=name),
        usage(model=name),
        DONE,
        every=29,  # also between the bytes of a character and of an escape
    )


def failure(words: str):
    return json_reply({"error": {"message": words, "type": words, "code": words}}, status=400)


_TOKEN = re.compile(
    r"(?P<csi>\x1b\[[0-?]*[ -/]*[@-~])"
    r"|(?P<osc>\x1b\][^\x07\x1b]*(?:\x07|\x1b\\))"
    r"|(?P<string>\x1b[PX^_][^\x1b]*(?:\x1b\\)?)"
    r"|(?P<escape>\x1b.?)"
    r"|(?P<control>[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f])"
    r"|(?P<hidden>[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b\u200e\u200f\u2028-\u202e]"
    r"|[\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb\U000e0000-\U000e00ff\U000e01f0-\U000e0fff])"
    r"|(?P<nothing>[\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0010ffff\udc80-\udcff])",  # no characters, no UTF-8
    re.DOTALL,
)
_TO_CLIPBOARD = re.compile(rb"\x1b\]52;c?;([A-Za-z0-9+/=]*)(?:\x07|\x1b\\)")
_WITH_PARAMETERS = "hlnqtuc"
"""Finals of CSI that switch or ask something: their parameters belong to their kind."""


def sequences(raw: bytes) -> Iterator[tuple[str, str]]:
    """Yield each control sequence, control character and invisible character: its name and its text."""
    for match in _TOKEN.finditer(raw.decode("utf-8", "surrogateescape")):
        yield str(match.lastgroup), match[0]


def kinds(raw: bytes) -> set[str]:
    """Return what kinds of them there are: colours and places differ from run to run, kinds do not."""
    return {_kind(name, text) for name, text in sequences(raw)}


def titles(raw: bytes) -> list[str]:
    found = [re.match(r"\x1b\][012];(.*?)(?:\x07|\x1b\\)\Z", text) for _, text in sequences(raw)]
    return [match[1] for match in found if match]


def _kind(name: str, text: str) -> str:
    if name == "csi" and text[-1] not in _WITH_PARAMETERS:
        return "csi " + re.sub(r"[0-9;:]", "", text[2:])
    if name == "osc":
        return "osc " + text[2:].partition(";")[0]
    return f"{name} {text[1:]!r}" if name != "control" else f"control {text!r}"


def copied(raw: bytes) -> list[str]:
    return [base64.b64decode(data).decode() for data in _TO_CLIPBOARD.findall(raw)]
