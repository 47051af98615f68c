"""Anthropic's Claude, by its endpoint in OpenAI's form."""

from __future__ import annotations

from lmchat.domain.server import Product
from lmchat.proxy.json_modes import JsonMode
from lmchat.proxy.servers.hosted import Hosted
from lmchat.proxy.wire import Dialect


class Anthropic(Hosted):
    """Takes temperatures above 1 for 1, and neither seeds nor efforts."""

    product = Product.ANTHROPIC
    hosts = ("api.anthropic.com",)
    dialect = Dialect(json_modes=(JsonMode.WORDS,))  # `response_format` is ignored without a word
    key_hint = "Make a key at console.anthropic.com/settings/keys"
