from __future__ import annotations

import json
import os

import pytest
from msgspec.structs import replace

from lmchat.base.errors import WrongUse
from lmchat.core.servers.local.gguf import (
    best_model,
    find_models_on_disk,
    find_named_model,
    gguf_models,
    with_unique_names,
)
from tests.support.engine_home import write_model

GB = 10**9


@pytest.fixture
def found(tmp_path):
    """Return what is found in a home, by name."""

    def look(**environ):
        models = find_models_on_disk({"HOME": str(tmp_path), **environ})
        return {model.name: model for model in with_unique_names(models)}

    return look


def walk(folder):
    return [model.name for model in gguf_models({folder: "here"})]


@pytest.mark.parametrize(
    ("folder", "source"),
    [
        (".lmstudio/models/org/repo", "LM Studio"),
        (".cache/lm-studio/models/org/repo", "LM Studio"),
        (".local/share/Jan/data/llamacpp/models/org", "Jan"),
        ("jan/models", "Jan"),
        (".cache/llama.cpp", "llama.cpp"),
        ("chosen/llama", "llama.cpp"),
        ("chosen/lm-studio", "LM Studio"),
        (".cache/huggingface/hub/models--org--repo/snapshots/abc", "Hugging Face"),
    ],
)
def test_each_programs_folder_is_looked_into(tmp_path, found, folder, source):
    chosen = {"downloadsFolder": str(tmp_path / "chosen/lm-studio")}
    write_model(tmp_path / folder / "qwen3-8b-Q4_K_M.gguf", size_bytes=5000)
    (tmp_path / ".lmstudio").mkdir(exist_ok=True)
    (tmp_path / ".lmstudio/settings.json").write_text(json.dumps(chosen), encoding="utf-8")
    model = found(LLAMA_CACHE=str(tmp_path / "chosen/llama"))["qwen3-8b-Q4_K_M"]
    assert (model.source, model.size_bytes, model.quantization) == (source, 5000, "Q4_K_M")
    assert (model.parts, model.is_demo) == (1, False)


