"""Jan's Local API Server: a list of running models, and an OpenAPI document that names it."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.domain.request import HowToLoad
from lmchat.domain.server import LoadState, ModelInfo, Product
from lmchat.proxy.http import Reply
from lmchat.proxy.json_values import mapping, rows, text
from lmchat.proxy.servers.base import Server, Tell
from lmchat.proxy.site import Site

_AVAILABLE = "/v1/models/available"
_UNAUTHORISED = b"Invalid or missing authorization token"


class Jan(Server):
    """The desktop program; what it runs behind its proxy is llama.cpp or MLX."""

    product = Product.JAN
    ports = (1337, 6767, 3928)
    confirm_path = "/openapi.json"
    state = LoadState.LOADED
    efforts = EFFORTS
    has_thinking_switch = True
    seed_field = "seed"
    takes_context = True
    start_hint = "Settings, Local API Server, Start"
    key_hint = "Use the key from Settings, Local API Server"
    model_hint = "Start a model in Jan"
    empty_hint = "Start a model in Jan"
    host_hint = "Local API Server, Trusted Hosts: add {host}"

    def proves(self, reply: Reply) -> bool:
        """Its own errors are plain text; this one asks for the key (R-4)."""
        return reply.status == 401 and reply.body.strip() == _UNAUTHORISED  # noqa: PLR2004 - HTTP

    def suspects(self, reply: Reply) -> bool:
        """Every model was created in second 1."""
        listed = rows(reply.object.get("data"))
        return bool(listed) and all(row.get("created") == 1 for row in listed)

    def confirms(self, reply: Reply) -> bool:
        """The title of its OpenAPI document; open to all, without a key."""
        return text(mapping(reply.object.get("info")).get("title")).startswith("Jan API Server")

    async def models(self, site: Site) -> tuple[ModelInfo, ...]:
        """Running models, and where a newer Jan tells them, the stopped ones too."""
        running = await super().models(site)
        reply = await site.get_if_told(_AVAILABLE)
        if reply is None:
            return running
        names = {"", *(model.model_id for model in running)}
        listed = [row for row in rows(reply.object.get("data")) if text(row.get("id")) not in names]
        stopped = tuple(replace(self.model(site, row), state=LoadState.NOT_LOADED) for row in listed)
        return running + stopped

    def start_sentence(self) -> str:
        return f"In Jan: {self.start_hint}."

    async def load(self, site: Site, model: ModelInfo, how: HowToLoad, tell: Tell) -> None:  # noqa: ARG002 - it does not say
        """Newer versions can load; a model that runs with another window is stopped first."""
        if how.context is not None and model.state is LoadState.LOADED:
            await self.unload(site, model)
        size = {} if how.context is None else {"ctx_size": how.context}
        self.accept(site, await site.post("/v1/models/load", {"model": model.model_id, **size}), "load")

    async def unload(self, site: Site, model: ModelInfo) -> None:
        self.accept(site, await site.post("/v1/models/unload", {"model": model.model_id}), "unload")
