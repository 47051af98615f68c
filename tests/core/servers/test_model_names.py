from __future__ import annotations

import pytest

from lmchat.core.answers.live_stats import LiveStats
from lmchat.core.servers.endpoint import loopback
from lmchat.core.servers.events import ModelNamed
from lmchat.core.servers.model import (
    LoadState,
    ModelInfo,
    find_by_part,
    find_model,
    has_other_name,
    is_other_model,
    model_meant,
    name_to_show,
    unknown_model_error,
)

SAME = [
    ("tiny", "tiny"),
    ("Qwen3-8B", "qwen3-8b"),
    ("llama3.2", "llama3.2:latest"),
    ("qwen3-8b", "qwen3-8b:2"),
    ("qwen3-8b@q4_k_m", "qwen3-8b"),
    ("openai/gpt-oss-20b", "gpt-oss-20b"),
    ("qwen3-0.6b", "/home/ada/models/Qwen3-0.6B-Q8_0.gguf"),
    ("Qwen3-0.6B-Q8_0", "C:\\Models\\Qwen3-0.6B-Q8_0.gguf"),
    ("big-Q4_K_M", "big-Q4_K_M-00001-of-00003.gguf"),
    ("unsloth/Qwen3-4B-GGUF:Q4_K_M", "Qwen3-4B-GGUF"),
    ("Qwen3-4B-GGUF", "Qwen3-4B-UD-Q4_K_XL.gguf"),
    ("gpt-4o", "gpt-4o-2024-08-06"),
    ("mistral-large-latest", "mistral-large-2411"),
    ("models/gemini-2.5-flash", "gemini-2.5-flash"),
    ("unsloth/Qwen3-4B-GGUF:Q4_K_XL", "/models/Qwen3-4B-UD-Q4_K_XL.gguf"),
    ("", "anything"),
]
OTHER = [
    ("tiny", "other-model"),
    ("gpt-4o", "gpt-4o-mini"),
    ("qwen3:8b", "qwen3:4b"),
    ("qwen3-8b@q4_k_m", "qwen3-8b@q8_0"),
    ("qwen3-4b", "qwen3-4b-thinking"),
    ("kimi-k2-0905", "kimi-k2-0711"),
    ("big-Q4_K_M.gguf", "big-Q8_0.gguf"),
    ("llama-3", "llama-3.1"),
    ("qwen3", "/models/gemma-3-4b.gguf"),
]


def listed(*names: str, **facts: object) -> list[ModelInfo]:
    return [
        ModelInfo(model_id=name, endpoint=loopback(1), product="vLLM", **facts) for name in names
    ]


def test_two_ways_to_write_one_model():
    for asked, served in SAME:
        assert not has_other_name(asked, served)


@pytest.mark.rule("R-40")
def test_two_models():
    for asked, served in OTHER:
        assert has_other_name(asked, served)
        assert has_other_name(served, asked)


MEANT = [
    ("alder-4b", ["org/Alder-4B"], "org/Alder-4B"),
    ("ALDER-4B", ["alder-4b", "birch"], "alder-4b"),
    ("alder-4b:latest", ["Alder-4B"], "Alder-4B"),
    ("Alder-4B", ["alder-4b:latest"], "alder-4b:latest"),
    ("alder-4b", ["hf.co/org/Alder-4B:latest"], "hf.co/org/Alder-4B:latest"),
    ("org/alder-4b", ["registry.example:5000/Org/alder-4b"], "registry.example:5000/Org/alder-4b"),
    ("docker.io/ai/smollm2", ["ai/smollm2"], "ai/smollm2"),
    ("model.gguf", [r"C:\models\Model.gguf"], r"C:\models\Model.gguf"),
    ("alder", ["org/alder", "alder"], "alder"),
    ("alder", ["org/alder", "alder:latest"], "alder:latest"),
    ("alder", ["ALDER", "Alder"], None),
    ("alder", ["org/alder", "pub/Alder"], None),
    ("pub/alder", ["org/alder"], None),
    ("der-4b", ["org/Alder-4b"], None),
    ("alder-4b", ["alder-4b:q4"], None),
    (":latest", ["alder:latest"], None),
    ("", ["alder/"], None),
]


def test_a_name_means_the_only_model_that_it_can_mean():
    for name, names, meant in MEANT:
        found = find_model(name, listed(*names))
        assert (found.model_id if found else None) == meant, (name, names)


def test_a_name_that_can_mean_several_models_is_answered_with_those():
    error = unknown_model_error("x/alder", listed("alder", "reg/x/alder", "birch", "ALDER"))
    assert (
        error.message
        == "No server has a model x/alder; did you mean alder or reg/x/alder or ALDER?"
    )


