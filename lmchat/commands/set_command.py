"""`/set`: what is typed behind it is parsed; what is set is listed and explained.

A sampling option can be set at several places. Its origin is the place whose value is used, as
`chat/settings.py` decides. `/set` changes the value of the session.
"""

from __future__ import annotations

import re

from lmchat.chat.service import ChatService
from lmchat.chat.session import OpenSession
from lmchat.chat.settings import OptionValues, SetOption, TurnOptions
from lmchat.config.settings import Level
from lmchat.errors import WrongUse
from lmchat.safe_text import safe_line
from lmchat.servers.products import product_named
from lmchat.servers.sampling_options import (
    checked_option,
    option_form,
    parsed_value,
    usable_options,
)
from lmchat.sessions.message import value_text

_NO_VALUE = "default"  # as a value, it removes the session's own one
_FORM = re.compile(r"([^\s=]+)(?:\s*=\s*|\s+)?(.*)", re.DOTALL)
"""NAME, NAME VALUE or NAME=VALUE: the name, a sign `=` or blanks, and the rest as the value."""
_MAX_VALUE_CHARS = 60
# What other programs have behind /set, and what does the same.
_INSTEAD = {
    "parameter": "/set NAME VALUE",
    "system": "/system TEXT",
}


def _value_text(option: SetOption) -> str:
    return safe_line(value_text(option.value), limit=_MAX_VALUE_CHARS)


def option_rows(choices: TurnOptions, session: OpenSession) -> list[tuple[str, str, str]]:
    """Return name, value and origin of the sampling options that are set for a session."""
    product = choices.target.product if choices.target else ""
    rows: list[tuple[str, str, str]] = []
    for option in choices.options_with_origin(session.session_sampling):
        origin = option.origin.label
        if product and not product_named(product).options.takes_option(option.name):
            origin = f"{origin}; not sent to {product}"
        rows.append((option.name, _value_text(option), origin))
    return rows


async def set_option(chat: ChatService, session: OpenSession, typed: str) -> str:
    """Return a sentence about the option; raise `WrongUse`."""
    options, words = _with_option(chat.turn_options, session, typed)
    if options != session.header.sampling:
        await session.set_sampling(options)
    return words


def _with_option(
    choices: TurnOptions, session: OpenSession, typed: str
) -> tuple[OptionValues, str]:
    """Return the session's own options after `NAME VALUE` or `NAME=VALUE`, and a sentence on it.

    Without a value, nothing changes, and the sentence says what the option may be. Raises
    `WrongUse` for a wrong value, or if `/effort` or the command line, which have priority, has set
    the option.
    """
    match = _FORM.fullmatch(typed.strip())
    if match is None:
        raise WrongUse(
            "/set needs the name of an option.", next_step="/set alone lists the options."
        )
    name, text = match[1], match[2]
    if name in _INSTEAD:
        raise WrongUse(f"{name} is no sampling option.", next_step=f"Use: {_INSTEAD[name]}")
    form = f"It may be {option_form(name)}, or {_NO_VALUE}."  # raises `WrongUse`: unknown name
    options = dict(session.header.sampling)
    before = _option(choices, name, options)  # as it is set without this change
    if not text:
        if before is None:
            return options, f"{name} is not set. {form}"
        return options, f"{name} is {_value_text(before)} ({before.origin.label}). {form}"

    # a value of these levels has priority over that of the session
    if before is not None and before.origin.level in (Level.EFFORT, Level.COMMAND_LINE):
        raise WrongUse(
            f"{name} keeps its value ({before.origin.label}), which has priority over /set.",
            next_step="Change it there.",
        )
    if text == _NO_VALUE:
        options.pop(name, None)
    else:
        options[name] = checked_option(name, parsed_value(text))
        if choices.target is not None:
            product_named(choices.target.product).refuse_ignored([name])
    option = _option(choices, name, options)
    if option is None:
        return options, f"{name} is not sent, from the next answer on."
    sentence = f"{name} is {_value_text(option)} from the next answer on ({option.origin.label})."
    return options, sentence


def _option(choices: TurnOptions, name: str, session_options: OptionValues) -> SetOption | None:
    """Leave out unusable options, which another version of lmchat may have saved."""
    options = choices.options_with_origin(usable_options(session_options))
    return next((option for option in options if option.name == name), None)
