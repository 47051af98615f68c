"""All servers and their models: what there is, and what is loaded, fetched or deleted."""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.base.errors import LMChatError, ServerRejected
from lmchat.base.files.disk import free_bytes
from lmchat.base.files.paths import home_folder
from lmchat.base.safe_text import safe_line, shell_word
from lmchat.base.units import size_text
from lmchat.core.servers.access import Access
from lmchat.core.servers.discovery.choose import no_server_error
from lmchat.core.servers.discovery.model_lists import Load, ModelLists
from lmchat.core.servers.discovery.scan import Scanner
from lmchat.core.servers.discovery.status import ServerState, ServerStatus, usable_of
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.events import PullProgress
from lmchat.core.servers.local.engine import Engine
from lmchat.core.servers.model import LoadState, ModelInfo, ModelList, find_model
from lmchat.core.servers.products import UNKNOWN, product_named
from lmchat.core.servers.products.server_api import OnPull
from lmchat.core.servers.sending.slots import ServerSlots
from lmchat.core.servers.stream.timeouts import HEALTH_S
from lmchat.core.servers.target import Target
from lmchat.core.servers.wire.refusal_rules import STEPS

LOOK_AGAIN_S = 0.5
RECENT_S = 5.0  # an older list is asked for again before a prompt


class ServerModels(Struct, eq=False):
    """The `ModelSource` of `protocols.py`."""

    _access: Access
    _scanner: Scanner
    _lists: ModelLists
    _slots: ServerSlots
    _engine: Engine | None
    _renewals: defaultdict[Endpoint, asyncio.Lock] = field(
        default_factory=lambda: defaultdict(asyncio.Lock)
    )

    def scan_also(self, hinted: Mapping[str, Endpoint], *, used: Sequence[Endpoint] = ()) -> None:
        """Let `detect` also probe these.

        `hinted` are addresses of environment variables, by the product that is expected there,
        `used` those of earlier runs.
        """
        self._scanner.remembered = (*hinted.values(), *used)
        for product, endpoint in hinted.items():
            self._scanner.expect_product(endpoint, product)

    async def detect(
        self, *, named: Sequence[Endpoint] = (), is_counted: bool = True
    ) -> tuple[ServerStatus, ...]:
        """Put the built-in engine first, even while it does not run."""
        await self._read_lists()
        probes = await self._scanner.scan(named)
        servers = tuple([await self._keep_models(server) for server in probes])
        if is_counted and usable_of(servers):
            self._access.counters.add(cache_misses=1)  # a scan is one question
        if self._engine is None or self._engine.endpoint is None:
            return servers
        await self._engine.files(is_refresh=True)  # model files may have come or gone
        own = await self.check(self._engine.endpoint)
        # the scan may have found it, too, and then takes it for a plain llama.cpp
        return (own, *(server for server in servers if server.endpoint != own.endpoint))

    async def check(self, endpoint: Endpoint, *, key: str = "") -> ServerStatus:
        self._access.allowed.check(endpoint)
        await self._read_lists()  # the scanner then knows which product to expect
        if engine := self.engine_at(endpoint):  # it is asked with the key of this run, not `key`
            server = await engine.probe(self._scanner.check)
        else:
            server = await self._scanner.check(endpoint, key=key)
        return await self._keep_models(server)

    async def renew_list(self, target: Target) -> None:
        """Ask again for an older list, before a prompt, where a model may have become remote.

        So it is after a start for which a key is withheld: the product may be recognised. Without
        an answer, what is known stays: the prompt goes to the same server.
        """
        endpoint = target.endpoint
        product = product_named(target.product)
        # the models of an unknown provider may be anywhere, and its list is large
        may_change = product.lists.tells_remote or (product is UNKNOWN and endpoint.is_near)
        wants_list = self._access.memories[endpoint].wants_list
        lacks_key = wants_list and self._access.keys.why_withheld(endpoint)
        if not (lacks_key or may_change):
            return
        with suppress(LMChatError, TimeoutError):
            # prompts that are sent at once share a look
            async with asyncio.timeout(HEALTH_S), self._renewals[endpoint]:
                recent = self._lists.models_of(endpoint, max_age_s=RECENT_S)
                if lacks_key or recent is not self._lists.models_of(endpoint):
                    await self.check(endpoint)

    async def listed(
        self, endpoint: Endpoint, *, is_refresh: bool = False
    ) -> tuple[ModelInfo, ...]:
        self._access.allowed.check(endpoint)
        await self._read_lists()
        cached = self._lists.models_of(
            endpoint, max_age_s=self._access.settings.limits.models_ttl_s
        )
        if cached is not None and not is_refresh:
            self._access.counters.add(cache_hits=1)
            return cached
        self._access.counters.add(cache_misses=1)
        server = await self.check(endpoint)
        if not server.state.is_usable:
            raise no_server_error((server,))
        return server.models

    def forget_lists(self) -> None:
        self._scanner.forget_lists()

    def cached(self) -> ModelList:
        listed = self._lists.all_models()
        if listed.models:
            self._access.counters.add(cache_hits=1)
        return listed

    def load(self, model: ModelInfo, *, context: int | None = None) -> asyncio.Task[None]:
        return self._lists.load(model, partial(self._load, context))

    async def _load(self, context: int | None, load: Load) -> None:
        model = load.model
        _require_local(model)
        if engine := self.engine_at(model.endpoint):
            # the slot is free when the answer that the engine is writing has ended
            async with self._slots.one_slot(Target.of(model)):
                await engine.load(model.model_id, context=context)
            return
        product = product_named(model.product)
        if context is not None and not product.acts.context_field:
            # where the user sets the window, or else how the user loads a model
            model_id = shell_word(model.model_id)
            step = product.window_step(model_id, model, context) or product.step("load")
            next_step = step.replace("a larger window", "another window")
            raise ServerRejected(
                f"{product.subject} cannot set the context window when it loads a model.",
                kind="unsupported",
                next_step=f"{next_step}.",
            )
        api = await self._access.api(Target.of(model))
        async with self._lists.one_load(model):
            if product.acts.load_path:
                # Another request or program may have loaded it by now, and these products would
                # load it a second time, beside the first.
                model = await self._listed_now(model)
                if _has_window(model, context):
                    return
            report = partial(self._lists.note_progress, load)
            try:
                await product.load(api, model, context, report)
            except ServerRejected as error:
                # a server may refuse to load what it has
                is_asked = error.status is not None
                if not (is_asked and _has_window(await self._listed_now(model), context)):
                    raise
            await self._require_loaded_now(model)

    async def _listed_now(self, model: ModelInfo) -> ModelInfo:
        listed = (await self.check(model.endpoint)).models
        return next((one for one in listed if one.model_id == model.model_id), model)

    async def _require_loaded_now(self, model: ModelInfo) -> None:
        """Raise `ServerRejected` if the list of a server says that it is not loaded."""
        for wait_s in (0.0, LOOK_AGAIN_S):  # a list may be a little late
            await asyncio.sleep(wait_s)
            server = await self.check(model.endpoint)
            if not server.state.is_usable:
                raise no_server_error((server,))
            listed = next((one for one in server.models if one.model_id == model.model_id), model)
            if listed.state is not LoadState.NOT_LOADED:
                return
        raise ServerRejected(
            f"{product_named(model.product).subject} has not loaded "
            f"{safe_line(model.model_id)}: it is not in memory.",
            kind="model_failed",
            next_step=STEPS["model_failed"],
        )

    async def unload(self, model: ModelInfo) -> None:
        _require_local(model)
        if engine := self.engine_at(model.endpoint):
            await engine.stop()  # it serves one model at a time
            return
        api = await self._access.api(Target.of(model))
        await product_named(model.product).unload(api, model)

    async def pull(self, server: ServerStatus, name: str, on_pull: OnPull) -> ModelInfo:
        product = product_named(server.product)
        model = product.unlisted_model(server.endpoint, name)
        api = await self._access.api(Target.of(model))
        home = home_folder()
        places = (
            (*product.program.model_folders(os.environ, home), home)
            if server.endpoint.is_loopback
            else ()
        )
        free = await asyncio.to_thread(free_bytes, places)

        def report(progress: PullProgress) -> None:
            missing_bytes = (progress.total_bytes or 0) - progress.done_bytes
            if free is not None and missing_bytes > free:
                raise ServerRejected(
                    f"{safe_line(name)} needs {size_text(missing_bytes)} on the disk, "
                    f"and {size_text(free)} are free.",
                    kind="no_space",
                    next_step="Free some space, or download it with the server's own program.",
                )
            on_pull(replace(progress, free_bytes=free))

        await product.pull(api, name, report)
        return find_model(name, (await self.check(server.endpoint)).models) or model

    async def remove(self, model: ModelInfo) -> None:
        api = await self._access.api(Target.of(model))
        await product_named(model.product).remove(api, model)
        await self.check(model.endpoint)

    async def download_file(
        self, engine: Engine, name: str, agrees: Callable[[str], Awaitable[bool]], on_pull: OnPull
    ) -> Path | None:
        from lmchat.core.servers.local.hub import Hub  # noqa: PLC0415 - few runs download a file

        await engine.require_installed()
        hub = Hub(self._access.connections, os.environ)
        files = await hub.find(name)
        if not await agrees(await hub.question(files, engine.models_folder)):
            return None
        return await hub.download(files, engine.models_folder, on_pull)

    def engine_at(self, endpoint: Endpoint) -> Engine | None:
        engine = self._engine
        return engine if engine is not None and engine.endpoint == endpoint else None

    async def _read_lists(self) -> None:
        """Tell the scanner which products to expect."""
        for model in await self._lists.read_once():
            self._scanner.expect_product(model.endpoint, model.product)

    async def _keep_models(self, server: ServerStatus) -> ServerStatus:
        """Return the result unchanged.

        Of a server that cannot be used, the earlier list is kept. One that was hard to come by is
        written at once, for other runs.
        """
        # the same list: the server was not asked for it
        is_unchanged = server.models is self._lists.models_of(server.endpoint)
        self._lists.note_server(server.endpoint, is_loading=server.state is ServerState.LOADING)
        if (server.state.is_usable or server.models) and not is_unchanged:
            self._lists.put(server.endpoint, server.models)
            if product_named(server.product).lists.is_disturbed:
                await self._lists.write()
        return server


def _has_window(model: ModelInfo, context: int | None) -> bool:
    """Return whether it is in memory, with the window that is asked for."""
    return model.state is LoadState.LOADED and context in (None, model.context_loaded)


def _require_local(model: ModelInfo) -> None:
    """Raise `ServerRejected` for a remote model."""
    if not model.is_remote:
        return
    place = f" It runs at {safe_line(model.runs_at, limit=80)}." if model.runs_at else ""
    raise ServerRejected(
        f"{safe_line(model.model_id)} is a remote model: it is not in memory here.{place}",
        kind="unsupported",
        next_step="Choose it with /model or -m; it needs no loading.",
    )
