from __future__ import annotations

import os
from pathlib import Path

import pytest

from lmchat.core.servers.local.installed import engine_command, installed_products
from lmchat.core.servers.products import product_named
from tests.support.programs import put_script


def found(home: Path, **environ: str) -> dict[str, object]:
    environ = {"PATH": str(home / "nowhere"), **environ}
    return {one.product: one for one in installed_products(environ, home)}


@pytest.mark.posix  # its programs are scripts of sh
def test_a_program_on_the_path_is_found_if_it_can_be_run(tmp_path):
    system_wide = {"Ollama", "LM Studio", "Jan"}
    assert set(found(tmp_path)) <= system_wide
    put_script(tmp_path / "bin" / "vllm", "").chmod(0o644)
    assert "vLLM" not in found(tmp_path, PATH=str(tmp_path / "bin"))
    for name, product in (
        ("lms", "LM Studio"),
        ("jan", "Jan"),
        ("llama-server", "llama.cpp"),
        ("ollama", "Ollama"),
        ("vllm", "vLLM"),
        ("litellm", "LiteLLM"),
    ):
        file = put_script(tmp_path / "bin" / name, "")
        one = found(tmp_path, PATH=str(tmp_path / "bin"))[product]
        assert one.how_to_start
        assert not one.start or one.start[0] == str(file)


def test_a_llama_server_of_path_is_an_engine(tmp_path):
    program = tmp_path / "llama-server"
    program.touch(mode=0o755)
    assert engine_command({"PATH": str(tmp_path)})


@pytest.mark.posix  # its programs are scripts of sh
def test_lm_studio_is_found_by_its_own_folder_with_or_without_its_program(tmp_path):
    (tmp_path / ".lmstudio").mkdir()
    one = found(tmp_path)["LM Studio"]
    assert (one.start, "Developer" in one.how_to_start) == ((), True)
    file = put_script(tmp_path / ".lmstudio" / "bin" / "lms", "")
    assert found(tmp_path)["LM Studio"].start == (str(file), "server", "start")


def test_ollama_may_have_its_models_on_another_disk(tmp_path):
    folders = product_named("Ollama").program.model_folders
    assert folders({"OLLAMA_MODELS": str(tmp_path)}, tmp_path)[0] == tmp_path
    assert folders({"OLLAMA_MODELS": "models"}, tmp_path) == folders({}, tmp_path)


@pytest.mark.parametrize("path", ["", ".", "bin"])
def test_a_program_of_the_current_folder_is_not_offered(tmp_path, monkeypatch, path):
    put_script(tmp_path / "ollama", "")
    put_script(tmp_path / "bin" / "ollama", "")
    monkeypatch.chdir(tmp_path)
    assert "Ollama" not in found(tmp_path / "home", PATH=f"{path}{os.pathsep}/nowhere")
