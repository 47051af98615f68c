"""Wheel and sdist: what is in them, and that they install and start on every Python that we promise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from lmchat import __version__
from tests.support.lmchat_screen import STEADY, configure, ready_screen
from tests.support.pty_program import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_PYTHONS = ("3.11", "3.13", "3.14", "3.15")
_PACKAGE = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "lmchat").rglob("*")
    if path.is_file() and path.suffix in (".py", ".pyi", ".tcss", ".toml", ".typed")
}


def _run(*argv: str | Path, **options) -> str:
    """Run what may go to the package index, which the guard of the tests forbids to lmchat."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603 - the tests say what runs
        [str(word) for word in argv],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def _interpreter(version: str) -> str:
    """Return a Python of this version; nothing where the machine has none."""
    if sys.version_info[:2] == tuple(int(part) for part in version.split(".")):
        return sys.executable
    known = sorted(Path.home().glob(f".pyenv/versions/{version}.*/bin/python"))
    for name in (*map(str, known), shutil.which(f"python{version}") or ""):
        if not name:
            continue
        command = [name, "-c", "import venv, ensurepip"]
        if subprocess.run(command, check=False).returncode == 0:  # noqa: S603 - this machine's
            return name
    return ""


@pytest.fixture(scope="module")
def packages(tmp_path_factory) -> dict[str, Path]:
    """Both packages, built as for a release: the wheel out of the sdist."""
    folder = tmp_path_factory.mktemp("dist")
    _run(sys.executable, "-m", "build", "--outdir", folder, ROOT)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return {"wheel": wheel, "sdist": sdist}


def test_the_wheel_holds_the_program_and_nothing_else(packages):
    assert packages["wheel"].name.endswith("-py3-none-any.whl")  # no compiler is needed
    names = set(zipfile.ZipFile(packages["wheel"]).namelist())
    meta = f"lmchat-{__version__}.dist-info"
    assert {name for name in names if not name.startswith(meta)} == _PACKAGE
    assert {name.removeprefix(f"{meta}/") for name in names if name.startswith(meta)} == {
        "METADATA",
        "RECORD",
        "WHEEL",
        "entry_points.txt",
        "licenses/LICENSE",
    }


def test_the_sdist_holds_what_makes_and_tests_the_program(packages):
    with tarfile.open(packages["sdist"]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert names >= _PACKAGE
    tops = {name.partition("/")[0] for name in names}
    assert tops - {".gitignore"} == {
        "CHANGELOG.md",
        "LICENSE",
        "PKG-INFO",
        "README.md",
        "config.example.toml",
        "docs",
        "lmchat",
        "pyproject.toml",
        "tests",
    }
    assert not any(
        "__pycache__" in name or name.endswith((".pyc", ".gguf", ".db")) for name in names
    )


@pytest.mark.parametrize("version", [version for version in _PYTHONS if _interpreter(version)])
def test_the_wheel_installs_starts_and_answers(version, packages, tmp_path, real_server):
    _run(_interpreter(version), "-m", "venv", "--without-pip", tmp_path / "venv")
    pip = (sys.executable, "-m", "pip", "--python", tmp_path / "venv/bin/python")
    _run(*pip, "install", "-q", "--no-compile", packages["wheel"])
    assert _run(tmp_path / "venv/bin/lmchat", "--version").strip() == f"lmchat {__version__}"
    home = tmp_path / "home"
    home.mkdir()
    configure(home, STEADY + "max_tokens = 16\n")
    with ready_screen(home, real_server.url, argv=(str(tmp_path / "venv/bin/lmchat"),)) as screen:
        screen.ask("Say hello.", sees="max tokens reached")
        screen.type("\x11")
        assert screen.wait_exit() == 0
        assert screen.left_behind() == []
