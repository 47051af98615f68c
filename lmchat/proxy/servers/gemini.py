"""Google's Gemini, by its endpoint in OpenAI's form."""

from __future__ import annotations

from typing import Any

from lmchat.domain.request import Sampling
from lmchat.domain.server import Product
from lmchat.proxy.servers.hosted import Hosted


class Gemini(Hosted):
    """Its address ends in /v1beta/openai."""

    product = Product.GEMINI
    hosts = ("generativelanguage.googleapis.com",)
    key_hint = "Make a key at aistudio.google.com/apikey"

    def fields(self, sampling: Sampling) -> dict[str, Any]:
        """It knows efforts."""
        return {"reasoning_effort": sampling.reasoning_effort} if sampling.reasoning_effort else {}