@pytest.mark.parametrize(
    "folder",
    [
        ".lmstudio/models/org/Alder-GGUF",
        ".cache/huggingface/hub/models--org--Alder-GGUF/snapshots/abc",
        "cache/models--org--Alder-GGUF/snapshots/abc",
        "home/hub/models--org--Alder-GGUF/snapshots/abc/sub",
    ],
)
def test_a_name_of_the_hub_means_the_file_that_is_already_here(
    tmp_path, found, folder, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    environ = {}
    if not folder.startswith("."):
        name = "HF_HUB_CACHE" if folder.startswith("cache") else "HF_HOME"
        environ = {name: str(tmp_path / folder.partition("/")[0])}
    path = write_model(tmp_path / folder / "alder-q8_0.gguf")
    write_model(tmp_path / ".lmstudio/models/org/other/other-Q4_K_M.gguf")
    for name in ("org/alder-gguf", "org/Alder-GGUF:Q8_0", "org/Alder-GGUF:alder-q8_0.gguf"):
        assert find_named_model(name, tuple(found(**environ).values())).path == path
    write_model(tmp_path / folder / "alder-q2_k.gguf")
    with pytest.raises(WrongUse, match="There is no model org/Alder-GGUF on this disk"):
        find_named_model("org/Alder-GGUF", tuple(found(**environ).values()))


@pytest.mark.parametrize(
    "settings", ["", "{", "[]", '{"downloadsFolder": 5}', '{"downloadsFolder": "a\\u0000b"}']
)
def test_settings_that_are_damaged_cost_themselves_alone(tmp_path, found, settings):
    write_model(tmp_path / ".lmstudio/models/a.gguf")
    (tmp_path / ".lmstudio/settings.json").write_text(settings, encoding="utf-8")
    assert set(found()) == {"a"}


@pytest.mark.posix  # Windows has no named pipes in folders
def test_what_cannot_talk_by_its_name_or_is_no_file_is_left_out(tmp_path):
    write_model(tmp_path / "mmproj-F16.gguf")
    write_model(tmp_path / "nomic-Embed-text-v1.5.Q4_K_M.gguf")
    write_model(tmp_path / "big-00001-of-00002.gguf")
    (tmp_path / "folder.gguf").mkdir()
    os.mkfifo(tmp_path / "pipe.gguf")
    (tmp_path / "gone.gguf").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.gguf").symlink_to(tmp_path / "loop.gguf")
    write_model(tmp_path / "GOOD.GGUF")
    write_model(tmp_path / os.fsdecode(b"no-utf-8-\xff.gguf"))
    assert walk(tmp_path) == ["GOOD"]


def test_links_that_go_in_circles_and_second_names_are_survived(tmp_path):
    write_model(tmp_path / "a/one.gguf")
    (tmp_path / "a/up").symlink_to(tmp_path)
    (tmp_path / "b").symlink_to(tmp_path / "a")
    (tmp_path / "two.gguf").symlink_to(tmp_path / "a/one.gguf")
    assert len(walk(tmp_path)) == 1


def test_a_third_model_of_the_same_name_in_a_folder_of_the_same_name_is_listed_too(tmp_path):
    for program in ("one", "three", "two"):
        write_model(tmp_path / program / "folder/same.gguf")
    models = with_unique_names(gguf_models({tmp_path: ""}))
    assert [model.name for model in models] == ["same", "folder/same", "two/folder/same"]


def test_a_model_is_named_by_its_file_or_as_it_is_listed(tmp_path, found, monkeypatch):
    write_model(tmp_path / ".lmstudio/models/Listed.gguf")
    elsewhere = write_model(tmp_path / "else/where.gguf")
    models = tuple(found().values())
    for name in ("listed", str(tmp_path / ".lmstudio/models/Listed.gguf")):
        assert find_named_model(name, models).source == "LM Studio"
    assert find_named_model(str(elsewhere), models).name == "where"
    nameless = write_model(tmp_path / "Elm-4B/model.gguf")
    assert find_named_model(str(nameless), models).name == "Elm-4B"
    monkeypatch.chdir(tmp_path)
    assert find_named_model("else/where.gguf", models).path == elsewhere
    write_model(tmp_path / "else/models/near.gguf")
    for folder, is_found in ((f"{tmp_path}/else\n", True), ("else", False)):
        (tmp_path / ".lmstudio-home-pointer").write_text(folder, encoding="utf-8")
        assert ("near" in found()) is is_found


def test_a_name_that_is_none_is_told_with_what_could_be_meant(tmp_path, found):
    write_model(tmp_path / ".lmstudio/models/qwen3-8b.gguf")
    write_model(tmp_path / "half-00001-of-00002.gguf")
    models = tuple(found().values())
    for named, words in [
        ("qwen3-9b", "Did you mean qwen3-8b?"),
        ("nothing like it", "lmchat models --local"),
        ("nowhere.gguf", "nowhere.gguf does not exist, or"),
        ("https://me:secret@a.example/b.gguf", "An address cannot be a model."),
        (str(tmp_path / "half-00001-of-00002.gguf"), "is not a complete model file"),
        (str(tmp_path), "There is no model"),
    ]:
        with pytest.raises(WrongUse) as caught:
            find_named_model(named, models)
        assert words in caught.value.message_with_next_step


def test_the_best_model_is_the_last_used_else_the_largest_that_is_swift(
    tmp_path, found, monkeypatch
):
    for name, size in (("small", 1 * GB), ("middle", 3 * GB), ("large", 9 * GB), ("huge", 90 * GB)):
        write_model(tmp_path / ".lmstudio/models" / f"{name}.gguf", size_bytes=size)
    models = tuple(found().values())
    for free, last, best in (
        (16 * GB, "", "middle"),
        (16 * GB, "large", "large"),
        (16 * GB, "gone", "middle"),
        (2 * GB, "", "small"),
        (0, "", "small"),
    ):
        monkeypatch.setattr(
            "lmchat.core.servers.local.gguf.available_bytes", lambda free=free: free
        )
        for listed in (models, models[::-1]):
            assert best_model(listed, last=last).name == best
    huge, demo = (next(model for model in models if model.name == one) for one in ("huge", "small"))
    assert best_model((replace(demo, is_demo=True), huge)) is huge
    assert best_model(()) is None
