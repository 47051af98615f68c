"""Models: the one in use, with its server; the picker, switching, loading and unloading."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from functools import partial

from msgspec.structs import replace

from lmchat.app.tui.controllers.prompt_text import PromptText
from lmchat.app.tui.controllers.turn_view import TurnView
from lmchat.app.tui.dialogs.ask_dialog import AskDialog, confirmed
from lmchat.app.tui.dialogs.model_picker import (
    VISION,
    ModelActions,
    ModelPicker,
    ModelRecord,
    model_records,
    recent_by_number,
)
from lmchat.app.tui.dialogs.progress_dialog import with_progress
from lmchat.app.tui.messages import RunCommand
from lmchat.app.tui.screen_services import ScreenServices
from lmchat.app.tui.workspace import LACKS_SERVER
from lmchat.base.errors import LMChatError, ServerRejected, StillAnswering, WrongUse
from lmchat.base.safe_text import safe_line, shell_word
from lmchat.base.units import size_text
from lmchat.core.servers.discovery.choose import can_pull, server_for_pull
from lmchat.core.servers.discovery.status import usable_of
from lmchat.core.servers.endpoint import configured_names
from lmchat.core.servers.events import PullProgress
from lmchat.core.servers.model import LoadState, ModelInfo, find_model, model_meant
from lmchat.core.servers.products import product_named
from lmchat.core.servers.target import Target
from lmchat.core.sessions.message import ChatMessage


class ModelSwitch:
    """Changes the server and model in use, as nothing else on the screen does; loads any model."""

    def __init__(self, ui: ScreenServices, prompt_text: PromptText, turn_view: TurnView) -> None:
        self._ui = ui
        self._chat = ui.workspace.chat
        self._workspace = ui.workspace
        self._prompt_text = prompt_text
        self._turn_view = turn_view
        self._models = ui.workspace.backend.models
        self._lists = ui.workspace.backend.model_lists
        self._lists.on_change = self._show_loads
        self._speeds: Mapping[tuple[str, str], float] = {}  # of earlier turns, by `ModelRecord.key`
        self._told_toolless: set[tuple[str, str]] = set()  # servers and models

    # The model in use

    def is_in_use(self, model: ModelInfo) -> bool:
        target = self._chat.turn_options.target
        return target is not None and (target.endpoint, target.model_id) == (
            model.endpoint,
            model.model_id,
        )

    def use(self, target: Target) -> None:
        """Use a server and its model from now on, also in the next run.

        The waiting prompts are sent, unless the model is still loading.
        """
        self.aim_at(target)
        if not target.model_id:
            return
        self._ui.remember(target.remembered)
        self._ui.show_action("model chosen")
        self._tell_if_toolless(target)
        if not self._lists.is_loading(target):
            self._chat.send_waiting()

    def aim_at(self, target: Target | None) -> None:
        """Unlike `use`, this neither remembers the model nor sends the waiting prompts."""
        self._chat.turn_options.target = target
        self._workspace.monitor.aim(target)

    def update_target(self, checked: Target | None) -> None:
        """Give the target the product and model that a check of the server in use has found.

        The user and the search decide which server and model are the target; the checks find out
        their state. A model that has become a remote one is not used any more, so that prompts
        wait until the user has chosen one.
        """
        target = self._chat.turn_options.target
        if target is None or checked is None or checked.model is None:
            return
        if checked.is_remote and not target.is_remote:
            self.aim_at(replace(target, model=None))
            name = safe_line(checked.model_id)
            key = self._ui.key_name("model")
            self._ui.notify(f"{name} does not run on this machine any more. {key} chooses a model.")
            return
        if target.model_id not in ("", checked.model_id):
            name = safe_line(checked.model_id, limit=60)
            asked = safe_line(target.model_id, limit=60)
            self._ui.notify(f"{name} answers instead of {asked}.")
        # not `aim_at`: the monitor has these values already, and would check again
        self._chat.turn_options.target = checked
        self._tell_if_toolless(checked)

    def _tell_if_toolless(self, target: Target) -> None:
        """Say once of a model that it cannot use the configured tools.

        Some servers only tell this of a loaded model.
        """
        toolbox = self._chat.turn_options.toolbox
        key = (target.server_id, target.model_id)
        if toolbox is None or toolbox.can_use(target) or key in self._told_toolless:
            return
        self._told_toolless.add(key)
        name = safe_line(target.model_id, limit=60)
        self._ui.notify(f"{name} cannot use tools; it answers without them.")

    # The picker

    def pick(self, name: str = "") -> None:
        """Switch to a model by its name, a part of it, or its number among the recent ones.

        Without a name, open the picker. Raises `WrongUse` for a name that means no model that can
        chat.
        """
        if not name:
            if self._workspace.chat_state in LACKS_SERVER:
                self._ui.screen.post_message(RunCommand("servers"))
            else:
                self.open_picker()
            return
        if not name.lstrip("+-").isdigit():
            self.pick_named(name)
            return
        recent = recent_by_number(self._rows(self._models.cached().models))
        if name in recent:
            self.switch_to(recent[name])
            return
        key = self._ui.key_name("model")
        self._ui.notify(f"No recent model has this number. {key} lists the models.")

    def pick_named(self, name: str) -> None:
        """A whole name that no server lists is used on a server that may have it all the same."""
        used = self._chat.turn_options.endpoint
        try:
            model = model_meant(name, self._models.cached().models, used=used)
        except WrongUse as error:
            unlisted = self._workspace.finder.unlisted(name)
            if unlisted is None:
                error.next_step = "/model lists the models."  # in place of a command of the shell
                raise
            model = unlisted
            text = f"{model.endpoint.netloc} does not list {safe_line(name, limit=40)}"
            self._ui.notify(f"{text}; the next prompt tries it.")
        self.switch_to(model)

    def open_picker(self, then: Callable[[ModelInfo], None] | None = None) -> None:
        """Open the picker with the models that are known, and refresh it.

        While an image is attached that the model in use cannot see, it shows only models that can.
        `then` is called with the chosen model; by default that is used from now on.
        """
        can_download = any(map(can_pull, self._workspace.finder.servers))
        target = self._chat.turn_options.target
        listed = self._models.cached()
        rows = self._rows(listed.models)
        in_use = (target.server_id, target.model_id) if target else None
        # of a server without a chosen model, the first one
        shown = (row.key for row in rows if in_use in (row.key, (row.key[0], "")))
        picker = ModelPicker(
            rows,
            age_s=listed.age_s,
            actions=ModelActions(
                load_or_unload=self._load_or_unload,
                load_with=self._ask_for_context,
                remove=self._remove,
                pull=self._pull if can_download else None,
                refresh=self._refresh_anew,
            ),
            unlisted=self._workspace.finder.unlisted,
            current=next(shown, None),
            typed=VISION if self._prompt_text.has_unseen_image else "",  # in the filter
        )
        self._ui.open_dialog(picker, then or self.switch_to)
        self._start_refresh()

    @property
    def _picker(self) -> ModelPicker | None:
        screens = self._ui.app.screen_stack
        return next((screen for screen in screens if isinstance(screen, ModelPicker)), None)

    def regenerate_with_another(self, message: ChatMessage) -> None:
        chat = self._chat

        def regenerate(model: ModelInfo) -> None:
            target = Target.of(model)
            self._turn_view.run_turn(partial(chat.regenerate, chat.active, message, target))

        self.open_picker(then=regenerate)

    def _refresh_anew(self) -> None:
        self._models.forget_lists()
        self._start_refresh()

    def _start_refresh(self) -> None:
        self._ui.start(self._refresh_picker, "picker", is_only=True)

    async def _refresh_picker(self) -> None:
        """If no server answers with a model, show the models that are known, with their age."""
        note, age_s = "", 0.0  # why the lists are not new, and their age
        models: Sequence[ModelInfo] = ()
        try:
            servers = await self._workspace.finder.search()
            models = [model for server in usable_of(servers) for model in server.models]
        except LMChatError as error:
            note = error.message
        with suppress(LMChatError):
            self._speeds = await self._workspace.stats_store.speeds()
        if not models:
            listed = self._models.cached()
            models = listed.models
            age_s = listed.age_s
        if self._picker is not None:
            self._picker.update_rows(self._rows(models), age_s=age_s, note=note)

    def _rows(self, models: Iterable[ModelInfo]) -> tuple[ModelRecord, ...]:
        return model_records(
            map(self._lists.with_load, models),
            self._workspace.state,
            speeds=self._speeds,
            server_names=configured_names(self._workspace.settings),
        )

    def switch_to(self, model: ModelInfo) -> None:
        """Use a model from the next turn on, and start to load it if it is not loaded."""
        if model.state is LoadState.NOT_LOADED:
            self._start_load(model)
        # without `load_fraction`, which is as old as the list of models
        self.use(Target.of(replace(model, load_fraction=None)))

    # Downloading and deleting

    def _pull(self, name: str) -> None:
        self._ui.start(partial(self._pull_if_wanted, name), "pull", is_only=True)

    async def _pull_if_wanted(self, name: str) -> None:
        """Have a model downloaded, while a dialog shows how far it is; Esc stops it."""
        servers = self._workspace.finder.servers
        server = server_for_pull(servers, self._chat.turn_options.endpoint)
        text = f"{server.name} downloads it. Esc stops the download."
        if not await confirmed(
            self._ui, f"Download {safe_line(name, limit=40)}?", text, verb="download it"
        ):
            return

        async def work(report: Callable[[str], None]) -> ModelInfo:
            report(PullProgress().text)
            return await self._models.pull(server, name, lambda progress: report(progress.text))

        short = safe_line(name, limit=30)
        try:
            if await with_progress(self._ui, f"Downloading {short}", work) is not None:
                self._ui.notify(f"{short} is downloaded.")
                return
            stopped = f"The download of {short} is stopped."
            self._ui.notify(product_named(server.product).step("continues_pull") or stopped)
        finally:
            self._show_new_states()

    def _remove(self, model: ModelInfo) -> None:
        self._ui.start(partial(self._remove_if_wanted, model), "pull", is_only=True)

    async def _remove_if_wanted(self, model: ModelInfo) -> None:
        product = product_named(model.product)
        if not product.can_delete(model):
            raise product.cannot_error("delete")
        size = size_text(model.size_bytes) or "Its size is not known"
        use = " This chat uses it." if self.is_in_use(model) else ""
        text = f"{size}; {model.product} at {model.endpoint.url}.{use}"
        title = f"Delete {safe_line(model.model_id, limit=40)} from the disk?"
        if await confirmed(self._ui, title, text, verb="delete it"):
            await self._models.remove(model)
            self._show_action("deleted", model)
            self._show_new_states()

    # Loading

    def _load_or_unload(self, model: ModelInfo) -> None:
        """Load a model; if it is loaded, unload it; if it is being loaded, stop that."""
        if self._refuse_remote(model):
            return
        if self._lists.load_of(model) is not None:
            self._ui.stop(_group(model))
            self._show_action("stopped loading", model)
        elif product_named(model.product).would_unload(model):
            self._ui.start(partial(self._unload, model), "unload")
        else:
            self._start_load(model)

    def _refuse_remote(self, model: ModelInfo) -> bool:
        if model.is_remote:
            self._ui.notify(f"{_short_name(model)} is a remote model: it is not in memory here.")
        return model.is_remote

    def _ask_for_context(self, model: ModelInfo) -> None:
        """Ask for a context window, and load the model with it, also if it is in memory."""
        if self._refuse_remote(model):
            return
        product = product_named(model.product)
        if not product.acts.context_field:
            text = f"{product.subject} takes no context window when it loads a model."
            next_step = product.window_step(shell_word(model.model_id), model, "TOKENS")
            self._ui.notify(f"{text} {next_step}".rstrip())  # it may be empty
            return

        dialog = AskDialog(
            f"Load {_short_name(model)} with a context window of … tokens",
            value=str(model.context_loaded or ""),
            verb="load",
            attempt=partial(self._try_to_load, model),
        )
        self._ui.open_dialog(dialog)

    async def _try_to_load(self, model: ModelInfo, typed: str) -> str | None:
        """Return why the typed size cannot be used, for the dialog."""
        if not (typed.isdecimal() and int(typed)):
            return "The context window must be a whole number of tokens."
        if self._lists.load_of(model) is not None:
            return "The model is being loaded. Stop that first."
        self._start_load(model, int(typed))
        return None

    def _start_load(self, model: ModelInfo, context: int | None = None) -> None:
        """Load a model, unless it is being loaded; `context` is the size of the window in tokens.

        It counts as loading from here on. Otherwise a prompt could be sent first, and would make
        some servers load the model once more.
        """
        if self._lists.load_of(model) is None:
            load = self._models.load(model, context=context)
            self._ui.start(partial(self._wait_for_load, model, load), _group(model))

    async def _unload(self, model: ModelInfo) -> None:
        running = [session.stats for session in self._chat.open_sessions.running]
        if any(stats is not None and stats.model == model.model_id for stats in running):
            raise StillAnswering
        self._show_action("unloading", model)
        try:
            await self._models.unload(model)
            self._show_action("unloaded", model)
        finally:
            self._show_new_states()

    async def _wait_for_load(self, model: ModelInfo, load: asyncio.Task[None]) -> None:
        """Wait for the end of a load; if the model is in use, the waiting prompts are sent then.

        After a failure they return. Some servers do not load on request. For the model in use this
        is no failure: its server may load it with the first prompt.
        """
        self._show_action("loading", model)
        can_answer = False
        try:
            await load
            can_answer = True
            self._show_action("loaded", model)
            await self._read_abilities(model)
        except ServerRejected as error:
            can_answer = error.kind == "unsupported" and self.is_in_use(model)
            if not can_answer:
                raise
        finally:
            if self.is_in_use(model) and can_answer:
                # also regenerates the last answer if it failed for want of a loaded model
                self._chat.send_waiting(has_loaded=True)
            elif self.is_in_use(model):
                self._chat.return_waiting()
            self._show_new_states()

    async def _read_abilities(self, model: ModelInfo) -> None:
        """Before the next prompt: some servers tell only of a loaded model what it can do."""
        with suppress(LMChatError):
            server = await self._models.check(model.endpoint)
            loaded = find_model(model.model_id, server.models)
            target = self._chat.turn_options.target
            if loaded is not None and target is not None and self.is_in_use(model):
                self.update_target(replace(target, model=loaded))

    def _show_action(self, what: str, model: ModelInfo) -> None:
        self._ui.show_action(f"{what} {_short_name(model)}")

    def _show_new_states(self) -> None:
        self._workspace.monitor.check_now()
        if self._picker is not None:
            self._start_refresh()

    def _show_loads(self) -> None:
        if self._picker is not None:
            self._picker.update_models(self._lists.with_load)
        self._ui.show_changes()


def _group(model: ModelInfo) -> str:
    return f"load {model.endpoint.netloc} {model.model_id}"


def _short_name(model: ModelInfo) -> str:
    return safe_line(model.model_id, limit=20)
