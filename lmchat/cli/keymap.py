"""Check of the keyboard keys that the configuration changes."""

from __future__ import annotations

from collections.abc import Iterator

from lmchat.config.config_file import Problem, line_of
from lmchat.config.load import Loaded
from lmchat.text import closest_word

_MODIFIERS = {"ctrl", "alt", "shift", "super", "hyper", "meta"}


def keymap_problems(loaded: Loaded) -> tuple[Problem, ...]:
    """Return unknown commands, unknown keys, and keys that two commands in one place share."""
    changed = loaded.settings.keys
    if not changed:
        return ()
    from lmchat.tui.commands import BY_ID

    problems: list[Problem] = []

    def note(command_id: str, reason: str, suggestion: str = "") -> None:
        problem = Problem(
            source=str(loaded.file),
            line=line_of(loaded.text, ("keys", command_id)),
            key=f"keys.{command_id}",
            reason=reason,
            suggestion=suggestion,
        )
        problems.append(problem)

    keys = {
        command.command_id: _split(changed.get(command.command_id, command.keys))
        for command in BY_ID.values()
    }
    for command_id in changed:
        if command_id not in BY_ID:
            meant = closest_word(command_id, tuple(BY_ID))
            reason = "is not a command" if meant else "is not a command; F1 lists the commands"
            note(command_id, reason, meant)
            continue
        for key in keys[command_id]:
            if not _is_key(key):
                note(command_id, f'"{key}" is not a key; write it like ctrl+k, alt+left or f9')
            for neighbour_id in _neighbours(command_id):
                if key in keys[neighbour_id]:
                    note(command_id, f'uses "{key}", which is already a key of {neighbour_id}')
    return tuple(problems)


def _neighbours(command_id: str) -> Iterator[str]:
    """Yield the other commands whose keys work in the same place."""
    from lmchat.tui.commands import BY_ID, COMMANDS, Scope

    scope = BY_ID[command_id].scope
    for command in COMMANDS:
        is_near = command.scope is scope or Scope.APP in (command.scope, scope)
        if is_near and command.command_id != command_id:
            yield command.command_id


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _is_key(word: str) -> bool:
    from textual.keys import KEY_ALIASES, Keys, key_to_character

    *modifiers, key = [word] if word == "+" else word.split("+")
    if not _MODIFIERS.issuperset(modifiers):
        return False
    is_named = key in KEY_ALIASES or any(key == named.value for named in Keys)
    return is_named or key_to_character(key) is not None
