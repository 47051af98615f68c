"""Anthropic's Claude, by its endpoint in OpenAI's form."""

from __future__ import annotations

from lmchat.domain.server import Product
from lmchat.proxy.servers.hosted import Hosted


class Anthropic(Hosted):
    """Takes temperatures above 1 for 1, and neither seeds nor efforts."""

    product = Product.ANTHROPIC
    hosts = ("api.anthropic.com",)
    key_hint = "Make a key at console.anthropic.com/settings/keys"
