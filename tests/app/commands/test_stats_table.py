from __future__ import annotations

from datetime import UTC, datetime

from msgspec.structs import replace
from rich.cells import cell_len

from lmchat.app.commands.stats_table import stats_table
from lmchat.core.sessions.model_stats import ModelStats, Spread


def stats_of(name: str) -> ModelStats:
    return ModelStats(
        model=name,
        endpoint="http://localhost:1234",
        product="LM Studio",
        turns=3,
        complete=3,
        stalls=0,
        retries=0,
        completion_tokens=90,
        is_estimated=False,
        ttft_ms=Spread(p50=200, p95=300),
        prompt_tokens_per_second=None,
        tokens_per_second=Spread(p50=40, p95=42),
        elapsed_ms=Spread(p50=2000, p95=3000),
        last=datetime(2026, 11, 28, tzinfo=UTC),
        days=(),
    )


def test_long_names_are_cut_where_that_gives_a_column_more_unless_two_models_would_look_alike():
    name = "smollm2-135m-instruct-thinking"
    for width in (100, 80, 70):
        lines = stats_table([stats_of(name)], width=width)
        assert name in lines[2]
    start = "qwen2.5-coder-14b-instruct-extended"
    [_, _, row, _] = stats_table([stats_of(f"{start}-q4_k_m")], width=76)
    assert "qwen2.5-coder-14b-instr…" in row
    lines = stats_table([stats_of(f"{start}-{end}") for end in ("q4_k_m", "q8_0")], width=76)
    assert [line.split()[0] for line in lines[2:4]] == [f"{start}-q4_k_m", f"{start}-q8_0"]
    assert max(map(cell_len, lines)) <= 76
    assert "COMPLETE" in lines[0]


def test_a_server_has_its_product_and_address_or_the_one_of_them_that_says_something():
    servers = {
        ("LM Studio", "http://localhost:1234"): "LM Studio localhost:1234",
        ("OpenAI-compatible", "http://localhost:8000"): "localhost:8000",
        ("OpenAI-compatible", "https://models.example/v1"): "https://models.example/v1",
        ("built-in", "built-in"): "built-in",
        ("", "http://localhost:8000"): "localhost:8000",
        ("LM Studio", ""): "LM Studio",
    }
    for (product, endpoint), heading in servers.items():
        one = replace(stats_of("qwen3"), product=product, endpoint=endpoint)
        assert stats_table([one], width=None)[1] == heading
