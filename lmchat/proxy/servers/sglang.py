"""SGLang: like vLLM, with its own name. Its `/health` may run the model, so it is never asked."""

from __future__ import annotations

from lmchat.domain.server import Product
from lmchat.proxy.servers.vllm import Vllm


class SgLang(Vllm):
    """Serves what it was started with."""

    product = Product.SGLANG
    ports = (30000,)
    health_path = ""
    start_hint = "sglang serve MODEL"
    load_hint = "It serves what it was started with: sglang serve MODEL"
    key_hint = "Use the key given to sglang serve --api-key"
    owner = "sglang"
