from __future__ import annotations

import pytest
from textual.widgets import Input

from lmchat.app.tui.dialogs.model_picker import ModelRecord, model_records
from lmchat.app.tui.widgets.row_list import RowList
from lmchat.base.matching import fuzzy_match
from lmchat.core.config.state import State, UsedModel
from lmchat.core.servers.endpoint import Endpoint
from lmchat.core.servers.model import LoadState
from tests.support.look_data import QWEN, model, model_picker, picker_rows
from tests.support.tui_host import Host, drawn, screen_text

WIDE = (120, 40)


def host(rows=None, **acts) -> Host:
    return Host(screen=lambda: model_picker(rows, **acts))


@pytest.fixture
async def pilot():
    async with host().run_test(size=WIDE) as pilot:
        yield pilot


def test_models_are_listed_with_recent_ones_first_names_of_servers_and_own_speeds():
    llama = model("llama3.2:3b", "Ollama")
    gemma = model("gemma-3-4b")
    used = (UsedModel(one.endpoint.url, one.model_id) for one in (llama, gemma))
    rows = model_records(
        (model("nomic", kind="embedding"), QWEN, gemma, llama),
        State(recent=tuple(used)),
        speeds={(QWEN.endpoint.url, QWEN.model_id): 42.3},
        server_names={llama.endpoint.origin: "workstation"},
    )
    assert [(row.model.model_id, row.recent_index, row.server_name) for row in rows] == [
        ("llama3.2:3b", 0, "workstation"),
        ("gemma-3-4b", 1, ""),
        (QWEN.model_id, None, ""),
        ("nomic", None, ""),
    ]
    assert [row.tokens_per_second for row in rows] == [None, None, 42.3, None]


def chosen(app: Host) -> object:
    return app.screen.query_one(RowList).key


async def test_recent_models_come_first_and_models_that_cannot_be_chosen_last():
    judge = model("judge-1b", kind="embedding", load_failure="no room")
    loads = []
    acts = {"load_or_unload": loads.append, "load_with": loads.append}
    async with drawn(host([*picker_rows(), ModelRecord(model=judge, recent_index=0)], **acts)) as (
        app,
        pilot,
    ):
        text = screen_text(app)
        order = ["Recent", "qwen3-8b", "Cannot chat", "judge-1b"]
        positions = [text.index(f" {word}") for word in order]
        assert positions == sorted(positions)
        assert "failed: no room" in text
        for typed, name in (("judge", "judge-1b"), ("nomic", "nomic-embed-text-v1.5")):
            await pilot.press(*typed)
            assert name in screen_text(app)
            assert chosen(app) is None
            await pilot.press("enter", "ctrl+l", "ctrl+g")
            assert (app.results, loads) == ([], [])
            await pilot.press("ctrl+u")


async def test_names_that_differ_only_at_their_end_keep_it_and_their_hits():
    start = "hf.co/unsloth/Qwen3-Coder-30B-A3B-Instruct-1M-extended-GGUF-"
    names = [f"{start}{quant}" for quant in ("Q4_K_M", "Q8_0")] + ["hf.co/other/" + "x" * 50]
    rows = [ModelRecord(model=model(name, params="30B")) for name in names]
    async with drawn(host(rows), (80, 24)) as (app, pilot):
        text = screen_text(app)
        assert "GGUF-Q4_K_M  " in text
        assert "GGUF-Q8_0  " in text
        assert "xxx…  " in text
        await pilot.press(*"q8_0")
        [row] = [line for line in screen_text(app).split("\n") if "…" in line and "GGUF" in line]
        assert "Q8_0" in row
        hits = [
            segment.text
            for strip in app.screen._compositor.render_strips()
            for segment in strip
            if segment.style and segment.style.underline and "hf" not in segment.text
        ]
        assert "".join(hits).endswith("Q8_0")


async def test_typing_filters_and_chooses_the_best(app, pilot):
    for typed, name in (
        ("coder", "qwen2.5-coder-14b"),
        ("q3a3", "qwen3-30b-a3b"),  # letters need not stand together
        ("qwen vision", "qwen2.5-vl-7b"),  # words may name what a model can do
    ):
        await pilot.press(*typed)
        assert chosen(app) == ("http://localhost:1234", name)
        assert "1 of 11" in screen_text(app)
        await pilot.press("ctrl+u")
    await pilot.press(*"xyz")
    assert "No model matches “xyz”. Backspace shows all." in screen_text(app)
    await pilot.press("enter")
    assert app.results == []
    await pilot.press("ctrl+u", "7")  # there is no seventh recent model
    assert app.screen.query_one(Input).value == "7"
    await pilot.press("2")
    assert app.screen.query_one(Input).value == "72"
    await pilot.press("ctrl+u", *"coder", "enter")
    assert [result.model_id for result in app.results] == ["qwen2.5-coder-14b"]


