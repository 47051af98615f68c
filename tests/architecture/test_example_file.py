from __future__ import annotations

import tomllib

from lmchat.core.config.load import load
from lmchat.core.config.settings import Settings
from lmchat.core.config.toml import toml_value
from tests.support.reference import EXAMPLES, example_text, sections, value_settings


def test_both_copies_of_the_example_file_are_what_the_settings_generate():
    assert [example.read_text(encoding="utf-8") for example in EXAMPLES] == [example_text()] * 2


def test_the_example_file_sets_nothing(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(example_text(), encoding="utf-8")
    content = load(file, {})
    assert (content.problems, content.settings, content.origins) == ((), Settings(), {})


def test_every_line_of_the_example_file_can_be_switched_on(tmp_path):
    lines = example_text().splitlines()
    settings = [line.removeprefix("# ") if _is_setting(line) else line for line in lines]
    file = tmp_path / "config.toml"
    file.write_text("\n".join(settings), encoding="utf-8")
    content = load(file, {})
    assert content.problems == ()
    for section, (table, _) in sections().items():
        for name in value_settings(table):
            assert (f"{section}.{name}" if section else name) in content.origins
    assert content.settings.models["qwen3*"].temperature == 0.7
    assert list(content.settings.profiles) == ["short"]
    assert content.settings.prompts["french"].text == "Translate into French: {{input}}"
    assert content.settings.tools.approval == {"files/read_text": "always", "python": "always"}
    assert content.settings.endpoints[0].timeouts.connect_s == 5


def test_a_value_is_written_as_toml_whatever_its_keys_are():
    value = {"🌱 seed": [1, "é\n"], "plain-key": True}
    assert tomllib.loads(f"value = {toml_value(value)}") == {"value": value}


def _is_setting(line):
    try:
        return bool(tomllib.loads(line.removeprefix("# ")))
    except tomllib.TOMLDecodeError:
        return False
