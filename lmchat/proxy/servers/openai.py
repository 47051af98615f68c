"""OpenAI itself: its reasoning models take `max_completion_tokens` alone, and all the others do too."""

from __future__ import annotations

from lmchat.config.efforts import EFFORTS
from lmchat.domain.server import Product
from lmchat.proxy.servers.hosted import Hosted
from lmchat.proxy.wire import Dialect


class OpenAi(Hosted):
    """The maker of the API."""

    product = Product.OPENAI
    hosts = ("api.openai.com",)
    efforts = EFFORTS
    seed_field = "seed"
    key_hint = "Make a key at platform.openai.com/api-keys"
    dialect = Dialect(has_completion_tokens=True)
