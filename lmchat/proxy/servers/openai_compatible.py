"""Any other server that speaks OpenAI's API; nothing is known of it, and little is sent to it."""

from __future__ import annotations

from lmchat.domain.server import Product
from lmchat.proxy.servers.base import Server


class OpenAiCompatible(Server):
    """The common ground."""

    product = Product.OPENAI_COMPATIBLE
