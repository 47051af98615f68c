"""The built-in engine: llama.cpp's server as a child of lmchat, at a port and with a key of its own."""

from __future__ import annotations

from lmchat.domain.server import Product
from lmchat.proxy.reply import Reply
from lmchat.proxy.servers.llama_cpp import LlamaCpp


class BuiltIn(LlamaCpp):
    """What it can, llama.cpp can; only who started it knows that it is this one."""

    product = Product.BUILT_IN
    ports = ()
    loads_on_demand = False
    start_hint = "lmchat --local"
    key_hint = "Start lmchat again: the key is made anew"
    model_hint = "Choose a model file"

    def proves(self, reply: Reply) -> bool:  # noqa: ARG002 - no reply could
        """Its replies are those of llama.cpp."""
        return False
