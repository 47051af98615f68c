"""Check of the keyboard keys that the configuration changes."""

from __future__ import annotations

from lmchat.commands.table import BY_ID, COMMANDS, Scope
from lmchat.config.file import Problem, line_of
from lmchat.config.load import Loaded
from lmchat.matching import closest_word

_MODIFIERS = {"ctrl", "alt", "shift", "super", "hyper", "meta"}


def keymap_problems(loaded: Loaded) -> tuple[Problem, ...]:
    """Return the problems of the section `[keys]`, which changes the keys of commands.

    These are unknown commands, unknown keys, and keys that another command has in the same place.
    """
    changed_keys = loaded.settings.keys
    if not changed_keys:
        return ()
    problems: list[Problem] = []

    def add_problem(command_id: str, reason: str, suggestion: str = "") -> None:
        problem = Problem(
            source=str(loaded.file),
            line=line_of(loaded.text, ("keys", command_id)),
            key=f"keys.{command_id}",
            reason=reason,
            suggestion=suggestion,
        )
        problems.append(problem)

    # the keys of all commands, changed or not
    keys_of_command = {
        command.command_id: [
            key.strip()
            for key in changed_keys.get(command.command_id, command.keys).split(",")
            if key.strip()
        ]
        for command in BY_ID.values()
    }
    for command_id in changed_keys:
        if command_id not in BY_ID:
            suggestion = closest_word(command_id, tuple(BY_ID))
            step = "" if suggestion else "; F1 lists the commands"
            add_problem(command_id, f"is not a command{step}", suggestion)
            continue
        scope = BY_ID[command_id].scope
        for key in keys_of_command[command_id]:
            if not _is_key(key):
                reason = f'"{key}" is not a key; write it like ctrl+k, alt+left or f9'
                add_problem(command_id, reason)
            for other in COMMANDS:
                other_id = other.command_id
                # keys of the app work everywhere
                is_beside = other.scope is scope or Scope.APP in (other.scope, scope)
                if is_beside and other_id != command_id and key in keys_of_command[other_id]:
                    add_problem(command_id, f'uses "{key}", which is already a key of {other_id}')
    return tuple(problems)


def _is_key(word: str) -> bool:
    """Return whether Textual knows a key of this name, such as `ctrl+k`, `f9` or `+`."""
    # here, as most configurations change no key
    from textual.keys import KEY_ALIASES, Keys, key_to_character  # noqa: PLC0415

    # the key + is not split: that would give two empty words
    *modifiers, key = [word] if word == "+" else word.split("+")
    if not _MODIFIERS.issuperset(modifiers):
        return False
    is_named = key in KEY_ALIASES or any(key == named.value for named in Keys)
    return is_named or key_to_character(key) is not None
