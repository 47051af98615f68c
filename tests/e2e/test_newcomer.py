"""From a bare machine to the first answer: the README's first line, an empty HOME, no server, no model."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.support.lmchat_screen import WIDE, stored
from tests.support.network_guard import GUARD
from tests.support.programs import ROOT
from tests.support.pty_program import PtyProgram

pytestmark = [pytest.mark.slow, pytest.mark.timeout(420)]

_FROM_OUTSIDE = ("PIP_", "UV_", "SSL_CERT", "REQUESTS_CA", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY")
"""How the machine reaches its package index; the rest of the environment is not the newcomer's."""


def _first_line() -> str:
    """Return the line below “Install and start”, as it stands there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (line,) = re.findall(
        r"^## Install and start\n.*?^```sh\n(.*?)\n```", text, re.MULTILINE | re.DOTALL
    )
    return line


def _clone(folder: Path) -> Path:
    """Put what a clone holds, as far as it is installed, into a folder of its own."""
    shutil.copytree(
        ROOT / "lmchat", folder / "lmchat", ignore=shutil.ignore_patterns("__pycache__")
    )
    for name in ("pyproject.toml", "README.md", "LICENSE", "CHANGELOG.md", "config.example.toml"):
        shutil.copyfile(ROOT / name, folder / name)
    return folder


def _environment() -> dict[str, str]:
    """Return what the index needs; the guard lets pip leave the machine."""
    passed = {
        name: value for name, value in os.environ.items() if name.upper().startswith(_FROM_OUTSIDE)
    }
    folders = [str(Path(sys.executable).resolve().parent), "/usr/local/bin", "/usr/bin", "/bin"]
    return passed | {
        "PATH": os.pathsep.join(folders),
        "PYTHONPATH": str(GUARD),
        "LMCHAT_HOME": "",
        "PIP_NO_COMPILE": "1",
    }


def test_the_first_line_leads_to_the_first_answer_of_a_real_model(tmp_path):
    folder = _clone(tmp_path / "clone")
    home = tmp_path / "home"
    home.mkdir()
    with PtyProgram(
        ["bash", "-c", f"{_first_line()}\nlmchat sessions"],
        home=home,
        size=WIDE,
        cwd=folder,
        env=_environment(),
    ) as screen:
        screen.wait_for("Try the built-in engine", 240)
        screen.type("\r")
        screen.wait_for("Download a demo model?", 30)
        screen.wait_for("Apache-2.0")
        screen.wait_quiet(0.6)  # it takes no key at once
        screen.type("\r")
        screen.wait_for("built-in         ready", 120)
        screen.type("Say hello.\r")
        screen.wait_for(re.compile(r"answering|tok in "), 60)
        screen.type("\x1b")  # a small model may go on for a minute
        screen.wait_for(re.compile(r"tok in |stopped"))
        screen.type("\x11")
        screen.wait_for("Say hello.")  # the next line of the same shell knows the bare name
        assert screen.wait_exit() == 0
        assert screen.left_behind() == []
    question, answer = stored(home / ".config").messages
    assert question.text == "Say hello."
    assert answer.text
