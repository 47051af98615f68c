"""Google's Gemini, by its endpoint in OpenAI's form."""

from __future__ import annotations

from lmchat.config.efforts import EFFORTS
from lmchat.domain.server import Product
from lmchat.proxy.servers.hosted import Hosted


class Gemini(Hosted):
    """Its address ends in /v1beta/openai."""

    product = Product.GEMINI
    hosts = ("generativelanguage.googleapis.com",)
    efforts = EFFORTS
    key_hint = "Make a key at aistudio.google.com/apikey"
