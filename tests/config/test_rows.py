from __future__ import annotations

import tomllib
import typing

import pytest
from msgspec.structs import fields

from lmchat.config.example import example_text
from lmchat.config.load import read_file
from lmchat.config.rows import ENDPOINT, PROFILE, SECTIONS, Kind, wrong
from tests.support.pty_program import ROOT

_ALL = (*SECTIONS, ENDPOINT, PROFILE)
_NESTED = {"chat", "limits", "timeouts", "ui", "keys", "local", "endpoints", "profiles"}
_KINDS = {str: Kind.TEXT, int: Kind.INTEGER, float: Kind.NUMBER, bool: Kind.BOOLEAN}


@pytest.mark.parametrize("section", _ALL, ids=lambda section: section.name or "top")
def test_the_rows_are_exactly_the_fields_of_the_settings(section):
    names = [field.name for field in fields(section.settings)]
    if section.name == "":
        names = [name for name in names if name not in _NESTED]
    assert [row.name for row in section.rows] == names


@pytest.mark.parametrize("section", _ALL, ids=lambda section: section.name or "top")
def test_the_kinds_are_those_of_the_fields(section):
    hints = typing.get_type_hints(section.settings)
    for row in section.rows:
        hint = hints[row.name]
        plain = next((one for one in typing.get_args(hint) if one is not type(None)), hint)
        if hint == tuple[str, ...] or plain == tuple[str, ...]:
            assert row.kind is Kind.TEXTS, row.name
        else:
            assert row.kind is _KINDS.get(plain, Kind.TIMEOUTS), row.name


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.name or "top")
def test_every_default_passes_its_own_check(section):
    defaults = section.settings()
    for row in section.rows:
        value = getattr(defaults, row.name)
        if value is not None:
            assert wrong(row, list(value) if isinstance(value, tuple) else value) == "", row.name


@pytest.mark.parametrize("section", _ALL, ids=lambda section: section.name or "top")
def test_every_example_passes_its_own_check(section):
    for row in section.rows:
        if row.example is not None:
            assert wrong(row, row.example) == "", row.name


def test_the_example_file_is_what_the_rows_generate():
    assert (ROOT / "config.example.toml").read_text() == example_text()


def test_the_example_file_sets_nothing(tmp_path):
    file = tmp_path / "config.toml"
    file.write_text(example_text())
    content = read_file(file)
    assert content.problems == ()
    assert not any(content.sections.values())


def test_every_line_of_the_example_file_can_be_switched_on(tmp_path):
    lines = example_text().splitlines()
    settings = [line.removeprefix("# ") if _is_setting(line) else line for line in lines]
    file = tmp_path / "config.toml"
    file.write_text("\n".join(settings))
    content = read_file(file)
    assert content.problems == ()
    named = {row.name for section in SECTIONS for row in section.rows}
    assert {name for values in content.sections.values() for name in values} == named
    assert list(content.profiles) == ["short"]
    assert content.endpoints[0]["timeouts"] == {"connect_s": 5}


def _is_setting(line):
    try:
        return bool(tomllib.loads(line.removeprefix("# ")))
    except tomllib.TOMLDecodeError:
        return False
