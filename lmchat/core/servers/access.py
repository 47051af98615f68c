"""How any request gets out: whether it may, over which connection, with which key and limits."""

from __future__ import annotations

from collections import defaultdict
from functools import partial

import httpx
from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.metrics import RequestCounters
from lmchat.core.config.settings import Settings, TimeoutSettings
from lmchat.core.servers.allow_list import AllowList
from lmchat.core.servers.endpoint import Endpoint, origin_of
from lmchat.core.servers.http.connections import (
    POOL_S,
    WRITE_S,
    Connections,
    KeySource,
    connect_timeout_s,
)
from lmchat.core.servers.model import OPENAI_COMPATIBLE
from lmchat.core.servers.products import product_named
from lmchat.core.servers.products.server_api import ServerApi, ServerMemory
from lmchat.core.servers.target import Target
from lmchat.core.servers.wire.refusals import RefusalContext


class Access(Struct, frozen=True, kw_only=True):
    """What all requests of a run share."""

    settings: Settings
    connections: Connections
    keys: KeySource
    allowed: AllowList
    counters: RequestCounters = field(default_factory=RequestCounters)
    memories: defaultdict[Endpoint, ServerMemory] = field(
        default_factory=lambda: defaultdict(ServerMemory)
    )
    named: set[str] = field(default_factory=set)
    """Origins that the user has named in this run; `Scanner` adds them."""

    def may_get_any_key(self, endpoint: Endpoint) -> bool:
        """Whether a key without an address may go there: to a server of this machine that is known.

        The user has named it in this run, or it was recognised.
        """
        is_known = endpoint.origin in self.named or self.memories[endpoint].is_recognised
        return endpoint.is_loopback and is_known

    def new_start(self, endpoint: Endpoint) -> ServerMemory:
        """Forget what is known of a server but its product, which is asked for first."""
        product = self.memories[endpoint].product
        memory = ServerMemory(
            product=None if product == OPENAI_COMPATIBLE else product, wants_list=True
        )
        self.memories[endpoint] = memory
        return memory

    def timeouts(self, endpoint: Endpoint) -> TimeoutSettings:
        for configured in self.settings.endpoints:
            if configured.timeouts is not None and origin_of(configured.url) == endpoint.origin:
                return configured.timeouts
        return self.settings.timeouts

    def refusal_context(self, target: Target, key: str) -> RefusalContext:
        """Add what is secret: the key, and the values of headers."""
        endpoint = target.endpoint
        product = product_named(target.product)
        context = product.refusal_context(key=key, model=target.model_id, host=endpoint.host)
        values = self.connections.headers_for(endpoint).values()
        return replace(context, header_values=tuple(values))

    async def api(
        self, target: Target, *, key: str | None = None, read_s: float | None = None
    ) -> ServerApi:
        """Return an API for one probe or action, as it remembers its replies.

        `key` None: the known one. `read_s` is the timeout of a reply; None: no timeout, as loading
        may take minutes. Raises `LMChatError` if no request may be sent.
        """
        endpoint = target.endpoint
        self.allowed.check(endpoint)
        if key is None:
            key = await self.keys.key_for(endpoint)
        connect_s = connect_timeout_s(endpoint, self.timeouts(endpoint).connect_s)
        if read_s is not None:  # it limits connecting, too
            connect_s = min(connect_s, read_s)
        return ServerApi(
            endpoint=endpoint,
            refusal_context=self.refusal_context(target, key),
            memory=self.memories[endpoint],
            ask=partial(
                self.connections.ask,
                endpoint,
                key=key,
                timeout=httpx.Timeout(connect=connect_s, read=read_s, write=WRITE_S, pool=POOL_S),
            ),
            ask_for_events=partial(self.connections.json_events, endpoint, key=key),
        )
