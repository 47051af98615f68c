"""Preview of the next request of a session: what it would hold, as JSON or as a shell command.

The model is not asked for an answer. But the servers of tools are started, as their tools are in
the request. The model's server may be asked to count the tokens of the request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from msgspec.structs import replace

from lmchat.chat.open_session import OpenSession
from lmchat.chat.service import ChatService
from lmchat.chat.turn_choices import TurnSettings
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_json, safe_line, shell_word
from lmchat.servers.request import ChatRequest, OutgoingRequest
from lmchat.sessions.message import FilePart, Role, text_message

FORMS = ("text", "json", "curl")
"""Forms of a request: the text that the model gets, the body, and a shell command."""
KEY_VARIABLE = "LMCHAT_API_KEY"  # of the environment, in place of the key in a command
_SHOWN_DATA_CHARS = 32  # of an image; a whole one would hide the rest of the request
_IMAGE = re.compile(rb'(?<="url":"data:)(image/[a-z]+;base64,)([A-Za-z0-9+/=]+)(?=")')
"""An image in an encoded body: its type and its data, between `"url":"data:` and `"`."""
_END = "JSON"  # line that ends the body in a command; no line of indented JSON is equal to it


def checked_form(typed: str) -> str:
    """Return the form that was typed, which may be empty; raises `WrongUse` for an unknown one."""
    form = typed.strip().lower()
    if form and form not in FORMS:
        problem = f"Unknown form of a request: {safe_line(typed, limit=20)}."
        raise WrongUse(problem, hint="The forms are text, json and curl.")
    return form


async def next_request(
    chat: ChatService,
    opened: OpenSession,
    text: str,
    files: Sequence[FilePart] = (),
    *,
    settings: TurnSettings | None = None,
) -> ChatRequest:
    """Return the request that `ChatService.send_now` would send first, without sending it.

    Without text and files, the request has an empty prompt. It includes what has arrived of a
    running answer. Raises the errors of `ChatService.send_now`.
    """
    await opened.load_older(chat.store)  # only the end of a long session was read
    settings = settings or chat.turn_choices.settings(opened.own_sampling)
    make_start = chat.turn_choices.prompt_start(text, files, opened.first_words)
    start = make_start(opened.shown_messages)
    request = await chat.plan_turn(opened, start, settings).request.prepared_request()
    if text or files:
        return request
    # The plan has left out the empty prompt, so its last message may be an answer. The server would
    # continue that answer, and its chat template would write another text than for the next prompt.
    # So the prompt is put back; only first words of the next answer come after it.
    messages = list(request.messages)
    index = len(messages) if start.beginning is None else len(messages) - 1
    messages.insert(index, text_message(Role.USER, ""))
    return replace(request, messages=tuple(messages))


def json_text(outgoing: OutgoingRequest) -> str:
    """Return the body as indented JSON that is safe on a terminal; images are cut."""
    return _indented(_IMAGE.sub(_cut_image, outgoing.body))


def curl_command(outgoing: OutgoingRequest) -> str:
    """Return a command for a POSIX shell that sends the request.

    The shell puts the API key into the command. It reads the body from the lines below the command,
    in which no character is special.
    """
    words = [f"curl --silent --show-error --no-buffer {shell_word(outgoing.url)}"]
    for name, value in outgoing.headers.items():
        words.append(f"--header {shell_word(f'{name}: {value}')}")
    if outgoing.has_key:
        words.append(f'--header "Authorization: Bearer ${KEY_VARIABLE}"')
    words.append(f"--data-binary @- <<'{_END}'")
    command = " \\\n  ".join(words)
    return f"{command}\n{_indented(outgoing.body)}\n{_END}\n"


def _indented(body: bytes) -> str:
    return safe_json(json.dumps(json.loads(body), ensure_ascii=False, indent=2))


def _cut_image(image: re.Match[bytes]) -> bytes:
    """Return an image with only the beginning of its data, and the number of its characters.

    An image with short data stays as it is.
    """
    media_type, data = image.groups()
    if len(data) <= _SHOWN_DATA_CHARS:
        return image[0]
    words = f"… ({len(data)} characters)"
    return media_type + data[:_SHOWN_DATA_CHARS] + words.encode()
