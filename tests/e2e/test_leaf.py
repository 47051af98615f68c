"""Builds without a leaf, which the imports of a run are made to miss."""

from __future__ import annotations

import json

import pytest

from tests.support.programs import PYTHON, run

_RUN = """
import sys
house = "core" if sys.argv[1] == "imports" else "app.leaves"
sys.modules[f"lmchat.{house}.{sys.argv[1]}"] = None
del sys.argv[1]
from lmchat.__main__ import main
sys.exit(main())
"""


def without(leaf, *words, home, **options):
    return run([PYTHON, "-c", _RUN, leaf, *words], home=home, **options)


@pytest.mark.parametrize(
    ("leaf", "words", "name"),
    [
        ("batch", ["eval", "cases.toml", "--runs", "2"], "eval"),
        ("serve", ["--config", "x", "serve", "--port", "9000"], "serve"),
        ("plain", ["--plain"], "plain"),
        ("doctor", ["doctor", "--json"], "doctor"),
    ],
)
def test_a_command_that_a_build_lacks_is_named_and_not_in_its_help(tmp_path, leaf, words, name):
    done = without(leaf, *words, home=tmp_path)
    assert f"This build of lmchat has no {name}." in done.stdout + done.stderr
    assert done.returncode == 2
    commands = without(leaf, "--help", home=tmp_path).stdout
    assert not [line for line in commands.splitlines() if line.startswith(f"  {name} ")]


def test_a_build_without_other_programs_imports_own_exports(tmp_path):
    talk = json.dumps([{"role": "user", "content": "Which vegetables?"}])
    done = without("imports", "import", "-", home=tmp_path, stdin=talk)
    assert "lmchat imports its own JSON exports." in done.stderr
    refused = without("imports", "import", "--from", "jan", home=tmp_path).stderr
    assert "choose from auto, all, lmchat" in refused.replace("'", "")
