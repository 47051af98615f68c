"""Problems of settings that only the screen uses: keys such as `ctrl+k`, and the theme."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from lmchat.app.commands.table import BY_ID, Scope
from lmchat.base.matching import did_you_mean
from lmchat.core.config.file import Problem
from lmchat.core.config.load import LoadedSettings

_MODIFIERS = {"ctrl", "alt", "shift", "super", "hyper", "meta"}
_PROMPT_KEYS = ("enter", "up", "down", "left", "right", "home", "end")
"""Keys of the prompt beside those that type or delete a character."""


def keymap_problems(loaded: LoadedSettings) -> list[Problem]:
    changed_keys = loaded.settings.keys
    keys_of_command = {
        name: changed_keys.get(name, command.keys).replace(" ", "").split(",")
        for name, command in BY_ID.items()
    }
    return [
        loaded.problem(("keys", name), reason)
        for name in changed_keys
        for reason in _reasons_against(name, keys_of_command)
    ]


def _reasons_against(name: str, keys_of_command: Mapping[str, Sequence[str]]) -> Iterator[str]:
    if name not in BY_ID:
        yield f"not a command{did_you_mean(name, tuple(BY_ID))}".removesuffix(".")
        return
    scope = BY_ID[name].scope
    for key in filter(None, keys_of_command[name]):  # "" stands for a command without keys
        if not _is_key(key):
            yield f'"{key}" is not a key; write it like ctrl+k, alt+left or f9'
        if BY_ID[name].is_priority and _is_for_prompt(key):
            yield f'uses "{key}", which the prompt needs'
        for other, command in BY_ID.items():
            # keys of the app work everywhere
            is_in_same_place = command.scope is scope or Scope.APP in (command.scope, scope)
            if is_in_same_place and other != name and key in keys_of_command[other]:
                yield f'uses "{key}", which is already a key of {other}'


def theme_problems(loaded: LoadedSettings) -> list[Problem]:
    name = loaded.settings.ui.theme
    if not name:
        return []
    # else only the screen needs Textual
    from textual.theme import BUILTIN_THEMES  # noqa: PLC0415

    from lmchat.app.tui.themes import THEMES, theme_named  # noqa: PLC0415

    names = (*(theme.name for theme in THEMES), *BUILTIN_THEMES)
    if theme_named(name, names):
        return []
    return [loaded.problem(("ui", "theme"), "not a theme; /theme lists all themes")]


def _is_key(word: str) -> bool:
    """Whether Textual knows a key of this name, such as `ctrl+k`, `f9` or `+`."""
    # most configurations change no key, and need no Textual
    from textual.keys import Keys, key_to_character  # noqa: PLC0415

    # + would split into two empty words
    *modifiers, key = [word] if word == "+" else word.split("+")
    is_named = any(key == named.value for named in Keys) or key_to_character(key) is not None
    return is_named and _MODIFIERS.issuperset(modifiers)


def _is_for_prompt(key: str) -> bool:
    """Whether a key sends the prompt, moves in it, or types or deletes a character."""
    from textual.keys import key_to_character  # noqa: PLC0415 - as in `_is_key`

    return key in _PROMPT_KEYS or key_to_character(key) is not None