async def test_keys_that_load_are_offered_where_the_server_of_the_model_can():
    loaded = LoadState.LOADED
    unloaded = LoadState.NOT_LOADED
    cases = (
        ("llama.cpp", {"state": loaded}, ""),
        ("llama.cpp", {"state": loaded, "has_own_slots": True}, "^L load or unload  ^D delete"),
        ("llama.cpp", {"state": LoadState.ASLEEP}, "^L load or unload"),
        ("built-in", {"state": loaded}, "^L load or unload  ^G load with …"),
        ("LM Studio", {"state": unloaded}, "^L load or unload  ^G load with …"),
        ("Ollama", {"state": unloaded}, "^L load or unload  ^D delete"),
        ("Ollama", {"state": LoadState.REMOTE}, ""),
        ("llama-swap", {"state": loaded}, "^L load or unload"),
        ("llama-swap", {"state": unloaded}, ""),
        ("LocalAI", {"state": LoadState.UNKNOWN}, "^L load or unload"),
        ("vLLM", {"state": loaded}, ""),
    )
    models = [model(f"of {n:02}", product, **facts) for n, (product, facts, _) in enumerate(cases)]
    async with drawn(host([ModelRecord(model=one) for one in models])) as (app, pilot):
        for product, _, keys in cases:
            shown = "  ".join(filter(None, ("Enter use", keys, "^R refresh")))
            assert shown in screen_text(app), product
            await pilot.press("down")


async def test_models_are_told_apart_by_the_addresses_of_their_servers():
    unknown = Endpoint.parse("http://localhost:8000")
    models = [model("gemma3:4b", "OpenAI-compatible", endpoint=unknown)]
    servers = ["localhost:8001", "localhost:8002"]
    models += [model("same", "vLLM", endpoint=Endpoint.parse(server)) for server in servers]
    models.append(model("same", "built-in", endpoint=Endpoint.parse("localhost:39347")))
    rows = model_records(models, State(), speeds={}, server_names={})
    async with drawn(host(rows), WIDE) as (app, _):
        assert " localhost:8000" in screen_text(app)
        assert "OpenAI-compatible" not in screen_text(app)
        servers.append("built-in")
        assert [server for server in servers if f"same  {server}" in screen_text(app)] == servers


async def test_newer_lists_keep_filter_and_choice(app, pilot):
    await pilot.press(*"qwen", "down", "down")
    before = chosen(app)
    rows = [ModelRecord(model=model("qwen1-new")), *picker_rows()]
    app.screen.update_rows(rows, age_s=0.0, note="Nothing answers.")
    await pilot.pause()
    assert app.screen.query_one(Input).value == "qwen"
    assert "6 of 12" in screen_text(app)
    assert "Nothing answers." in screen_text(app)
    assert chosen(app) == before


async def test_an_empty_picker_says_what_to_do():
    async with drawn(host([])) as (app, pilot):
        assert "No models found. ^R checks again." in screen_text(app)
        await pilot.press("down", "enter")
        assert app.results == []


def test_a_substring_beats_letters_apart():
    assert fuzzy_match("coder", "qwen-coder").score > fuzzy_match("coder", "c-o-d-e-r").score


def test_accents_and_letters_of_another_length_match_and_the_marks_are_on_no_other_letters():
    for typed, name, marked in [
        ("cafe", "un caf\u00e9", "caf\u00e9"),
        ("caf\u00e9", "cafe", "cafe"),
        ("stra\u00dfe", "Strasse", "Strasse"),
        ("\ud55c", "\ud55c\uae00", "\ud55c"),
        ("\u0130x", "i\u0130x", "\u0130x"),
        # folding changes their length
        ("cafe", "cafe\u0301", ""),
        ("strasse.md", "die Stra\u00dfe.md", ""),
        ("\ud55c", "x\u1112\u1161\u11ab\u1100\u1173\u11af", ""),
        ("\u30d0", "\uff8a\uff9e \u30cf", ""),
    ]:
        match = fuzzy_match(typed, name)
        assert match is not None, (typed, name)
        assert "".join(name[offset] for offset in match.offsets) == marked


def test_a_hostile_name_does_not_take_long_to_match():
    assert fuzzy_match("ab" * 20 + "z", "ab" * 2_000) is None
    assert fuzzy_match("x", "\u1112\u1161" + "\u11ab" * 20_000) is None
