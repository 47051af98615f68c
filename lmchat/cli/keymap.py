"""Check the keys that the configuration gives to commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from lmchat.config.problems import Problem, line_of, similar


def keymap_problems(keys: Mapping[str, str], file: Path) -> tuple[Problem, ...]:
    """Return unknown commands, unknown keys, and keys that two commands of one place would share."""
    if not keys:
        return ()
    from lmchat.tui.commands import BY_ID

    known = {name: _split(text) for name, text in keys.items() if name in BY_ID}
    faults = [(name, "is no command", similar(name, tuple(BY_ID))) for name in keys if name not in BY_ID]
    faults += [
        (name, f'names no key with "{word}"', "")
        for name, words in known.items()
        for word in words
        if not _is_key(word)
    ]
    faults += [(name, reason, "") for name, reason in _clashes(known)]
    text = file.read_text(encoding="utf-8-sig") if file.exists() else ""
    return tuple(
        Problem(
            source=str(file),
            key=f"keys.{name}",
            reason=reason,
            suggestion=suggestion,
            line=line_of(text, ("keys", name)),
        )
        for name, reason, suggestion in faults
    )


def _clashes(known: Mapping[str, tuple[str, ...]]) -> list[tuple[str, str]]:
    """Return changed commands whose key another command has in a place where both work."""
    from lmchat.tui.commands import COMMANDS, Scope

    keys = {command: known.get(command.command_id, _split(command.keys)) for command in COMMANDS}
    return [
        (changed.command_id, f'takes "{key}", which {other.command_id} has')
        for changed in COMMANDS
        if changed.command_id in known
        for other in COMMANDS
        if other is not changed
        and (other.scope is changed.scope or Scope.APP in (other.scope, changed.scope))
        for key in keys[changed]
        if key in keys[other]
    ]


def _split(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _is_key(word: str) -> bool:
    from textual.keys import KEY_ALIASES, Keys

    *modifiers, key = word.split("+") if word != "+" else [word]
    if any(modifier not in ("ctrl", "alt", "shift", "super", "hyper", "meta") for modifier in modifiers):
        return False
    named = {str(one.value) for one in Keys} | set(KEY_ALIASES)
    return key in named or len(key) == 1 or _is_character_name(key)


def _is_character_name(key: str) -> bool:
    """Textual names signs by their Unicode name: `left_square_bracket`."""
    import unicodedata

    try:
        unicodedata.lookup(key.replace("_", " ").upper())
    except KeyError:
        return False
    return True
