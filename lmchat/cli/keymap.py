"""Check of the keyboard keys that the configuration changes."""

from __future__ import annotations

from lmchat.commands.table import BY_ID, Scope
from lmchat.config.file import Problem, line_of
from lmchat.config.load import Loaded
from lmchat.matching import closest_word

_MODIFIERS = {"ctrl", "alt", "shift", "super", "hyper", "meta"}


def keymap_problems(loaded: Loaded) -> list[Problem]:
    """Return the problems of the section `[keys]`, which changes the keys of commands.

    These are unknown commands, unknown keys, and keys that another command has in the same place.
    """
    changed_keys = loaded.settings.keys
    keys_of_command = {
        name: changed_keys.get(name, command.keys).replace(" ", "").split(",")
        for name, command in BY_ID.items()
    }
    problems: list[Problem] = []
    for name in changed_keys:
        reasons = [] if name in BY_ID else ["is not a command"]
        for key in filter(None, keys_of_command.get(name, ())):
            if not _is_key(key):
                reasons.append(f'"{key}" is not a key; write it like ctrl+k, alt+left or f9')
            scopes = {Scope.APP, BY_ID[name].scope}  # keys of the app work everywhere
            for other, command in BY_ID.items():
                is_beside = command.scope in scopes or Scope.APP is BY_ID[name].scope
                if is_beside and other != name and key in keys_of_command[other]:
                    reasons.append(f'uses "{key}", which is already a key of {other}')
        for reason in reasons:
            problem = Problem(
                source=str(loaded.file),
                line=line_of(loaded.text, ("keys", name)),
                key=f"keys.{name}",
                reason=reason,
                suggestion="" if name in BY_ID else closest_word(name, tuple(BY_ID)),
            )
            problems.append(problem)
    return problems


def _is_key(word: str) -> bool:
    """Return whether Textual knows a key of this name, such as `ctrl+k`, `f9` or `+`."""
    # here, as most configurations change no key
    from textual.keys import Keys, key_to_character  # noqa: PLC0415

    # the key + is not split: that would give two empty words
    *modifiers, key = [word] if word == "+" else word.split("+")
    is_named = any(key == named.value for named in Keys) or key_to_character(key) is not None
    return is_named and _MODIFIERS.issuperset(modifiers)
