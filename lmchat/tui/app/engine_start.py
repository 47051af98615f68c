"""How the built-in engine gets to serve a model: choosing, fetching with consent, starting."""

from __future__ import annotations

import asyncio

from lmchat.domain.engine import DemoOffer, ModelFile
from lmchat.domain.server import LoadState, Product, Target
from lmchat.errors import EngineUnavailable, LMChatError
from lmchat.services.ports import Engine
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.app.models import Models
from lmchat.tui.screens.ask_dialog import ConfirmDialog
from lmchat.tui.screens.fetch_dialog import FetchDialog


class EngineStart:
    """One start, with all that has to be asked on the way."""

    def __init__(self, app: Models) -> None:
        self._app = app
        self._workspace = app.workspace

    async def run(self, named: str = "") -> bool:
        """Start the engine with the named model, or the best one here; return whether it serves one."""
        make = self._workspace.make_engine
        if make is None:
            return False
        engine: Engine = await make()
        is_wanted = True
        while is_wanted:
            try:
                return await self._try(engine, named)
            except LMChatError as error:
                is_wanted = await self._wants_again(error)
        return False

    async def _try(self, engine: Engine, named: str) -> bool:
        model = await self._whole(engine, await self._chosen(engine, named))
        if model is not None:
            await self._serve(engine, model)
        return model is not None

    async def _chosen(self, engine: Engine, named: str) -> ModelFile | None:
        remembered = self._workspace.remembered
        last = remembered.model if remembered.endpoint == Product.BUILT_IN.value else ""
        by_settings = self._workspace.local_model or self._workspace.settings.local.model
        return await engine.choose(named or by_settings, last=last)

    async def _whole(self, engine: Engine, model: ModelFile | None) -> ModelFile | None:
        """Return a model that is on the disk, whole; None where there is none and none is wanted."""
        if model is not None and not (model.is_demo and not await engine.has_demo()):
            return model
        await engine.check()
        offer = await engine.offer()
        title = "Fetch a demo model?" if model is None else "Fetch the demo model again?"
        why = "" if await engine.files() else "There is no model file on this disk yet. "
        why = why if model is None else "The one on this disk is damaged. "
        question = ConfirmDialog(title, text=offer_words(offer, why), verb="fetch it")
        return await self._fetched(engine, offer) if await self._is_confirmed(question) else None

    async def _fetched(self, engine: Engine, offer: DemoOffer) -> ModelFile | None:
        """Fetch the demo model; None where that was cut."""
        dialog = FetchDialog(offer.name)
        fetch = asyncio.ensure_future(engine.fetch(dialog.show_progress))

        def cut(_: None) -> None:
            fetch.cancel()

        self._app.push_screen(dialog, cut)
        try:
            return await fetch
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
            return None
        finally:
            fetch.cancel()
            dialog.dismiss(None)

    async def _serve(self, engine: Engine, model: ModelFile) -> None:
        """Start it; the chat may be used meanwhile, what is sent waits until the model is loaded."""
        if words := await engine.warning(model):
            self._app.notify(safe_line(words), severity="warning", markup=False)
        before = self._app.open_sessions.target
        target = _target(engine, model)
        self._app.use(target)
        self._app.chat.show_action(f"loading {safe_line(model.name, limit=20)}")
        try:
            await engine.start(model)
        except LMChatError:
            is_other = before is not None and before.product is not Product.BUILT_IN
            self._app.open_sessions.target = before if is_other else None
            self._workspace.monitor.aim(self._app.open_sessions.target)
            raise
        self._app.chat.show_action(f"loaded {safe_line(model.name, limit=20)}")
        self._workspace.monitor.look_now()

    async def _wants_again(self, error: LMChatError) -> bool:
        """Say what went wrong, and ask whether to try again."""
        title = "The built-in engine cannot be started"
        if isinstance(error, EngineUnavailable) and error.kind == "fetch":
            title = "The demo model could not be fetched"
        text = f"{safe_line(error.message)}\n\n{safe_line(error.hint)}".strip()
        return await self._is_confirmed(ConfirmDialog(title, text=text, verb="try again"))

    async def _is_confirmed(self, question: ConfirmDialog) -> bool:
        answer: bool | None = await self._app.push_screen_wait(question)
        return bool(answer)


def offer_words(offer: DemoOffer, why: str = "") -> str:
    """Return what a person needs to know to consent, after `why` it is offered."""
    return (
        f"{why}{offer.name} is a small model: good for trying lmchat, and no more.\n\n"
        f"Size     {formatting.size(offer.download_bytes)}\n"
        f"Licence  {offer.licence}\n"
        f"Goes to  {safe_line(str(offer.folder))}"
    )


def _target(engine: Engine, model: ModelFile) -> Target:
    endpoint = engine.reserve()
    info = model.info(endpoint, LoadState.LOADING)
    return Target(endpoint=endpoint, product=Product.BUILT_IN, model=info)
