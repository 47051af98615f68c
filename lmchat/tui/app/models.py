"""Which model answers: the picker, switching, loading, what is remembered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from msgspec.structs import replace
from textual import on
from textual.worker import Worker

from lmchat.domain.candidate import Remembered
from lmchat.domain.server import LoadState, ModelInfo, Target
from lmchat.errors import LMChatError, ServerRejected
from lmchat.services.candidates import ModelRow
from lmchat.services.workspace import Workspace
from lmchat.text import safe_line
from lmchat.tui.intents import LoadModel, PickModel, RefreshModels, SwitchModel, SwitchRecent
from lmchat.tui.quirks.app import PatchedApp
from lmchat.tui.screens.chat_screen import ChatScreen

_LOAD = "load"


class Models(PatchedApp):
    """The part of the app that knows which model is in use."""

    def __init__(self, workspace: Workspace) -> None:
        super().__init__()
        self.workspace = workspace
        self.open_sessions = workspace.open_sessions
        self.chat = ChatScreen(workspace)
        self._coming: ModelInfo | None = None
        self._coming_since_s = 0.0

    def get_default_screen(self) -> ChatScreen:
        """The chat is there from the first paint on."""
        return self.chat

    def begin_work(self, work: Callable[[], Awaitable[None]], name: str) -> None:
        """Run something behind the screen, and end what was begun under this name before."""

        async def run() -> None:
            await work()

        _: Worker[None] = self.run_worker(run, name=name, group=name, exclusive=True)

    def use(self, target: Target) -> None:
        """Use a server and model from the next turn on."""
        self.open_sessions.target = target
        self.workspace.monitor.aim(target)
        if target.model_id:
            remembered = self.workspace.remembered.with_model(target.place, target.model_id)
            self.keep(remembered)
            self.chat.show_action("model chosen")
        if target.model_id and not target.is_loading:
            self.chat.send_waiting()

    def keep(self, remembered: Remembered) -> None:
        """Keep what lmchat itself remembers."""
        self.workspace.remembered = remembered

        async def save() -> None:
            try:
                await self.workspace.outside.remember(remembered)
            except LMChatError as error:
                self.workspace.warning = error.message

        self.begin_work(save, "remember")

    def keep_changed(self, **changes: Any) -> None:
        """Keep what lmchat itself remembers, with changes."""
        self.keep(replace(self.workspace.remembered, **changes))

    @on(PickModel)
    def pick_model(self) -> None:
        """Open the model picker because the user wants to."""
        self.open_picker()

    def open_picker(self, reason: str = "") -> None:
        """Open the picker from what is known, and refresh it behind; `reason` is why it comes unasked."""
        from lmchat.tui.screens.model_picker import ModelPicker

        rows, age_s = self.workspace.catalogue.known(self.workspace.remembered)
        target = self.open_sessions.target
        current = (target.endpoint.url, target.model_id) if target else None
        picker = ModelPicker(self._with_coming(rows), age_s=age_s, current=current, reason=reason)
        self.push_screen(picker, self._picked)
        self.refresh_picker()

    @on(RefreshModels)
    def refresh_picker(self) -> None:
        """Fetch all lists anew."""
        self.begin_work(self._refresh_picker, "picker")

    async def _refresh_picker(self) -> None:
        from lmchat.tui.screens.model_picker import ModelPicker

        try:
            rows, age_s = await self.workspace.catalogue.refresh(self.workspace.remembered)
            note = ""
        except LMChatError as error:
            rows, age_s = self.workspace.catalogue.known(self.workspace.remembered)
            note = error.message
        for screen in self.screen_stack:
            if isinstance(screen, ModelPicker):
                screen.update_rows(self._with_coming(rows), age_s=age_s, note=note)

    def _picked(self, model: ModelInfo | None) -> None:
        if model is not None:
            self.switch_to(model)

    @on(SwitchModel)
    def switch_model(self, event: SwitchModel) -> None:
        """Use a model from the next turn on."""
        self.switch_to(event.model)

    def switch_to(self, model: ModelInfo) -> None:
        """Use a model from the next turn on; load it where it is not in memory."""
        target = Target(endpoint=model.endpoint, product=model.product, model=model)
        if self._is_coming(model):
            model = replace(model, load_fraction=None)
            self.use(replace(target, model=model, is_loading=True, loading_since_s=self._coming_since_s))
            return
        is_cold = model.state is LoadState.NOT_LOADED
        # from the first moment on: what waited would go out at once, and some servers load once more for it
        since_s = self.workspace.clock() if is_cold else None
        self.use(replace(target, is_loading=is_cold, loading_since_s=since_s))
        if is_cold:
            self.load(model)

    @on(SwitchRecent)
    def switch_recent(self, event: SwitchRecent) -> None:
        """Use one of the recently used models."""
        rows, _ = self.workspace.catalogue.known(self.workspace.remembered)
        row = next((row for row in rows if row.recent_index == event.number - 1), None)
        if row is None:
            self.notify(f"There is no recent model {event.number}. Ctrl+O lists all.", markup=False)
        else:
            self.switch_to(row.model)

    @on(LoadModel)
    def load_or_unload(self, event: LoadModel) -> None:
        """Load a model, or unload it; one that is being loaded is not any more."""
        if self._is_coming(event.model):
            self._stop_loading(event.model)
            return
        self.load(event.model, is_unload=event.model.state is LoadState.LOADED)

    def load(self, model: ModelInfo, *, is_unload: bool = False) -> None:
        """Load or unload a model behind what is shown."""
        self.begin_work(lambda: self._load(model, is_unload=is_unload), _LOAD)

    def _stop_loading(self, model: ModelInfo) -> None:
        self._coming = None
        self.workers.cancel_group(self, _LOAD)
        self._show_in_picker(replace(model, state=LoadState.NOT_LOADED, load_fraction=None))
        self.chat.show_action(f"no longer loading {safe_line(model.model_id, limit=20)}")
        self.workspace.monitor.look_now()

    async def _load(self, model: ModelInfo, *, is_unload: bool) -> None:
        from lmchat.tui.screens.model_picker import ModelPicker

        name, backend = safe_line(model.model_id, limit=20), self.workspace.backend
        self.chat.show_action(f"{'unloading' if is_unload else 'loading'} {name}")
        try:
            if is_unload:
                await backend.unload(model)
            else:
                await self._load_for_use(model)
            self.chat.show_action(f"{'unloaded' if is_unload else 'loaded'} {name}")
        except LMChatError as error:
            self.chat.tell(error)
        self.workspace.monitor.look_now()
        if any(isinstance(screen, ModelPicker) for screen in self.screen_stack):
            self.refresh_picker()

    async def _load_for_use(self, model: ModelInfo) -> None:
        """Load a model; what is said to it meanwhile waits, and is held where it cannot be loaded."""
        since_s = self._coming_since_s = self.workspace.clock()
        self._show_coming(replace(model, state=LoadState.LOADING, load_fraction=None))
        if self._is_in_use(model):
            self._mark_loading(since_s)
        is_loaded = False
        try:
            await self.workspace.backend.load(model, on_progress=self._tell_how_far)
            is_loaded = True
        except ServerRejected as error:
            # who cannot load on request may load it with the first question, and says so if not
            is_loaded = error.kind == "unsupported"
            if not is_loaded or not self._is_in_use(model):
                raise
        finally:
            if since_s == self._coming_since_s:
                self._coming = None
            target = self.open_sessions.target
            if target is not None and self._is_in_use(model) and target.loading_since_s == since_s:
                self._mark_loading(None)
                self.chat.go_on_with_model(is_loaded=is_loaded)

    def _tell_how_far(self, fraction: float) -> None:
        if self._coming is None:
            return
        self._show_coming(replace(self._coming, load_fraction=fraction))
        target = self.open_sessions.target
        if target is not None and target.is_loading and self._is_in_use(self._coming):
            self.open_sessions.target = replace(target, loading_fraction=fraction)
            self.chat.refresh_figures()

    def _show_coming(self, model: ModelInfo) -> None:
        """Show that a model is being loaded, and how far that is."""
        self._coming = model
        self._show_in_picker(model)

    def _show_in_picker(self, model: ModelInfo) -> None:
        from lmchat.tui.screens.model_picker import ModelPicker

        for screen in self.screen_stack:
            if isinstance(screen, ModelPicker):
                screen.update_model(model)

    def _with_coming(self, rows: Sequence[ModelRow]) -> tuple[ModelRow, ...]:
        """Return the rows of the picker with what lmchat itself has loaded at this moment."""
        coming = self._coming
        return tuple(
            replace(row, model=coming) if coming is not None and self._is_coming(row.model) else row
            for row in rows
        )

    def _is_coming(self, model: ModelInfo) -> bool:
        return self._coming is not None and _is_same(self._coming, model)

    def _is_in_use(self, model: ModelInfo) -> bool:
        target = self.open_sessions.target
        return target is not None and target.model is not None and _is_same(target.model, model)

    def _mark_loading(self, since_s: float | None) -> None:
        if self.open_sessions.target is not None:
            self.open_sessions.target = replace(
                self.open_sessions.target,
                is_loading=since_s is not None,
                loading_since_s=since_s,
                loading_fraction=None,
            )
            self.chat.refresh_figures()


def _is_same(one: ModelInfo, other: ModelInfo) -> bool:
    return (one.endpoint, one.model_id) == (other.endpoint, other.model_id)
