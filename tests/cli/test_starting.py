from __future__ import annotations

import sys
from functools import partial

import pytest

from lmchat.extras import install_command

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


def test_a_tool_of_uv_is_installed_again_with_all_that_it_had(there, tmp_path):
    wheel = tmp_path / "my wheel.whl"
    wheel.touch()
    for tool, word in {
        f"path = '{wheel}'": f"'lmchat[web] @ {wheel.as_uri()}'",
        f"directory = '{tmp_path}'": f"'lmchat[web] @ {tmp_path.as_uri()}'",
        'path = "/downloads/gone.whl"': "'lmchat[web]'",  # what is installed stays
        'editable = "/src/lmchat"': "--editable '/src/lmchat[web]'",
        'git = "https://host/a?rev=main"': "'lmchat[web] @ git+https://host/a@main'",
        'git = "https://host/a"': "'lmchat[web] @ git+https://host/a'",
        'url = "https://host/a.whl"': "'lmchat[web] @ https://host/a.whl'",
        'specifier = "<2"': "'lmchat[web]<2'",
    }.items():
        (tmp_path / "lmchat" / "uv-receipt.toml").write_text(
            f'[tool]\nrequirements = [{{ name = "lmchat", extras = ["web"], {tool} }},'
            ' { name = "tzdata" }, { name = "x", extras = ["y"], specifier = ">=1" }]\n'
        )
        had = "--with tzdata --with 'x[y]>=1'"
        command = f"uv tool install {had} --with 'b[c]>=6' --with d {word}"
        assert posix_command("local") == command


def test_on_windows_the_command_has_quotes_that_cmd_and_powershell_know(there, monkeypatch):
    monkeypatch.setattr("sys.executable", r"C:\Py\python.exe")
    command = install_command("local", platform="win32")
    assert command == r'C:\Py\python.exe -m pip install "b[c]>=6" d'
    monkeypatch.setattr("sys.executable", r"C:\My Py\python.exe")
    command = install_command("local", platform="win32")
    assert command == r'py -m pip --python "C:\My Py\python.exe" install "b[c]>=6" d'
