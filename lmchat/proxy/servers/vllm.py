"""vLLM: its list of models tells who made it and how long the context is."""

from __future__ import annotations

from typing import Any, ClassVar

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.domain.server import LoadState, ModelInfo, Product
from lmchat.proxy.http import Reply
from lmchat.proxy.json_values import rows, whole
from lmchat.proxy.servers.base import Server
from lmchat.proxy.site import Site


class Vllm(Server):
    """Serves what it was started with."""

    product = Product.VLLM
    ports = (8000,)
    state = LoadState.LOADED
    health_path: ClassVar[str] = "/health"
    efforts = EFFORTS
    has_thinking_switch = True
    seed_field = "seed"
    counts_tokens = True
    start_hint = "vllm serve MODEL"
    load_hint = "It serves what it was started with: vllm serve MODEL"
    context_hint = "It is set where the server is started: vllm serve MODEL --max-model-len {context}"
    key_hint = "Use the key given to vllm serve --api-key"
    owner = "vllm"

    def proves(self, reply: Reply) -> bool:
        """Its name stands in every row."""
        return any(row.get("owned_by") == self.owner for row in rows(reply.object.get("data")))

    def model(self, site: Site, row: dict[str, Any]) -> ModelInfo:
        """Take the context too."""
        length = whole(row.get("max_model_len"))
        return replace(super().model(site, row), context_loaded=length, context_max=length)

    async def count_tokens(self, site: Site, body: dict[str, Any]) -> int | None:
        """It fills its template itself."""
        reply = await site.post_if_known("/tokenize", body)
        return None if reply is None else whole(site.accept(reply).object.get("count"))
