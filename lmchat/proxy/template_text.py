"""Text that llama.cpp's chat template makes of a request, with its special tokens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from lmchat.proxy.json_values import dicts_in, str_or_empty
from lmchat.proxy.message_counts import NO_LOAD, TOKENIZE
from lmchat.proxy.server_api import ServerApi
from lmchat.proxy.servers.base import Server
from lmchat.servers.request import TemplateText


async def read_template_text(server: Server, api: ServerApi, body: dict[str, Any]) -> TemplateText:
    """Let a server apply its chat template to the body of a request, and count the tokens.

    Raises `ServerRejected` if this version of the server cannot do that.
    """
    reply = await api.post_optional(server.template_path + NO_LOAD, body)
    if reply is None:
        raise server.no_template_text()
    text = str_or_empty(api.require_good(reply).object.get("prompt"))
    tokenizer = _Tokenizer(api, body["model"])
    tokens = await tokenizer.tokens(text, add_special=True)
    special_tokens = await tokenizer.special_tokens(token for _, token in tokens)
    return TemplateText(text=text, tokens=len(tokens), special_tokens=special_tokens)


class _Tokenizer:
    """Tokenizer of a model."""

    def __init__(self, api: ServerApi, model_id: str) -> None:
        self._api = api
        self._model_id = model_id

    async def tokens(self, text: str, **options: bool) -> list[tuple[object, str]]:
        """Return the id and the text of each token; the text of half a character is empty."""
        body = {"model": self._model_id, "content": text, "with_pieces": True, **options}
        reply = self._api.require_good(await self._api.post(TOKENIZE + NO_LOAD, body))
        rows = dicts_in(reply.object.get("tokens"))
        return [(row.get("id"), str_or_empty(row.get("piece"))) for row in rows]

    async def special_tokens(self, texts: Iterable[str]) -> tuple[str, ...]:
        """Return those of the texts of tokens that belong to special tokens.

        All texts are tokenized twice: with special tokens, and as plain text. A special token is
        found only with the first. Line breaks between the texts keep them apart.
        """
        # A text that is empty, or has a blank or a line break, is no special token.
        candidates = sorted({text for text in texts if text.split() == [text]})
        lines = "\n".join(["", *candidates, ""])
        as_special = await self.tokens(lines, parse_special=True)
        as_text = set(await self.tokens(lines, parse_special=False))
        special_texts = {text for token_id, text in as_special if (token_id, text) not in as_text}
        return tuple(sorted(special_texts.intersection(candidates)))
