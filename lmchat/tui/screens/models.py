"""The model that answers: the picker, switching, loading and unloading; the start of the built-in engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from msgspec.structs import replace
from textual.app import App

from lmchat.domain.engine import DemoOffer, ModelFile
from lmchat.domain.model_names import cannot_chat
from lmchat.domain.product import Product
from lmchat.domain.server import LoadState, ModelInfo, Target
from lmchat.errors import EngineUnavailable, LMChatError, ServerRejected
from lmchat.services.candidates import ModelRow, matching_model
from lmchat.services.ports import Engine
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.screens.chat.screen import ChatScreen
from lmchat.tui.screens.chat.view import begin_work

_LOAD = "load"


def screens_of(app: App[None], name: str) -> list[Any]:
    """Return the screens of a class that are shown or lie below others; the class need not be imported."""
    return [screen for screen in app.screen_stack if type(screen).__name__ == name]


class Models:
    """The model in use and the one that is being loaded; starts the built-in engine."""

    def __init__(self, app: App[None], workspace: Workspace, chat: ChatScreen) -> None:
        self._app = app
        self._workspace = workspace
        self._next_turn = workspace.open_sessions.next_turn
        self._chat = chat
        self._coming: ModelInfo | None = None  # the model that is being loaded
        self._coming_since_s = 0.0
        self.when_used: Callable[[], None] = lambda: None  # called when a model is used
        self.show_servers: Callable[[], None] = lambda: None  # shows the ways to a server

    def use(self, target: Target) -> None:
        self._next_turn.target = target
        self._workspace.monitor.aim(target)
        if target.model_id:
            self._chat.view.remember(
                self._workspace.remembered.with_model(target.server_id, target.model_id)
            )
            self._chat.view.show_action("model chosen")
            if not target.is_loading:
                self._chat.turns.send_waiting()
            self.when_used()

    def open_picker(
        self, reason: str = "", then: Callable[[ModelInfo], None] | None = None
    ) -> None:
        """Open the picker from what is known, and refresh it behind; without a server, show the ways to one.

        `reason` is why it comes unasked. The chosen model is used from now on, or given to `then`.
        """
        from lmchat.tui.screens.model_picker import ModelPicker

        if self._chat.view.lacks_server:
            self.show_servers()
            return
        rows, age_s = self._workspace.catalogue.known(self._workspace.remembered)
        target = self._next_turn.target
        current = (target.server_id, target.model_id) if target else None
        rows, refresh = self._with_coming(rows), self.refresh_picker
        typed = "vision" if self._chat.view.has_unseen_image else ""
        picker = ModelPicker(
            rows,
            self.load_or_unload,
            refresh,
            age_s=age_s,
            current=current,
            reason=reason,
            typed=typed,
        )
        picker.show_servers = self.show_servers

        def take(model: ModelInfo | None) -> None:
            if model is not None:
                (then or self.switch_to)(model)

        self._app.push_screen(picker, take)
        self.refresh_picker()

    def refresh_picker(self) -> None:
        begin_work(self._app, self._refresh_picker, "picker")

    async def _refresh_picker(self) -> None:
        catalogue, remembered = self._workspace.catalogue, self._workspace.remembered
        note = ""
        try:
            rows, age_s = await catalogue.refresh(remembered)
        except LMChatError as error:
            rows, age_s = catalogue.known(remembered)
            note = error.message
        for picker in screens_of(self._app, "ModelPicker"):
            picker.update_rows(self._with_coming(rows), age_s=age_s, note=note)

    def close_unasked_picker(self) -> None:
        """Close the picker that came unasked: a model was loaded elsewhere."""
        for picker in screens_of(self._app, "ModelPicker"):
            if picker.reason and not picker.is_touched:
                picker.dismiss(None)

    def switch_to(self, model: ModelInfo) -> None:
        """Use a model from the next turn on; load it where it is not in memory.

        It is marked as loading at once: what waited would go out, and some servers load once more for it.
        """
        is_coming = self._is_coming(model)
        is_cold = model.state is LoadState.NOT_LOADED and not is_coming
        since_s = (
            self._coming_since_s if is_coming else self._workspace.clock() if is_cold else None
        )
        self.use(
            Target(
                endpoint=model.endpoint,
                product=model.product,
                model=replace(model, load_fraction=None),
                is_loading=is_coming or is_cold,
                loading_since_s=since_s,
            )
        )
        if is_cold:
            self._load(model)

    def switch_to_named(self, name: str) -> None:
        """Use a model by its name, a part of it, or its number among the recent ones; raises `WrongUse`."""
        rows, _ = self._workspace.catalogue.known(self._workspace.remembered)
        if not name.isdigit():
            self.switch_to(matching_model(name, rows))
        elif recent := [row.model for row in rows if row.recent_index == int(name) - 1]:
            if recent[0].can_chat:
                self.switch_to(recent[0])
            else:
                self._chat.view.tell(cannot_chat(recent[0]))
        else:
            self._chat.view.notify(f"There is no recent model {name}. Ctrl+O lists the models.")

    def load_or_unload(self, model: ModelInfo) -> None:
        """Load a model, or unload it; stop loading it where that is going on."""
        if self._is_coming(model):
            self._coming = None
            self._app.workers.cancel_group(self._app, _LOAD)
            self._show_in_pickers(replace(model, state=LoadState.NOT_LOADED, load_fraction=None))
            self._chat.view.show_action(f"stopped loading {safe_line(model.model_id, limit=20)}")
            self._workspace.monitor.look_now()
        else:
            self._load(model, is_unload=model.state is LoadState.LOADED)

    def _load(self, model: ModelInfo, *, is_unload: bool = False) -> None:
        begin_work(self._app, partial(self._load_now, model, is_unload=is_unload), _LOAD)

    async def _load_now(self, model: ModelInfo, *, is_unload: bool) -> None:
        name, prefix = safe_line(model.model_id, limit=20), "un" if is_unload else ""
        self._chat.view.show_action(f"{prefix}loading {name}")
        try:
            if is_unload:
                await self._workspace.backend.unload(model)
            else:
                await self._load_for_use(model)
            self._chat.view.show_action(f"{prefix}loaded {name}")
        except LMChatError as error:
            self._chat.view.tell(error)
        self._workspace.monitor.look_now()
        if screens_of(self._app, "ModelPicker"):
            self.refresh_picker()

    async def _load_for_use(self, model: ModelInfo) -> None:
        """Load a model; what is sent to it meanwhile waits, and is held where it cannot be loaded."""
        since_s = self._coming_since_s = self._workspace.clock()
        self._show_coming(replace(model, state=LoadState.LOADING, load_fraction=None))
        self._change_target(model, is_loading=True, loading_since_s=since_s, loading_fraction=None)
        is_loaded = False
        try:
            await self._workspace.backend.load(model, on_progress=self._show_progress)
            is_loaded = True
        except ServerRejected as error:
            # a server that cannot load on request may load with the first question, and says so if not
            is_loaded = error.kind == "unsupported"
            if not is_loaded or not self._is_in_use(model):
                raise
        finally:
            if since_s == self._coming_since_s:
                self._coming = None
            target = self._next_turn.target
            if target is not None and target.loading_since_s == since_s and self._is_in_use(model):
                self._change_target(
                    model, is_loading=False, loading_since_s=None, loading_fraction=None
                )
                self._chat.turns.go_on_with_model(is_loaded=is_loaded)

    def _show_progress(self, fraction: float) -> None:
        if self._coming is not None:
            self._show_coming(replace(self._coming, load_fraction=fraction))
            if self._next_turn.target is not None and self._next_turn.target.is_loading:
                self._change_target(self._coming, loading_fraction=fraction)

    def _show_coming(self, model: ModelInfo) -> None:
        self._coming = model
        self._show_in_pickers(model)

    def _show_in_pickers(self, model: ModelInfo) -> None:
        for picker in screens_of(self._app, "ModelPicker"):
            picker.update_model(model)

    def _with_coming(self, rows: Sequence[ModelRow]) -> tuple[ModelRow, ...]:
        """Return the rows of the picker with the model that is being loaded as it is now."""
        return tuple(
            replace(row, model=self._coming) if self._is_coming(row.model) else row for row in rows
        )

    def _is_coming(self, model: ModelInfo) -> bool:
        return self._coming is not None and _is_same(self._coming, model)

    def _is_in_use(self, model: ModelInfo) -> bool:
        target = self._next_turn.target
        return target is not None and target.model is not None and _is_same(target.model, model)

    def _change_target(self, model: ModelInfo, **changes: Any) -> None:
        if self._next_turn.target is not None and self._is_in_use(model):
            self._next_turn.target = replace(self._next_turn.target, **changes)
            self._chat.view.refresh()

    # The built-in engine

    async def start_engine(self, named: str = "") -> bool:
        """Start the built-in engine, and ask what has to be asked; return whether it serves a model."""
        make = self._workspace.make_engine
        if make is None:
            return False
        engine: Engine = await make()
        remembered = self._workspace.remembered
        last = remembered.model if remembered.endpoint == Product.BUILT_IN.value else ""
        named = named or self._workspace.local_model or self._workspace.settings.local.model
        while True:
            try:
                model = await self._on_disk(engine, await engine.choose(named, last=last))
                if model is not None:
                    await self._serve(engine, model)
            except LMChatError as error:
                if not await self._wants_again(error):
                    return False
            else:
                return model is not None

    async def _on_disk(self, engine: Engine, model: ModelFile | None) -> ModelFile | None:
        """Return a model that is on the disk; None where there is none and none is wanted."""
        if model is not None:
            return model
        await engine.check()
        offer = await engine.offer()
        why = "" if await engine.files() else "There is no model file on this disk. "
        text = f"{why}{_offer_words(offer)}"
        is_wanted = await self._is_confirmed("Download a demo model?", text, verb="download it")
        return await self._fetched(engine, offer) if is_wanted else None

    async def _fetched(self, engine: Engine, offer: DemoOffer) -> ModelFile | None:
        from lmchat.tui.screens.dialog import FetchDialog

        dialog = FetchDialog(offer.name)
        fetch = asyncio.ensure_future(engine.fetch(dialog.show_progress))

        def cut(_: None) -> None:
            fetch.cancel()

        self._app.push_screen(dialog, cut)
        try:
            await asyncio.wait([fetch])
            return None if fetch.cancelled() else fetch.result()
        finally:
            fetch.cancel()
            dialog.dismiss(None)

    async def _serve(self, engine: Engine, model: ModelFile) -> None:
        """Start it; the chat may be used meanwhile, what is sent waits until the model is loaded."""
        if words := await engine.warning(model):
            self._chat.view.warn(words)
        before, endpoint = self._next_turn.target, engine.reserve()
        info = model.info(endpoint, LoadState.LOADING)
        self.use(Target(endpoint=endpoint, product=Product.BUILT_IN, model=info))
        name = safe_line(model.name, limit=20)
        self._chat.view.show_action(f"loading {name}")
        try:
            await engine.start(model)
        except LMChatError:
            is_other = before is not None and before.product is not Product.BUILT_IN
            self._next_turn.target = before if is_other else None
            self._workspace.monitor.aim(self._next_turn.target)
            raise
        self._chat.view.show_action(f"loaded {name}")
        self._workspace.monitor.look_now()

    async def _wants_again(self, error: LMChatError) -> bool:
        title = "The built-in engine cannot be started"
        if isinstance(error, EngineUnavailable) and error.kind == "fetch":
            title = "The demo model could not be downloaded"
        text = f"{safe_line(error.message)}\n\n{safe_line(error.hint)}".strip()
        return await self._is_confirmed(title, text, verb="try again")

    async def _is_confirmed(self, title: str, text: str, *, verb: str) -> bool:
        from lmchat.tui.screens.ask_dialog import ConfirmDialog

        return bool(await self._chat.view.ask(ConfirmDialog(title, text=text, verb=verb)))


def _is_same(one: ModelInfo, other: ModelInfo) -> bool:
    return (one.endpoint, one.model_id) == (other.endpoint, other.model_id)


def _offer_words(offer: DemoOffer) -> str:
    """Return what a person needs to know to consent."""
    return (
        f"{offer.name} is a small model, only for trying lmchat.\n\n"
        f"Size     {formatting.size(offer.download_bytes)}\n"
        f"Licence  {offer.licence}\n"
        f"Folder   {safe_line(str(offer.folder))}"
    )
