"""Jan's Local API Server: a list of running models, and an OpenAPI document that names it."""

from __future__ import annotations

from msgspec.structs import replace

from lmchat.config.settings import EFFORTS
from lmchat.servers.http.connections import Reply
from lmchat.servers.http.json_values import dict_or_empty, dicts_in, str_or_empty
from lmchat.servers.model import LoadState, ModelInfo
from lmchat.servers.products.base import Server
from lmchat.servers.products.server_api import ServerApi

_UNAUTHORISED = b"Invalid or missing authorization token"


class Jan(Server):
    """Jan, which runs llama.cpp or MLX behind its proxy; newer versions can load."""

    product = "Jan"
    ports = (1337, 6767, 3928)
    confirm_path = "/openapi.json"
    state = LoadState.LOADED
    load_path = "/v1/models/load"
    unload_path = "/v1/models/unload"
    efforts = EFFORTS
    has_thinking_switch = True
    start_hint = "Settings, Local API Server, Start"
    key_hint = "Settings, Local API Server: copy the API key"
    model_hint = "Start a model in Jan"
    empty_hint = "Start a model in Jan"
    host_hint = "Local API Server, Trusted Hosts: add {host}"

    def is_proven_by(self, reply: Reply) -> bool:
        """Whether a reply is the plain-text error with which Jan asks for the key (R-4)."""
        return reply.status == 401 and reply.body.strip() == _UNAUTHORISED  # noqa: PLR2004 - HTTP

    def is_suspected_by(self, reply: Reply) -> bool:
        """Whether each row of the list has 1 as its `created`, which Jan writes for all models."""
        listed = dicts_in(reply.object.get("data"))
        return bool(listed) and all(row.get("created") == 1 for row in listed)

    def is_confirmed_by(self, reply: Reply) -> bool:
        """Whether a reply is Jan's OpenAPI document, which needs no key."""
        info = dict_or_empty(reply.object.get("info"))
        return str_or_empty(info.get("title")).startswith("Jan API Server")

    async def models(self, api: ServerApi) -> tuple[ModelInfo, ...]:
        """Return the running models, and the others if this version of Jan lists them, too."""
        running = await super().models(api)
        reply = await api.get_extra("/v1/models/available")
        if reply is None:
            return running
        running_ids = {model.model_id for model in running}
        models = list(running)
        for row in dicts_in(reply.object.get("data")):
            model = self.model_from_row(api, row)
            if model.model_id and model.model_id not in running_ids:
                models.append(replace(model, state=LoadState.NOT_LOADED))
        return tuple(models)

    def start_sentence(self) -> str:
        return f"In Jan: {self.start_hint}."
