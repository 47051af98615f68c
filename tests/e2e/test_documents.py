"""README and docs: links lead somewhere, commands are commands, what is shown is what the program prints."""

from __future__ import annotations

import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest

from lmchat.app.cli.parser import parse
from lmchat.app.commands.table import BY_ID, FIRST_COMMANDS
from lmchat.app.tui.widgets.key_bar import written
from lmchat.core.answers.live_stats import Stage
from lmchat.core.servers.discovery.status import STATUS
from tests.support.programs import ROOT, Inside, run
from tests.support.recipes import commands_of

Cli = Inside

PAGES = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")))
_BLOCK = re.compile(r"^ *```sh\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
_FENCE = re.compile(r"^ *(?:```|~~~).*$", re.MULTILINE)
_KINDS = {"json", "python", "sh", "text", "toml", "yaml"}
_INLINE = re.compile(r"`(lmchat [^`\n]+)`")
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_CODE = re.compile(r"(?<!`)(`+)(?!`).*?(?<!`)\1(?!`)")
_FILLED = {"ID": "3f2a", "COMMAND": "models"}


def _commands(page: Path) -> set[tuple[str, ...]]:
    """Return the words after each `lmchat` of a page, up to the end of its command."""
    text = page.read_text(encoding="utf-8")
    prose = "\n".join(line for line in text.splitlines() if not line.startswith("#"))
    lines = [
        line for block in _BLOCK.findall(text) for line in block.splitlines()
    ] + _INLINE.findall(prose)
    return {command for line in lines for command in commands_of(line)}


def _links(page: Path) -> list[str]:
    """Leave out code: patterns of refusals have brackets, too."""
    return _LINK.findall(_CODE.sub("", page.read_text(encoding="utf-8")))


@pytest.mark.leaf("batch", "doctor", "imports", "serve")
def test_commands_that_are_shown_are_commands_and_links_lead_to_files_that_are_there():
    for page in PAGES:
        fences = _FENCE.findall(page.read_text(encoding="utf-8"))
        assert {fence.strip() for fence in fences[::2]} <= {f"```{kind}" for kind in _KINDS}, page
        assert {fence.strip() for fence in fences[1::2]} <= {"```"}, page
    left_out = ("--help", "--version")
    for words in {words for page in PAGES for words in _commands(page)}:
        parse([_FILLED.get(word, word) for word in words if word not in left_out])
    for page in PAGES:
        for link in _links(page):
            assert "://" in link or (page.parent / link).exists(), (page, link)


@pytest.mark.leaf("batch", "doctor", "plain", "serve", "imports")
def test_pages_name_modules_and_rooms_that_are_there():
    places = [f"{path}/" for path in ROOT.glob("[lt]*/**/*")]  # of program and tests
    for page in PAGES:
        for name in re.findall(
            r"`([a-z_]+/[a-z_/.]*(?:\.py|/))`", page.read_text(encoding="utf-8")
        ):
            shown = f"/{name.strip('/')}/"
            assert any(shown in place for place in places), name


def test_the_readme_has_the_keys_of_the_first_commands_in_the_help():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    _, _, table = text.partition("## Keys")
    shown = [
        cell.strip() for line in table.split("\n\n")[2].splitlines() for cell in line.split("|")
    ]
    keys = (BY_ID[name].keys.partition(",")[0] for name in FIRST_COMMANDS)
    assert {
        key for key in (written(key, ctrl="Ctrl+") for key in keys) if key not in shown
    } == set()


def test_every_page_can_be_reached_from_the_readme():
    seen = set()
    left = [ROOT / "README.md"]
    while left:
        page = left.pop()
        if page in seen or page.suffix != ".md":
            continue
        seen.add(page)
        left += [(page.parent / link).resolve() for link in _links(page) if "://" not in link]
    assert set(PAGES) <= seen


def test_troubleshooting_has_a_row_for_each_verdict_and_names_each_stage():
    text = (ROOT / "docs/troubleshooting.md").read_text(encoding="utf-8")
    words = list(dict.fromkeys(meaning.word for meaning in STATUS.values()))
    assert re.findall(r"^\| `([^`]+)` \|", text, re.MULTILINE) == words
    for stage in Stage:
        assert stage is Stage.ENDED or f"`{stage.value}`" in text


@pytest.mark.timeout(120)
def test_what_the_guide_shows_runs_against_a_real_server(real, tmp_path):
    """Its blocks in their order, in one home, but for the screen and downloads; JSON has the keys shown.

    Those of the commands in scripts.md come where the guide names them.
    """
    guide = (ROOT / "docs/guide.md").read_text(encoding="utf-8")
    guide, _, following = guide.partition("## Another machine")  # test_another_machine runs it
    guide += following.partition("\n## ")[2]
    scripts = (ROOT / "docs/scripts.md").read_text(encoding="utf-8")
    _, heading, details = scripts.partition("## What the commands do")
    guide = guide.replace("## Configuration", f"{heading}{details}## Configuration")
    lines = [
        line
        for block in _BLOCK.findall(guide)
        for line in block.splitlines()
        if line != "lmchat" and not line.startswith("lmchat --local")
    ]
    program = " ".join(shlex.quote(word) for word in real.argv())
    real.cwd = tmp_path
    with (real.folder / "config.toml").open("a") as file:
        file.write("max_tokens = 32\n")
        file.writelines(
            re.findall(r"^```toml\n(\[prompts.*?)^```", guide, re.MULTILINE | re.DOTALL)
        )
    printed = {}
    for line in lines:
        if line == "lmchat config init":  # the file that kept the answers steady until here
            (real.folder / "config.toml").unlink()
        if line.startswith("lmchat ") and ">" not in line:
            done = real(*shlex.split(line)[1:])
        else:
            command = re.sub(r"\blmchat\b", lambda _: program, line, count=1)
            env = {"PYTHONPATH": str(ROOT)}
            done = run(["/bin/sh", "-c", command], home=real.home, cwd=tmp_path, env=env)
        assert done.returncode == 0, (line, done.stderr)
        printed[line] = done.stdout
    (shown,) = re.findall(r"^```json\n(.*?)^```", guide, re.MULTILINE | re.DOTALL)
    answer = json.loads(next(text for line, text in printed.items() if "ask --json" in line))
    assert list(json.loads(shown)) == list(answer)
    assert list(json.loads(shown)["usage"]) == list(answer["usage"])
    assert "Name one vegetable." in (tmp_path / "vegetables.json").read_text()


@pytest.mark.timeout(90)
def test_the_examples_of_tools_work_as_they_are_written(real, tmp_path):
    page = (ROOT / "docs/tools.md").read_text(encoding="utf-8")
    # installed beside lmchat here, and not downloaded
    page = page.replace("-- uvx mcp-server-time", "-- mcp-server-time")
    config, functions, commands = (
        re.findall(rf"^```{kind}\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
        for kind in ("json", "python", "sh")
    )
    notes = tmp_path / "notes"
    notes.mkdir()
    (notes / "garden.md").write_text("Lettuce grows in shade.")
    (notes / "notes.py").write_text(functions[0])
    (real.folder / "tools.py").write_text(functions[1])
    added, entry = config  # the first by the first command
    added = json.loads(added.replace('"uvx"', '"mcp-server-time"'))
    del added["mcpServers"]["time"]["args"]
    entry = json.loads(f"{{{entry.replace('/home/me/notes', str(notes))}}}")
    settings = (real.folder / "config.toml").read_text() + "max_tokens = 32\n"
    (real.folder / "config.toml").write_text(settings)
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    printed = []
    others = re.compile(r"npx|uvx|https:|mcp\.json")  # servers and files that are not here
    for line in "".join(commands).splitlines():
        if others.search(line):
            continue
        _, *words = shlex.split(line)
        done = real(*words, PATH=path)
        assert done.returncode == 0, (line, done.stderr)
        printed.append(done.stdout)
        if len(printed) == 1:
            file = real.folder / "mcp.json"
            assert json.loads(file.read_text(encoding="utf-8")) == added
            real.add_servers(**added["mcpServers"], **entry)
    adding, time, note, listed, count, _ = printed
    assert adding.startswith("Added time: ")
    assert "Asia/Tokyo" in time
    assert note.strip() == "Lettuce grows in shade."
    assert {"time/get_current_time", "notes/read_note", "python/count_words"} <= set(listed.split())
    assert count.strip() == "3"
