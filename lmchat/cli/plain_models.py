"""Slash commands of the plain chat that choose the model and the settings of the next answers."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from msgspec.structs import replace

from lmchat.chat.options import LEVELS, NO_PROFILE, NOTHING_SET, value_words
from lmchat.cli.plain_turns import PlainTurns, model_words
from lmchat.cli.target import own_endpoints
from lmchat.config.state import change_state
from lmchat.errors import ServerRejected
from lmchat.servers.discovery.catalogue import Catalogue, matching_model
from lmchat.servers.model import LoadState, ModelInfo, Target


class PlainModels:
    """Handlers of the commands.

    A handler gets the argument of its command, which may be empty. `profiles`, `efforts` and
    `sampling_options` return the lines that are printed if the argument is missing.
    """

    def __init__(self, turns: PlainTurns) -> None:
        self._turns = turns
        self._output = turns.output
        self._next_turn = turns.sessions.next_turn
        self._listed: list[ModelInfo] = []  # in the order in which they were last printed

    async def use_model(self, argument: str) -> None:
        """Ask all servers for their models; print those that can chat, or use one of them.

        Without an argument, print the numbered list. A number means that list, though another model
        may have been loaded since; any other argument is the name of a model, or matches it. Raises
        `WrongUse` if none matches.
        """
        runtime = self._turns.runtime
        expected = own_endpoints(runtime.settings)
        catalogue = Catalogue(runtime.backend, runtime.store.figures.speeds, expected=expected)
        rows, _ = await catalogue.refresh(runtime.state)
        models = [row.model for row in rows if row.model.can_chat]
        if not argument or not self._listed:
            self._listed = models
        if not argument:
            lines = [f"{number}. {model_words(model)}" for number, model in enumerate(models, 1)]
            self._output.print_lines(lines or ["No server has a model. Download one there."])
        elif argument.isdecimal() and 0 < int(argument) <= len(self._listed):
            await self._use(self._listed[int(argument) - 1])
        else:
            await self._use(matching_model(argument, rows))

    async def _use(self, model: ModelInfo) -> None:
        """Use a model from the next answer on, and in the next start of lmchat.

        A model that its server reports as not loaded is loaded before.
        """
        if model.state is LoadState.NOT_LOADED:
            await self._load(model)
            model = replace(model, state=LoadState.LOADED)
        target = Target(endpoint=model.endpoint, product=model.product, model=model)
        self._next_turn.target = target
        await asyncio.to_thread(self._remember, target)
        self._output.note(f"Model: {model_words(target)}.")

    async def _load(self, model: ModelInfo) -> None:
        """Load a model and print the progress.

        Do nothing if the server cannot load a model on request: it does so with the first prompt.
        """
        notes = self._turns.loading_notes
        notes.show()  # at once, since some servers report no progress
        try:
            await self._turns.runtime.backend.load(model, on_progress=notes.show)
        except ServerRejected as error:
            if error.kind != "unsupported":
                raise

    def _remember(self, target: Target) -> None:
        """Save the choice, so that the next start uses the same model. Blocks."""
        file = self._turns.context.paths.state_file
        change_state(file, lambda state: state.with_model(target.server_id, target.model_id))

    async def use_system_prompt(self, text: str) -> None:
        """Change the system prompt of the shown session."""
        await self._turns.sessions.set_system_prompt(self._turns.opened, text)
        self._output.note("System prompt changed.")

    def profiles(self) -> list[str]:
        """Return a line for each profile, and one for no profile; one line says "in use"."""
        names = (*self._turns.context.named.profiles(), NO_PROFILE)
        return _choices(names, self._next_turn.profile_name or NO_PROFILE)

    async def use_profile(self, name: str) -> None:
        """Use a profile, and its model if it names one, from the next answer on."""
        self._turns.note_wrong_tables()
        profiles = self._turns.context.named.profiles()
        profile = self._next_turn.use_profile(name, profiles)
        self._output.note(f"Profile: {self._next_turn.profile_name or NO_PROFILE}.")
        if profile.model:
            await self.use_model(profile.model)

    def efforts(self) -> list[str]:
        """Return a line for each level of reasoning effort, and one about numbers of tokens.

        The line of the effort in use says so.
        """
        current = self._effort_words()  # a level or a number of tokens
        return [*_choices((*LEVELS, current), current), "or a number of tokens"]

    async def use_effort(self, typed: str) -> None:
        """Use a reasoning effort from the next answer on: a level or a number of tokens."""
        self._next_turn.use_effort(typed)
        self._output.note(f"Reasoning effort: {self._effort_words()}.")

    def _effort_words(self) -> str:
        return self._next_turn.effort_words(self._turns.opened.own_sampling)

    def sampling_options(self) -> list[str]:
        """Return a line for each sampling option that is set: name, value and origin."""
        options = self._next_turn.options_of(self._turns.opened)
        rows = [(option.name, value_words(option), option.origin) for option in options]
        name_width = max((len(name) for name, _, _ in rows), default=0)
        value_width = max((len(value) for _, value, _ in rows), default=0)
        return [
            f"{name:{name_width}}  {value:{value_width}}  {origin}" for name, value, origin in rows
        ] or [NOTHING_SET]

    async def set_option(self, typed: str) -> None:
        """Change or explain a sampling option of the shown session."""
        self._output.note(await self._turns.sessions.set_option(self._turns.opened, typed))


def _choices(names: Iterable[str], current: str) -> list[str]:
    """Return the names without repetitions, the current one with ", in use" after it."""
    unique_names = dict.fromkeys(names)
    return [f"{name}, in use" if name == current else name for name in unique_names]
