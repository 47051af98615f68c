from __future__ import annotations

import pytest

from lmchat.answers.answer_figures import AnswerFigures
from lmchat.servers.endpoint import loopback
from lmchat.servers.events import ModelNamed
from lmchat.servers.model import ModelInfo, find_by_part, is_other_model

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


def test_two_ways_to_write_one_model():
    for asked, served in SAME:
        assert not is_other_model(asked, served)


@pytest.mark.rule("R-40")
def test_two_models():
    for asked, served in OTHER:
        assert is_other_model(asked, served)
        assert is_other_model(served, asked)


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


def test_a_name_without_end_takes_no_time():
    for piece in [":", ":1", "-q4", "-2024", "/"]:
        assert is_other_model("tiny", "small" + piece * 1_000_000)


@pytest.mark.rule("R-40")
def test_a_turn_keeps_what_was_asked_for_where_another_model_answers():
    for served, asked in (("other-model", "tiny"), ("/models/tiny.gguf", "")):
        turn = AnswerFigures(model="tiny", started_s=0)
        for now_s in (1, 2):
            turn.apply(ModelNamed(model=served), now_s)
        assert (turn.model, turn.stats().asked) == (served, asked)
