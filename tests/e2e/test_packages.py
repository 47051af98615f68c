"""Wheel and sdist: what is in them, and that they install and start on every Python that we promise."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from lmchat import __version__
from tests.support.lmchat_screen import STEADY, configure, ready_screen
from tests.support.programs import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_PYTHONS = ("3.13", "3.14", "3.15")  # test_newcomer.py has that of the tests
_PACKAGE = {
    str(path.relative_to(ROOT))
    for path in (ROOT / "lmchat").rglob("*")
    if path.is_file() and path.suffix in (".py", ".pyi", ".tcss", ".toml", ".typed")
}


def _run(*argv: str | Path, env: Mapping[str, str] | None = None, **options) -> str:
    """Run what may go to the package index, which the guard of the tests forbids to lmchat."""
    environ = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(  # noqa: S603 - the tests say what runs
        [str(word) for word in argv],
        env=environ | dict(env or {}),
        capture_output=True,
        text=True,
        check=False,
        **options,
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def _interpreter(version: str) -> str:
    """Return a Python of this version; nothing where the machine has none."""
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


_INSTALLS = {
    "my env": "'{python}' -m venv 'my env' && 'my env/bin/pip' install -q '{wheel}'",
    "no pip": "uv venv -q -p '{python}' 'no pip' && uv pip install -q -p 'no pip/bin/python' '{wheel}'",
    "uv/lmchat": "uv tool install -q -p '{python}' --with tzdata 'lmchat[web] @ {wheel}'",
    "pipx/venvs/lmchat": "pipx install --python '{python}' '{wheel}' && pipx inject lmchat inscriptis lxml",
}
"""How people install the program, by the folder of its environment."""


@pytest.mark.parametrize("environment", _INSTALLS)
def test_the_command_of_a_hint_installs_an_extra_and_keeps_the_rest(
    environment, packages, tmp_path
):
    def shell(command: str) -> None:
        _run("bash", "-euc", command, cwd=tmp_path, env=_own_tools(tmp_path))

    def installed() -> set[str]:
        words = "import importlib.metadata as m; print(*{d.name for d in m.distributions()})"
        return set(_run(python, "-c", words).split())

    shell(_INSTALLS[environment].format(python=sys.executable, wheel=packages["wheel"]))
    python = tmp_path / environment / "bin" / "python"
    before = installed()
    words = "from lmchat.base.extras import install_command; print(install_command('pdf'))"
    shell(_run(python, "-c", words, env=_own_tools(tmp_path)))
    assert installed() >= before | {"pypdf", "cryptography"}


def _own_tools(folder: Path) -> dict[str, str]:
    """Return an environment in which pipx and uv keep what they install in a folder."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
        "PIP_NO_COMPILE": "1",  # little of it is imported
        "PIPX_HOME": str(folder / "pipx"),
        "PIPX_BIN_DIR": str(folder / "bin"),
        "UV_TOOL_DIR": str(folder / "uv"),
        "UV_TOOL_BIN_DIR": str(folder / "bin"),
        "UV_SYSTEM_CERTS": "1",  # as pip does: an index may have a certificate of the machine
    }
