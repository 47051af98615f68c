"""LiteLLM's proxy: told by its headers; what stands behind it is its own business."""

from __future__ import annotations

from lmchat.domain.server import Product
from lmchat.proxy.reply import Reply
from lmchat.proxy.servers.base import Server


class LiteLlm(Server):
    """A proxy in front of other servers."""

    product = Product.LITELLM
    ports = (4000,)
    signs_replies = True
    start_hint = "litellm --model MODEL"
    load_hint = "Load it on the server behind LiteLLM"
    key_hint = "Use a virtual key, or the master key, of the LiteLLM proxy"

    def proves(self, reply: Reply) -> bool:
        """It signs its replies."""
        return any(name.startswith("x-litellm-") for name in reply.headers)
