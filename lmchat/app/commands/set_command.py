"""`/set`: what is typed behind it is parsed; what is set is listed and explained.

A sampling option can be set at several places. Its origin is the place whose value is used, as
`chat/settings.py` decides. `/set` changes the value of the session.
"""

from __future__ import annotations

import re

from lmchat.base.errors import WrongUse
from lmchat.base.safe_text import safe_line
from lmchat.core.chat.service import ChatService
from lmchat.core.chat.session import OpenSession
from lmchat.core.chat.settings import SetOption, TurnOptions
from lmchat.core.config.settings import Level
from lmchat.core.servers.products import product_named
from lmchat.core.servers.sampling_options import (
    STORED,
    checked_option,
    option_form,
    parsed_value,
)
from lmchat.core.sessions.message import value_text

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
    """Change the session's own options by `NAME VALUE` or `NAME=VALUE`; return a sentence on it.

    Without a value, nothing changes, and the sentence says what the option may be. Raises
    `WrongUse` for a wrong value, or if `/effort` or the command line, which have priority, has set
    the option.
    """
    choices = chat.turn_options
    match = _FORM.fullmatch(typed.strip())
    if match is None:
        raise WrongUse(
            "/set needs the name of an option.", next_step="/set alone lists the options."
        )
    name, text = match[1], match[2]
    if name in _INSTEAD:
        raise WrongUse(f"{name} is no sampling option.", next_step=f"Use: {_INSTEAD[name]}")
    form = f"It may be {option_form(name)}, or {_NO_VALUE}."  # raises `WrongUse`: unknown name
    before = _option(choices, session, name)  # as it is set without this change
    if not text:
        if before is None:
            return f"{name} is not set. {form}"
        return f"{name} is {_value_text(before)} ({before.origin.label}). {form}"

    # a value of these levels has priority over that of the session
    if before is not None and before.origin.level in (Level.EFFORT, Level.COMMAND_LINE):
        raise WrongUse(
            f"{name} keeps its value ({before.origin.label}), which has priority over /set.",
            next_step="Change it there.",
        )
    options = dict(session.header.sampling)
    for known in (name, f"{STORED}{name}"):
        options.pop(known, None)
    if text != _NO_VALUE:
        options[name] = checked_option(name, parsed_value(text))
        if choices.target is not None:
            product_named(choices.target.product).refuse_ignored([name])
    await session.set_sampling(options)
    option = _option(choices, session, name)
    if option is None:
        return f"{name} is not sent, from the next answer on."
    return f"{name} is {_value_text(option)} from the next answer on ({option.origin.label})."


def _option(choices: TurnOptions, session: OpenSession, name: str) -> SetOption | None:
    options = choices.options_with_origin(session.session_sampling)
    return next((option for option in options if option.name == name), None)
