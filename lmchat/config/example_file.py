"""The commented example file, written from the rows of the configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable

from lmchat.config.sections import (
    APPROVAL_HELP,
    ENDPOINT,
    KEYS_HELP,
    MCP,
    MODEL,
    PROFILE,
    PROMPT,
    SECTIONS,
    Row,
)

_HEAD = """\
# Configuration of lmchat. Every setting is optional; commented-out lines show the default or \
an example.
# `lmchat config path` prints where this file belongs, `lmchat config check` finds problems in it,
# `lmchat config show` prints the effective settings and where each comes from (flag, \
environment, this file).
"""
_HELP_COLUMN = 44  # where the help of a setting begins, behind its value
_MAX_COLUMNS = 110  # of a line; the help of a longer one is a line of its own


def example_text() -> str:
    """Return the text of the example file: a block of lines for each table.

    Tables that appear once show the default values; `section.settings()` has them.
    """
    blocks = [_HEAD]
    for section in SECTIONS:
        head = [f"# {section.help}", f"[{section.name}]"] if section.name else []
        blocks.append(_block(head, section.rows.values(), section.settings()))

    approvals = '# "files/read_text" = "always"\n# python = "always"\n'
    blocks.append(f"# {APPROVAL_HELP}\n[tools.approval]\n{approvals}")

    # two servers: one that is started by a command, one at an address; the keys for the address
    # are the last two of the table
    *rows_of_command, url, headers = MCP.rows.values()
    blocks.append(_block([f"# {MCP.help}", "# [[mcp]]"], rows_of_command))
    blocks.append(_block(["# [[mcp]]", '# name = "wiki"'], (url, headers)))

    blocks.append(f'# {KEYS_HELP}\n[keys]\n# search = "ctrl+k"\n')
    named_tables = (
        (ENDPOINT, "[[endpoints]]"),
        (MODEL, '[models."qwen3*"]'),
        (PROFILE, "[profiles.short]"),
        (PROMPT, "[prompts.french]"),
    )
    for section, name in named_tables:
        blocks.append(_block([f"# {section.help}", f"# {name}"], section.rows.values()))
    return "\n".join(blocks)


def toml_value(value: object) -> str:
    """Return a value as TOML on one line; TOML writes strings and numbers as JSON does."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{name} = {toml_value(item)}" for name, item in value.items())
        return f"{{ {pairs} }}"
    if isinstance(value, tuple | list):
        return f"[{', '.join(map(toml_value, value))}]"
    return json.dumps(value, ensure_ascii=False)


def _block(head: list[str], rows: Iterable[Row], defaults: object = None) -> str:
    """Return the lines of a table: its head and a line for each key.

    `defaults` is an object with the default of each key as a field; None: no key has a default.
    """
    lines = [_line(row, getattr(defaults, row.name, "")) for row in rows]
    return "\n".join([*head, *lines]) + "\n"


def _line(row: Row, default: object) -> str:
    """Return the line of a key: its value, and its help as a comment.

    The value is the default of the key, or an example if the default is empty. If value and help
    are too long for one line, the help is a line above.
    """
    is_unset = default in (None, "", ())
    value = row.example if is_unset and row.example is not None else default
    setting = f"# {row.name} = {toml_value(value)}"
    line = f"{setting:<{_HELP_COLUMN}}  # {row.help}"
    if len(setting) > _HELP_COLUMN or len(line) > _MAX_COLUMNS:
        return f"# {row.help}:\n{setting}"
    return line
