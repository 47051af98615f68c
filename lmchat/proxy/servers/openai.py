"""OpenAI itself: its reasoning models take `max_completion_tokens` alone, and all the others do too."""

from __future__ import annotations

from typing import Any

from lmchat.domain.request import Sampling
from lmchat.domain.server import Product
from lmchat.proxy.servers.base import seed_and_effort
from lmchat.proxy.servers.hosted import Hosted
from lmchat.proxy.wire import Dialect


class OpenAi(Hosted):
    """The maker of the API."""

    product = Product.OPENAI
    hosts = ("api.openai.com",)
    key_hint = "Make a key at platform.openai.com/api-keys"
    dialect = Dialect(has_completion_tokens=True)

    def fields(self, sampling: Sampling) -> dict[str, Any]:
        """It knows seeds and efforts."""
        return seed_and_effort(sampling)
