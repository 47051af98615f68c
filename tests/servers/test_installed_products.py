from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmchat.servers.discovery.launcher import installed_products


def program(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / name
    file.write_text("#!/bin/sh\n")
    file.chmod(0o755)
    return file


def found(home: Path, **environ: str) -> dict[str, object]:
    environ = {"PATH": str(home / "nowhere"), **environ}
    return {one.product: one for one in installed_products(environ, home)}


@pytest.mark.parametrize(
    ("name", "product"),
    [
        ("lms", "LM Studio"),
        ("jan", "Jan"),
        ("llama-server", "llama.cpp"),
        ("ollama", "Ollama"),
        ("vllm", "vLLM"),
        ("litellm", "LiteLLM"),
    ],
)
def test_a_program_on_the_path_is_found(tmp_path, name, product):
    file = program(tmp_path / "bin", name)
    one = found(tmp_path, PATH=str(tmp_path / "bin"))[product]
    assert one.start_words
    assert not one.start or one.start[0] == str(file)


@pytest.mark.parametrize("path", ["", ".", "bin"])
def test_a_program_of_the_current_folder_is_not_offered(tmp_path, monkeypatch, path):
    program(tmp_path, "ollama")
    program(tmp_path / "bin", "ollama")
    monkeypatch.chdir(tmp_path)
    assert "Ollama" not in found(tmp_path / "home", PATH=f"{path}{os.pathsep}/nowhere")


def test_lm_studios_program_is_found_in_its_own_folder_too(tmp_path):
    file = program(tmp_path / ".lmstudio" / "bin", "lms")
    one = found(tmp_path)["LM Studio"]
    assert one.start == (str(file), "server", "start")


def test_a_folder_alone_says_how_the_application_is_started(tmp_path):
    (tmp_path / ".lmstudio").mkdir()
    (tmp_path / ".local/share/Jan/data").mkdir(parents=True)
    here = found(tmp_path)
    assert here["LM Studio"].start == ()
    assert "Developer" in here["LM Studio"].start_words
    assert "Local API Server" in here["Jan"].start_words


def test_a_file_that_cannot_be_run_is_no_program(tmp_path):
    program(tmp_path / "bin", "ollama").chmod(0o644)
    here = found(tmp_path, PATH=str(tmp_path / "bin"))
    assert "Ollama" not in here or not here["Ollama"].start


def test_where_nothing_is_nothing_is_found(tmp_path):
    system_wide = {"Ollama", "LM Studio", "Jan"}
    assert set(found(tmp_path)) <= system_wide
    assert {one.product for one in installed_products({}, None)} <= system_wide
