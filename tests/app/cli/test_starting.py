from __future__ import annotations

import sys
from functools import partial

import pytest

from lmchat.base.extras import install_command

PYTHON = "/opt/my env/bin/python"
posix_command = partial(install_command, platform="linux")


@pytest.fixture
def there(monkeypatch, tmp_path):
    """What is there for an installation: pip, uv, pipx; its environment is `tmp_path`."""
    there = {"pip"}
    monkeypatch.setattr("sys.executable", PYTHON)
    monkeypatch.setattr("sys.prefix", str(tmp_path / "lmchat"))
    monkeypatch.setattr("shutil.which", lambda name: f"/usr/bin/{name}" if name in there else None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: name in there or None)
    monkeypatch.setattr(
        "importlib.metadata.requires",
        lambda _: ["rich", "b[c]>=6; extra == 'local'", "d; extra == 'local'", "e; extra == 'all'"],
    )
    (tmp_path / "lmchat").mkdir()
    return there


def test_an_extra_is_installed_by_the_pip_of_this_python_or_else_by_uv(there, tmp_path):
    assert posix_command("local") == f"'{PYTHON}' -m pip install 'b[c]>=6' d"
    there.clear()
    assert posix_command("local") == f"pip --python '{PYTHON}' install 'b[c]>=6' d"
    there.add("uv")
    assert posix_command("local") == f"uv pip install --python '{PYTHON}' 'b[c]>=6' d"
    assert posix_command("new") == f"uv pip install --python '{PYTHON}' 'lmchat[new]'"


def test_a_python_of_the_system_that_refuses_packages_is_told_to_take_them(
    there, tmp_path, monkeypatch
):
    monkeypatch.setattr("sysconfig.get_path", lambda _: str(tmp_path))
    (tmp_path / "EXTERNALLY-MANAGED").touch()
    assert posix_command("local") == f"'{PYTHON}' -m pip install 'b[c]>=6' d"  # of a venv
    monkeypatch.setattr("sys.base_prefix", sys.prefix)
    added = "--break-system-packages 'b[c]>=6' d"
    assert posix_command("local") == f"'{PYTHON}' -m pip install {added}"
    there.symmetric_difference_update({"pip", "uv"})
    assert posix_command("local") == f"uv pip install --python '{PYTHON}' {added}"


def test_what_pipx_installed_gets_an_extra_from_pipx(there, tmp_path):
    (tmp_path / "lmchat" / "pipx_metadata.json").touch()
    assert posix_command("local").startswith(f"'{PYTHON}' -m pip")
    there.add("pipx")
    assert posix_command("local") == "pipx inject lmchat 'b[c]>=6' d"


def test_on_windows_the_command_has_quotes_that_cmd_and_powershell_know(there, monkeypatch):
    monkeypatch.setattr("sys.executable", r"C:\Py\python.exe")
    command = install_command("local", platform="win32")
    assert command == r'C:\Py\python.exe -m pip install "b[c]>=6" d'
    monkeypatch.setattr("sys.executable", r"C:\My Py\python.exe")
    command = install_command("local", platform="win32")
    assert command == r'py -m pip --python "C:\My Py\python.exe" install "b[c]>=6" d'
