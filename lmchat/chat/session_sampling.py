"""The command `/set`: the sampling options that are sent in a session, and changes of its own."""

from __future__ import annotations

import json
import re

from lmchat.chat.open_session import OpenSession
from lmchat.chat.open_sessions import OpenSessions
from lmchat.chat.sampling_layers import COMMAND_LINE, SetOption
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line
from lmchat.servers.options import (
    checked_option,
    option_form,
    parsed_value,
)
from lmchat.servers.products import product_named, refuse_ignored

NOTHING_SET = (
    "No sampling option is set, so the server decides. "
    "To set one for this session: /set NAME VALUE, such as /set temperature 0.7"
)
_DEFAULT = "default"  # value that takes an option of the session back
_FORM = re.compile(r"([^\s=]+)(?:\s*=\s*|\s+)?(.*)", re.DOTALL)
"""NAME, NAME VALUE or NAME=VALUE: the name, a sign `=` or blanks, and the rest as the value."""
_MAX_VALUE_CHARS = 60


class SessionSampling:
    """The sampling options that are sent in a session: its own ones, and those of all sessions."""

    def __init__(self, opened: OpenSession, sessions: OpenSessions) -> None:
        self._opened = opened
        self._sessions = sessions
        self._next_turn = sessions.next_turn

    @property
    def options(self) -> tuple[SetOption, ...]:
        """The options that are set, by name; an option that is not sent says so in its origin."""
        target = self._next_turn.target
        set_options: list[SetOption] = []
        for option in self._all_options():
            origin = option.origin
            if target is not None and not product_named(target.product).takes_option(option.name):
                origin = f"{origin}; not sent to {target.product}"
            set_options.append(SetOption(option.name, option.value, origin))
        return tuple(set_options)

    @property
    def lines(self) -> list[str]:
        """The options that are set, a line each: name, value and origin, in columns."""
        rows = [(option.name, value_words(option), option.origin) for option in self.options]
        name_width = max((len(name) for name, _, _ in rows), default=0)
        value_width = max((len(value) for _, value, _ in rows), default=0)
        return [
            f"{name:{name_width}}  {value:{value_width}}  {origin}" for name, value, origin in rows
        ]

    def describe(self, typed: str) -> str:
        """Return a sentence on the value of an option, and one on what it may be.

        Raises `WrongUse` for an unknown name.
        """
        name, _ = _name_and_value(typed)
        form = option_form(name)
        option = self._option(name)
        words = f"{name} is not set."
        if option is not None:
            words = f"{name} is {value_words(option)} ({option.origin})."
        return f"{words} It may be {form}, or {_DEFAULT}."

    async def change(self, typed: str) -> str:
        """Change the option that `NAME VALUE` or `NAME=VALUE` names; return a sentence on it.

        The value "default" removes the session's own value. Without a value, nothing changes, and
        the sentence is that of `describe`. Raises `WrongUse` if the option cannot have this value,
        or if `/effort` or the command line has set it: these have priority over the session.
        """
        name, text = _name_and_value(typed)
        if not text:
            return self.describe(name)
        options = dict(self._opened.header.sampling)
        was_set = name in options or self._option(name) is not None
        if text == _DEFAULT:
            if name not in options:
                option_form(name)  # refuses an unknown name
            options.pop(name, None)
        else:
            options[name] = self._checked(name, text)
        self._refuse_without_effect(name)
        await self._sessions.set_sampling(self._opened, options)
        option = self._option(name)
        if option is None and was_set:
            return f"{name} is not sent any more, from the next answer on."
        if option is None:
            return self.describe(name)
        return f"{name} is {value_words(option)} from the next answer on ({option.origin})."

    def _checked(self, name: str, text: str) -> object:
        """Return the value of a typed text; raises `WrongUse` if it cannot be sent."""
        value = checked_option(name, parsed_value(text))
        target = self._next_turn.target
        if target is not None:
            refuse_ignored(target.product, [name])
        return value

    def _refuse_without_effect(self, name: str) -> None:
        """Raise `WrongUse` if an option is set in a place that comes before the session."""
        option = self._option(name)
        if name == "reasoning_effort" and self._next_turn.options.layers.effort is not None:
            problem = "/effort has set the reasoning effort for all sessions of this run."
            raise WrongUse(problem, hint="Change it with /effort LEVEL.")
        if option is not None and option.origin == COMMAND_LINE:
            raise WrongUse(
                f"{name} was set to {value_words(option)} on the command line, and stays so.",
                hint="Start lmchat without it to change it here.",
            )

    def _option(self, name: str) -> SetOption | None:
        """Return the option of a name; None if it is not set."""
        options = {option.name: option for option in self._all_options()}
        return options.get(name)

    def _all_options(self) -> tuple[SetOption, ...]:
        options = self._next_turn.options
        model_id = options.target.model_id if options.target else ""
        return options.layers.options(self._opened.own_sampling, model_id)


def value_words(option: SetOption) -> str:
    """Return the value of an option on one line, as it may be typed."""
    is_text = isinstance(option.value, str)
    text = option.value if is_text else json.dumps(option.value, ensure_ascii=False)
    return safe_line(str(text), limit=_MAX_VALUE_CHARS)


def _name_and_value(typed: str) -> tuple[str, str]:
    """Return the name and the text of the value; the text is empty if only a name was typed."""
    match = _FORM.fullmatch(typed.strip())
    if match is None:
        raise WrongUse("/set needs the name of an option.", hint="/set alone lists what is set.")
    return match[1], match[2]
