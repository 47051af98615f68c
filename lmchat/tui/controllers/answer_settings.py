"""Settings for the next answers: system prompt, profile, effort, sampling, first words.

The first words are a text of the user with which the next answer begins.
"""

from __future__ import annotations

from functools import partial

from lmchat.chat.open_session import OpenSession
from lmchat.commands import set_command
from lmchat.commands.set_command import NOTHING_SET, value_words
from lmchat.safe_text import safe_line
from lmchat.tui.controllers.model_switch import ModelSwitch
from lmchat.tui.dialogs.ask_dialog import argument_dialog
from lmchat.tui.dialogs.dialog import PickDialog
from lmchat.tui.screen_services import ScreenServices
from lmchat.tui.widgets.line import MUTED
from lmchat.tui.widgets.row_list import ASIDE, NAME, ListRow


class AnswerSettings:
    """Runs the slash commands that change the next answers."""

    def __init__(self, ui: ScreenServices, model_switch: ModelSwitch) -> None:
        self._ui = ui
        self._chat = ui.workspace.chat
        self._model_switch = model_switch

    async def change_system_prompt(self, text: str) -> None:
        """Give the shown session another system prompt, as a message at the end of the path.

        Raises `RequestInvalid` while a turn may add messages there.
        """
        opened = self._chat.shown
        message = await self._chat.changes.set_system_prompt(opened, text)
        if opened is self._chat.shown:  # else the user has changed the session
            self._ui.widgets.log.append(message)
        self._ui.show_action("system prompt changed")

    def use_profile(self, name: str) -> None:
        """Use a profile from the next turn on; if it names a model, switch to the model, too.

        Raises `WrongUse` for an unknown profile or model.
        """
        profile = self._chat.turn_choices.use_profile(name, self._ui.workspace.settings.profiles)
        if profile.model:
            self._model_switch.pick_named(profile.model)
        shown_name = safe_line(name, limit=20)
        self._ui.show_action(f"profile {shown_name}")
        self._ui.notify(f"Profile: {shown_name}.")

    def use_effort(self, typed: str) -> None:
        """Set the reasoning effort of the next answers in all sessions, and show it to the user."""
        self._chat.turn_choices.use_effort(typed)
        effort = self._chat.turn_choices.effort_words(self._chat.shown.own_sampling)
        self._ui.show_action(f"effort {effort}")
        self._ui.notify(f"Reasoning effort: {effort}.")

    async def use_first_words(self, words: str = "") -> None:
        """Let the next answer begin with `words`.

        Without `words`, remove those that were set before; if none were, ask for some.
        """
        if words or self._chat.shown.first_words:
            self._chat.changes.use_first_words(self._chat.shown, words)
            self._ui.show_action("first words set" if words else "first words removed")
        else:
            dialog = argument_dialog("Begin the next answer with which text?", self.use_first_words)
            self._ui.open_dialog(dialog)

    async def set_option(self, typed: str = "") -> None:
        """List the sampling options, or change or explain the one that was typed.

        Enter on a row of the list asks for another value.
        """
        opened = self._chat.shown
        if typed:
            await self._change_option(opened, typed)
            return
        options = set_command.listed_options(self._chat.turn_choices, opened)
        width = max((len(option.name) for option in options), default=0)
        rows: list[ListRow] = []
        for option in options:
            label = ((f" {option.name:<{width}}", NAME),)
            value = ((f"  {value_words(option)}", ASIDE),)
            origin = ((option.origin.words, MUTED),)  # who has set the value
            rows.append(ListRow(pieces=(label, value), right=origin, key=option.name))
        dialog = PickDialog("Sampling", rows, verb="change it", nothing=NOTHING_SET)
        self._ui.open_dialog(dialog, partial(self._ask_for_value, opened))

    def _ask_for_value(self, opened: OpenSession, name: str | None) -> None:
        """Ask for another value of the option that was chosen; None if the list was left."""
        if name is not None:
            change = partial(self._change_option, opened, name)  # then gets the typed value
            text = "A value, or default to send none."
            self._ui.open_dialog(argument_dialog(f"Change {name}", change, text))

    async def _change_option(self, opened: OpenSession, *words: str) -> None:
        """Do what `NAME`, `NAME VALUE` or `NAME=VALUE` says, and tell the user the result."""
        self._ui.notify(await set_command.set_option(self._chat, opened, " ".join(words)))
