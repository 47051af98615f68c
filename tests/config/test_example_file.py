from __future__ import annotations

import tomllib

from msgspec.structs import fields

from lmchat.config.file import ENDPOINT, MCP, MODEL, PROFILE, PROMPT, SECTIONS, example_text
from lmchat.config.load import load
from lmchat.config.settings import Settings
from tests.support.pty_program import ROOT

_ALL = (*SECTIONS, MCP, ENDPOINT, MODEL, PROFILE, PROMPT)
_NESTED = {
    *("chat", "limits", "serve", "timeouts", "ui", "keys", "local"),
    *("endpoints", "models", "profiles", "prompts", "tools", "mcp"),
}
_OF_TABLES = {"approval"}


def test_the_rows_are_exactly_the_fields_of_the_settings():
    for section in _ALL:
        names = [field.name for field in fields(section.settings)]
        assert list(section.rows) == [
            name for name in names if name not in (_OF_TABLES if section.name else _NESTED)
        ]


def test_the_example_file_is_what_the_rows_generate():
    assert (ROOT / "config.example.toml").read_text() == example_text()


def test_the_example_file_sets_nothing(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(example_text())
    content = load(file, {})
    assert (content.problems, content.origins, content.settings) == ((), {}, Settings())


def test_every_line_of_the_example_file_can_be_switched_on(tmp_path):
    lines = example_text().splitlines()
    settings = [line.removeprefix("# ") if _is_setting(line) else line for line in lines]
    file = tmp_path / "config.toml"
    file.write_text("\n".join(settings))
    content = load(file, {})
    assert content.problems == ()
    assert content.origins.keys() == {
        section.key(name) for section in SECTIONS for name in section.rows
    }
    assert content.settings.models["qwen3*"].top_k == 40
    assert list(content.settings.profiles) == ["short"]
    assert content.settings.prompts["french"].text == "Translate into French: {{input}}"
    assert content.settings.tools.approval == {"files/read_text": "always", "python": "always"}
    files, wiki = content.settings.mcp
    assert (files.command, files.env, wiki.url) == (
        "npx",
        {"LOG": "off"},
        "http://127.0.0.1:3000/mcp",
    )
    assert wiki.headers_env == {"Authorization": "WIKI_TOKEN"}
    assert content.settings.endpoints[0].timeouts.connect_s == 5


def _is_setting(line):
    try:
        return bool(tomllib.loads(line.removeprefix("# ")))
    except tomllib.TOMLDecodeError:
        return False
