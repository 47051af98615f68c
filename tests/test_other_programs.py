"""Other programs: none of the current folder is run by mistake, and none gets what is lmchat's own."""

from __future__ import annotations

import os

import pytest

from lmchat.engine.installer import find_installer
from lmchat.errors import EngineUnavailable
from lmchat.machine.listeners import port_holders
from lmchat.other_programs import environment_for_others, find_program
from tests.support.small_programs import put

RELATIVE = ["", ".", "bin", f"{os.pathsep}bin", f"bin{os.pathsep}"]


@pytest.fixture
def in_a_strange_folder(tmp_path, monkeypatch):
    """Stand in a folder with programs of well-known names, each of which leaves a trace when it is run."""
    for name in ("uv", "pip", "pip3", "lsof"):
        for folder in (tmp_path, tmp_path / "bin"):
            put(folder, name, f"open({str(tmp_path / 'trace')!r}, 'w')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("path", RELATIVE)
def test_only_folders_that_are_named_in_full_count(in_a_strange_folder, path):
    assert find_program("uv", path) == ""
    full = in_a_strange_folder / "bin"
    assert find_program("uv", f"{path}{os.pathsep}{full}") == str(full / "uv")


@pytest.mark.parametrize("path", RELATIVE)
def test_no_installer_of_the_current_folder_is_taken(in_a_strange_folder, monkeypatch, path):
    monkeypatch.setattr("lmchat.engine.installer.importlib.util.find_spec", lambda _: None)
    with pytest.raises(EngineUnavailable, match="Neither pip nor uv"):
        find_installer({"PATH": path})


@pytest.mark.parametrize("path", RELATIVE)
def test_no_lsof_of_the_current_folder_is_run(in_a_strange_folder, monkeypatch, path):
    monkeypatch.setattr("sys.platform", "darwin")
    monkeypatch.setenv("PATH", path)
    port_holders({1}, proc=in_a_strange_folder)
    assert not (in_a_strange_folder / "trace").exists()


def test_the_variables_of_lmchat_are_kept_back():
    environ = {"LMCHAT_API_KEY": "sk-secret", "PIP_INDEX_URL": "https://mirror", "PATH": "/bin"}
    assert environment_for_others(environ) == {"PIP_INDEX_URL": "https://mirror", "PATH": "/bin"}
