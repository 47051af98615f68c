"""Target of a turn or request: the server and the model that answer it."""

from __future__ import annotations

from msgspec import Struct

from lmchat.core.config.state import State
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import ModelInfo, server_id_of, server_name_of


class Target(Struct, frozen=True, kw_only=True):
    """Server and model that are asked."""

    endpoint: Endpoint
    product: str
    model: ModelInfo | None = None  # None: none is chosen, or the server has not named it yet

    @classmethod
    def of(cls, model: ModelInfo) -> Target:
        return cls(endpoint=model.endpoint, product=model.product, model=model)

    def remembered(self, state: State) -> State:
        """Let it be the one that was used last."""
        return state.with_model(self.server_id, self.model_id, is_remote=self.is_remote)

    @property
    def server_id(self) -> str:
        return server_id_of(self.endpoint, self.product)

    @property
    def server_name(self) -> str:
        return server_name_of(self.endpoint, self.product)

    @property
    def model_id(self) -> str:
        return self.model.model_id if self.model else ""

    @property
    def is_remote(self) -> bool:
        return self.model is not None and self.model.is_remote

    @property
    def context(self) -> int | None:
        return self.model.context_loaded if self.model else None

    @property
    def sees(self) -> bool:
        return self.model is not None and self.model.images is True

    @property
    def is_blind(self) -> bool:
        return self.model is not None and self.model.images is False
