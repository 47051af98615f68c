"""The programs of docs/api.md, run as they stand against the real server."""

from __future__ import annotations

import io
import json
import os
import runpy
import sys

import pytest

from tests.support.programs import ROOT, Inside, clean_environment
from tests.support.scripted_products import CHAT, calling, chat_reply

Cli = Inside
_EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))
_MOST_LINES = 32
_SEASON = "def season() -> str:\n    'Return the season.'\n    return 'It is spring.'\n"


@pytest.fixture
def run_example(real, monkeypatch, capsys):
    """Run an example in this process, for the user of the real server; return what it printed."""
    around = clean_environment(real.home)
    for name in {*os.environ} - {*around}:
        monkeypatch.delenv(name)
    for name, value in around.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("LMCHAT_ENDPOINT", real.url)

    def run(name, *arguments, stdin=""):
        monkeypatch.setattr(sys, "argv", [name, *map(str, arguments)])
        monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        runpy.run_path(str(ROOT / "docs" / "examples" / f"{name}.py"), run_name="__main__")
        return capsys.readouterr().out

    return run


@pytest.mark.timeout(120)
def test_each_program_of_the_page_does_what_it_says(
    run_example, real, server, monkeypatch, tmp_path
):
    """The model of the real server makes no calls, so a scripted one asks for the tool."""
    loaded, *answers = run_example("notebook").splitlines()
    assert loaded.endswith(" loaded in 0.0 s")
    assert [line.partition(":")[0] for line in answers] == ["0.0", "0.7", "1.4"]
    assert all("tokens/s" in line for line in answers)

    lines = run_example("batch", stdin="It is red.\n\nIt is green.\n").splitlines()
    assert {json.loads(line)["line"] for line in lines} == {"It is red.", "It is green."}
    assert all(json.loads(line)["plant"] for line in lines)

    said = run_example("bot", stdin="a Name one vegetable.\nb Hello.\na Another?\nc \n")
    assert "c: The prompt is empty." in said
    counts = {one["title"]: one["messages"] for one in real.json("sessions", "--json")["data"]}
    assert counts == {"Name one vegetable.": 4, "Hello.": 2}

    (real.folder / "tools.py").write_text(_SEASON)
    (real.folder / "config.toml").write_text("[chat]\nmax_tokens = 30\n")
    assert "\ncomplete\n" in run_example("front_end", "Which season is it?")
    server.on(CHAT, calling(("python__season", "{}")), chat_reply("Spring."))
    monkeypatch.setenv("LMCHAT_ENDPOINT", server.url)
    said = run_example("front_end", "Which season is it?", stdin="y\n")
    assert "'{}'\nRun python/season with this? [y/n]" in said
    assert "\n= It is spring.\nSpring.\ncomplete\n" in said

    folder = tmp_path / "week"
    assert len(run_example("export_week", folder).splitlines()) == 4
    assert sum("Name one vegetable." in file.read_text() for file in folder.iterdir()) == 1


def test_each_program_is_short_and_stands_in_the_page():
    page = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
    assert len(_EXAMPLES) == page.count('```python\n"""')
    for example in _EXAMPLES:
        text = example.read_text(encoding="utf-8")
        assert text in page
        assert len(text.splitlines()) <= _MOST_LINES