def test_an_alias_is_a_name_of_its_model():
    models = [*listed("org/smol", aliases=("smol-alias", "pub/Other")), *listed("smol-two")]
    for name in ("smol-alias", "SMOL-ALIAS", "other", "pub/Other", "smol"):
        assert find_model(name, models).model_id == "org/smol"
    assert model_meant("smol-alias", models, is_exact=True).model_id == "org/smol"


def test_a_remote_model_is_meant_by_its_whole_name_only():
    remote = listed("org/Alder", state=LoadState.REMOTE)
    assert find_model("org/Alder", remote) == remote[0]
    for name in ("alder", "org/alder", "Alder", "org/Alder:latest", ""):
        assert find_model(name, remote) is None
    assert find_model("alder", [*remote, *listed("pub/alder")]).model_id == "pub/alder"


@pytest.mark.rule("R-40")
def test_another_model_answers_only_if_the_server_lists_it():
    names = ("smol-small", "org/Birch-7B", "gpt-4o", "gpt-4o-2024-08-06", "alder", "alder-q4_k_m")
    for asked, served, is_other in [
        ("smol-small", "org/Birch-7B", True),
        ("smol-small", "birch-7b:latest", True),
        ("unlisted", "alder", True),
        ("alder", "alder-q4_k_m", True),
        ("smol-small", "/models/small/model.gguf", False),
        ("smol-small", "/models/alder", False),
        ("smol-small", r"C:\models\alder", False),
        ("smol-small", "birch", False),
        ("smol-small", "alder@main", False),
        ("SMOL-SMALL", "smol-small", False),
        ("birch-7b", "org/Birch-7B", False),
        ("gpt-4o", "gpt-4o-2024-08-06", False),
        ("unlisted", "unlisted@main", False),
        ("", "alder", False),
    ]:
        assert is_other_model(asked, served, listed(*names)) is is_other, (asked, served)
        assert not is_other_model(asked, served, []), "a server without a list is not doubted"


def test_two_listed_models_are_two_however_alike_their_names_are():
    for asked, served, is_other in [
        ("north/alder", "south/alder", True),
        ("alder-mlx", "alder-gguf", True),
        ("alder", "ALDER", True),
        ("alder:2", "alder:3", True),
        ("gpt-4o", "gpt-4o-2024-08-06", False),
        ("mistral-large-latest", "mistral-large-2411", False),
    ]:
        models = listed(asked, served)
        assert is_other_model(asked, served, models) is is_other, (asked, served)


def test_a_part_of_a_name_means_the_only_model_that_has_it():
    ids = ("qwen3-8b", "qwen3-8b-thinking", "gemma-3-4b")
    models = [ModelInfo(model_id=name, endpoint=loopback(1), product="vLLM") for name in ids]
    for part, found in (
        ("GEMMA", "gemma-3-4b"),
        ("think", "qwen3-8b-thinking"),
        ("qwen3-8b", "qwen3-8b"),
        ("qwen", None),
        ("", None),
    ):
        model = find_by_part(part, models)
        assert (model.model_id if model else None) == found
    assert find_by_part("", models[:1]) is None, "an unset variable of a script names nothing"


def test_of_a_path_only_the_end_is_shown():
    for name, shown in (
        ("/models/smol/SmolLM2-Q4.gguf", "SmolLM2-Q4.gguf"),
        ("C:\\models\\a.gguf", "a.gguf"),
        ("/models/smol/", "smol"),
        ("Qwen/Qwen3-8B", "Qwen/Qwen3-8B"),
        ("qwen3:8b", "qwen3:8b"),
        ("", ""),
    ):
        assert name_to_show(name) == shown


def test_a_name_without_end_takes_no_time():
    for piece in [":", ":1", "-q4", "-2024", "/"]:
        assert has_other_name("tiny", "small" + piece * 1_000_000)
        assert find_model("small" + piece * 1_000_000, listed("tiny")) is None


@pytest.mark.rule("R-40")
def test_a_turn_keeps_what_was_asked_for_where_another_model_answers():
    for served, is_other, expected in (
        ("other-model", True, ("other-model", "tiny", "")),
        ("/models/tiny.gguf", False, ("tiny", "", "/models/tiny.gguf")),
        ("tiny", False, ("tiny", "", "")),
    ):
        turn = LiveStats(model="tiny", started_s=0)
        for now_s in (1, 2):
            turn.apply(ModelNamed(model=served, is_other=is_other), now_s)
        assert (turn.model, turn.saved().asked, turn.saved().served) == expected
