from __future__ import annotations

import os

import pytest

from lmchat.app.cli.screen_settings import keymap_problems
from lmchat.core.config.load import load


def _told(tmp_path, text):
    file = tmp_path / "config.toml"
    file.write_text(text, encoding="utf-8")
    problems = keymap_problems(load(file, {}))
    return [problem.sentence.removeprefix(f"{tmp_path}{os.sep}") for problem in problems]


@pytest.mark.parametrize(
    "key", ["f10", "ctrl+y", "alt+left", "ctrl+shift+f2", "left_curly_bracket", "é"]
)
def test_a_key_that_there_is_may_be_given(tmp_path, key):
    assert _told(tmp_path, f'[keys]\nfile = "{key}"') == []


def test_a_key_that_another_command_has_is_told(tmp_path):
    assert _told(tmp_path, '[keys]\nsearch = "ctrl+n"') == [
        'config.toml, line 2: keys.search: uses "ctrl+n", which is already a key of new'
    ]


def test_a_key_that_the_prompt_needs_is_told(tmp_path):
    told = _told(tmp_path, '[keys]\nfind = "enter,f10"\nnew = "x"\n"message.copy" = "x"')
    assert told == [
        'config.toml, line 2: keys.find: uses "enter", which the prompt needs',
        'config.toml, line 3: keys.new: uses "x", which the prompt needs',
    ]


def test_commands_may_swap_their_keys_and_share_those_of_other_places(tmp_path):
    text = '[keys]\nsearch = "ctrl+n"\nnew = "ctrl+k"\n"session.rename" = "y"'
    assert _told(tmp_path, text) == []


def test_a_key_that_works_everywhere_clashes_with_any_place(tmp_path):
    assert "already a key of quit" in _told(tmp_path, '[keys]\n"session.rename" = "ctrl+q"')[0]
