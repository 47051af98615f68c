"""Text that llama.cpp's chat template makes of a request."""

from __future__ import annotations

from typing import Any

from lmchat.servers.http.json_values import dicts_in, str_or_empty
from lmchat.servers.products.product import Product
from lmchat.servers.products.server_api import ServerApi
from lmchat.servers.request import TemplateText

_NO_LOAD = "?autoload=false"  # a router then loads no model; other servers ignore it


async def read_template_text(server: Product, api: ServerApi, body: dict[str, Any]) -> TemplateText:
    """Let a server apply its chat template to the body of a request, and count the tokens.

    Raises `ServerRejected` if this version of the server cannot do that.
    """
    reply = await api.post_optional(server.template_path + _NO_LOAD, body)
    if reply is None:
        raise server.no_template_text()
    text = str_or_empty(api.require_good(reply).object.get("prompt"))
    tokenize_body = {
        "model": body["model"],
        "content": text,
        "with_pieces": True,  # so that each token is an object
        "add_special": True,  # with the token that begins a prompt, as in a chat request
    }
    reply = api.require_good(await api.post(f"/tokenize{_NO_LOAD}", tokenize_body))
    return TemplateText(text=text, tokens=len(dicts_in(reply.object.get("tokens"))))
