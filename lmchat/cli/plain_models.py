"""Slash commands of the plain chat that choose the model and the settings of the next answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec.structs import replace

from lmchat.cli.plain_turns import PlainTurns, model_words
from lmchat.cli.target import own_endpoints
from lmchat.domain.server import LoadState, ModelInfo, Target
from lmchat.errors import ServerRejected
from lmchat.services.catalogue import Catalogue, matching_model
from lmchat.services.turn_options import LEVELS, NO_PROFILE
from lmchat.storage import remembered_file


class PlainModels:
    """Handlers of the commands; each gets the argument, which may be empty."""

    def __init__(self, turns: PlainTurns) -> None:
        self._turns = turns
        self._output = turns.output
        self._next_turn = turns.sessions.next_turn

    async def use_model(self, wanted: str) -> None:
        """List the models, or use one by its number in the list or its name."""
        runtime = self._turns.runtime
        expected = own_endpoints(runtime.settings)
        catalogue = Catalogue(runtime.backend, runtime.store, expected=expected)
        rows, _ = await catalogue.refresh(runtime.remembered)
        models = [row.model for row in rows if row.model.can_chat]
        if not wanted:
            lines = [f"{number}. {model_words(model)}" for number, model in enumerate(models, 1)]
            self._output.lines(lines or ["No server has a model. Download one there."])
        elif wanted.isdecimal() and 0 < int(wanted) <= len(models):
            await self._use(models[int(wanted) - 1])
        else:
            await self._use(matching_model(wanted, rows))

    async def _use(self, model: ModelInfo) -> None:
        """Load a model that is not in memory, and use it from the next answer on."""
        if model.state is LoadState.NOT_LOADED:
            await self._load(model)
            model = replace(model, state=LoadState.LOADED)
        target = Target(endpoint=model.endpoint, product=model.product, model=model)
        self._next_turn.target = target
        await asyncio.to_thread(self._remember, target)
        self._output.note(f"Model: {model_words(target)}.")

    async def _load(self, model: ModelInfo) -> None:
        loading = self._turns.loading
        loading.show()
        try:
            await self._turns.runtime.backend.load(model, on_progress=loading.show)
        except ServerRejected as error:
            if error.kind != "unsupported":  # else the server loads it with the first prompt
                raise

    def _remember(self, target: Target) -> None:
        file = self._turns.context.paths.remembered_file
        remembered, _ = remembered_file.load(file)
        remembered_file.save(file, remembered.with_model(target.server_id, target.model_id))

    async def use_system_prompt(self, text: str) -> None:
        await self._turns.conversation.set_system_prompt(text)
        self._output.note("System prompt changed.")

    def profiles(self) -> list[str]:
        """Return the profiles, and which is in use."""
        names = (*self._turns.runtime.settings.profiles, NO_PROFILE)
        return _choices(names, self._next_turn.options.profile_name or NO_PROFILE)

    async def use_profile(self, name: str) -> None:
        profile = self._next_turn.use_profile(name, self._turns.runtime.settings.profiles)
        self._output.note(f"Profile: {self._next_turn.options.profile_name or NO_PROFILE}.")
        if profile.model:
            await self.use_model(profile.model)

    def efforts(self) -> list[str]:
        """Return the levels of reasoning effort, and which is in use."""
        return _choices(LEVELS, self._next_turn.options.chat.reasoning_effort or LEVELS[-1])

    async def use_effort(self, level: str) -> None:
        self._next_turn.use_effort(level)
        self._output.note(f"Reasoning effort: {level}.")


def _choices(names: Iterable[str], current: str) -> list[str]:
    unique = dict.fromkeys(names)
    return [f"{name}, in use" if name == current else name for name in unique]
