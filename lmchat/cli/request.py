"""Printing of the next request, for `lmchat ask --dry-run`."""

from __future__ import annotations

import sys

from lmchat.chat.next_request import curl_command, json_text
from lmchat.chat.ports import ServerClient
from lmchat.cli.context import Context
from lmchat.safe_text import safe_json, safe_text
from lmchat.servers.request import ChatRequest, TemplateText
from lmchat.terminal.output import Output, is_utf8


async def print_request(
    output: Output, backend: ServerClient, request: ChatRequest, form: str
) -> None:
    """Print a request as JSON, or as a command if `form` is "curl"."""
    outgoing = await backend.outgoing(request)
    text = curl_command(outgoing) if form == "curl" else json_text(outgoing)
    # the curl command, too, has letters beyond ASCII only in its JSON, where they can be escaped
    output.print_safe(safe_json(text, is_ascii=not is_utf8()))


def print_template_text(context: Context, template_text: TemplateText) -> None:
    """Print the text of a request: on a terminal without control characters, else as it is."""
    if sys.stdout is None or not sys.stdout.isatty():
        context.output.print_exactly(template_text.text)
        return
    context.output.print_safe(safe_text(template_text.text))
