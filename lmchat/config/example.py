"""The commented configuration file, generated from the rows."""

from __future__ import annotations

import json

from lmchat.config.rows import ENDPOINT, KEYS_HELP, PROFILE, SECTIONS, Row, Section

_HEAD = """\
# Configuration of lmchat. Every key is optional; what is commented out shows its default or an example.
# `lmchat config path` tells where this file belongs, `lmchat config check` finds mistakes in it,
# `lmchat config show` prints what holds and where it comes from: flag, else environment, else this file.
"""
_COLUMN = 44  # where help begins


def example_text() -> str:
    """Return the text of the example file."""
    blocks = [_HEAD]
    for section in SECTIONS:
        head = [f"# {section.help}", f"[{section.name}]"] if section.name else []
        blocks.append(_block(head, section, section.settings()))
    blocks.append(f'# {KEYS_HELP}\n[keys]\n# search = "ctrl+k"\n')
    for section, name in ((ENDPOINT, "[[endpoints]]"), (PROFILE, "[profiles.short]")):
        blocks.append(_block([f"# {section.help}", f"# {name}"], section, None))
    return "\n".join(blocks)


def toml_value(value: object) -> str:
    """Return a value as TOML; except for tables that equals JSON."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{name} = {toml_value(item)}" for name, item in value.items()) + " }"
    if isinstance(value, tuple | list):
        return "[" + ", ".join(toml_value(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def _block(head: list[str], section: Section, defaults: object) -> str:
    lines = [_line(row, getattr(defaults, row.name, "")) for row in section.rows.values()]
    return "\n".join([*head, *lines]) + "\n"


def _line(row: Row, default: object) -> str:
    help_, example = row.about.help, row.about.example
    value = example if default in (None, "", ()) and example is not None else default
    setting = f"# {row.name} = {toml_value(value)}"
    return f"# {help_}:\n{setting}" if len(setting) > _COLUMN else f"{setting:<{_COLUMN}}  # {help_}"
