from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from textual.widgets import Input

from lmchat.domain.server import Endpoint, LoadState
from lmchat.services.catalogue import ModelRow
from lmchat.text import fuzzy_match
from lmchat.tui.icons import UNICODE
from lmchat.tui.messages import LoadOrUnload, RefreshModels
from lmchat.tui.screens.model_picker import ModelPicker, ModelTable, highlighted
from lmchat.tui.widgets.row_list import RowList
from tests.support.look_data import QWEN, model, picker_rows
from tests.support.tui_host import Host, drawn, screen_text

WIDE = (120, 40)
CURRENT = ("http://127.0.0.1:1234", "qwen3-8b")


def host(rows=None) -> Host:
    given_rows = picker_rows() if rows is None else rows
    return Host(screen=lambda: ModelPicker(given_rows, age_s=40, current=CURRENT))


@pytest.fixture
async def pilot():
    async with host().run_test(size=WIDE) as pilot:
        yield pilot


def chosen(app: Host) -> object:
    return app.screen.query_one(RowList).key


async def test_recent_models_come_first_and_models_that_cannot_be_chosen_last():
    judge = ModelRow(model=model("judge-1b", is_decision=True), recent_index=0)
    async with drawn(host([*picker_rows(), judge])) as (app, pilot):
        text = screen_text(app)
        order = [
            *("Recent", "qwen3-8b", "LM Studio", "qwen3-30b-a3b", "Ollama", "qwen3:4b"),
            *("For embeddings only", "For decisions only", "judge-1b"),
        ]
        places = [text.index(f" {word}") for word in order]
        assert places == sorted(places)
        assert "12 models on 2 servers · updated 40 s ago" in text
        for typed, name in (("judge", "judge-1b"), ("nomic", "nomic-embed-text-v1.5")):
            await pilot.press(*typed)
            assert name in screen_text(app)
            assert chosen(app) is None
            await pilot.press("enter", "ctrl+l")
            assert (app.results, app.of(LoadOrUnload)) == ([], [])
            await pilot.press("ctrl+u")


async def test_typing_filters_and_chooses_the_best(app, pilot):
    for typed, name in (
        ("coder", "qwen2.5-coder-14b"),
        ("q3a3", "qwen3-30b-a3b"),  # letters need not stand together
        ("qwen vision", "qwen2.5-vl-7b"),  # words may name what a model can do
    ):
        await pilot.press(*typed)
        assert chosen(app) == ("http://127.0.0.1:1234", name)
        assert "1 of 11" in screen_text(app)
        await pilot.press("ctrl+u")
    await pilot.press(*"xyz")
    assert "No model matches “xyz”. Backspace shows all 11." in screen_text(app)
    await pilot.press("enter")
    assert app.results == []
    await pilot.press("ctrl+u", "7")  # there is no seventh recent model
    assert app.screen.query_one(Input).value == "7"
    await pilot.press("2")
    assert app.screen.query_one(Input).value == "72"
    await pilot.press("ctrl+u", *"coder", "enter")
    assert [result.model_id for result in app.results] == ["qwen2.5-coder-14b"]


async def test_a_server_goes_by_the_name_that_its_user_gave_it():
    rows = [replace(row, server_name="work\x1b[2Jstation") for row in picker_rows()[-4:]]
    async with drawn(host(rows)) as (app, pilot):
        assert "work␛[2Jstation" in screen_text(app)
        assert "Ollama" not in screen_text(app)
        await pilot.press(*"station")
        assert "4 of 4" in screen_text(app)
        there = [row for row in rows if row.model.endpoint == rows[0].model.endpoint]
        await pilot.press("ctrl+u", *there[0].model.endpoint.netloc)
        assert f"{len(there)} of 4" in screen_text(app)


async def test_a_filter_for_vision_without_a_match_says_what_to_do():
    rows = [row for row in picker_rows() if "vision" not in row.model.capabilities]
    async with drawn(host(rows)) as (app, pilot):
        await pilot.press(*"vision")
        assert "No model is known to see images. Load one that can" in screen_text(app)


async def test_a_recent_model_that_two_servers_have_is_shown_with_its_server():
    known, named = Endpoint.parse("127.0.0.1:1234"), Endpoint.parse("127.0.0.1:8080")
    name = "qwen3-8b-instruct-2507-long"
    twice = [
        ModelRow(model=model(name, endpoint=known), recent_index=0),
        ModelRow(model=model(name, endpoint=named), recent_index=1, server_name="den"),
        ModelRow(model=model("gemma-3-4b", endpoint=known), recent_index=2),
    ]
    async with drawn(host(twice), WIDE) as (app, pilot):
        for size, column in ((WIDE, 2), ((40, 12), -1)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
            rows = app.screen.query_one(RowList).rows[1:4]
            first, second, third = ["".join(text for text, _ in row.pieces[0]) for row in rows]
            assert [first.split()[column], second.split()[column]] == ["127.0.0.1:1234", "den"]
            assert "127.0.0.1" not in third
            assert len(first) == len(second) == len(third)  # what follows stays in its columns


async def test_keys_ask_to_load_the_chosen_model_and_enter_or_a_digit_takes_one():
    for key, name in (("enter", QWEN.model_id), ("2", "qwen2.5-coder-14b")):
        async with drawn(host()) as (app, pilot):
            await pilot.press("ctrl+l", "ctrl+r")
            await pilot.pause()
            assert [fact.model for fact in app.of(LoadOrUnload)] == [
                QWEN
            ]  # in use, chosen at first
            assert len(app.of(RefreshModels)) == 1
            await pilot.press(key)
            assert [result.model_id for result in app.results] == [name]


async def test_a_sleeping_model_has_a_sign_that_the_legend_explains():
    rows = [ModelRow(model=replace(QWEN, state=LoadState.ASLEEP))]
    async with drawn(host(rows), (80, 24)) as (app, pilot):
        text = screen_text(app)
        assert "○ asleep" in text
        assert "○ qwen3-8b" in text
        app.screen.update_rows([ModelRow(model=QWEN)], age_s=0.0)
        await pilot.pause()
        text = screen_text(app)
        assert "asleep" not in text
        assert "● qwen3-8b" in text
        assert "● loaded" in text


async def test_newer_lists_keep_filter_and_choice(app, pilot):
    await pilot.press(*"qwen", "down", "down")
    before = chosen(app)
    rows = [ModelRow(model=model("qwen1-new")), *picker_rows()]
    app.screen.update_rows(rows, age_s=0.0)
    await pilot.pause()
    assert app.screen.query_one(Input).value == "qwen"
    assert "6 of 12" in screen_text(app)
    assert "updated 0 s ago" in screen_text(app)
    assert chosen(app) == before


async def test_lists_that_come_too_late_harm_nobody(app, pilot):
    await pilot.pause()
    picker = app.screen
    for size in ((120, 40), (80, 24), (60, 20), (40, 12), (30, 8)):
        await pilot.resize_terminal(*size)
        await pilot.pause()
        assert "qwen3-8b" in screen_text(app), size
        assert "Esc close" in screen_text(app)
        await pilot.press(*["down"] * 9)
        assert "smollm2:135m" in screen_text(app), size
        await pilot.press(*["up"] * 9)
    await pilot.press("escape")
    picker.update_rows(picker_rows(), age_s=0.0)


async def test_an_empty_picker_says_what_to_do():
    async with drawn(host([])) as (app, pilot):
        assert "No models found. Enter shows the ways to a server; ^R checks again." in screen_text(
            app
        )
        await pilot.press("1", "down")
        assert app.results == []


async def test_a_click_takes_a_model(app, pilot):
    await pilot.pause()
    await pilot.click(RowList, offset=(10, 2))
    await pilot.pause()
    assert [result.model_id for result in app.results] == ["qwen2.5-coder-14b"]


async def test_the_same_name_on_two_servers_is_two_models():
    other = replace(QWEN, endpoint=replace(QWEN.endpoint, port=4321))
    async with drawn(host([ModelRow(model=QWEN), ModelRow(model=other)])) as (app, pilot):
        text = screen_text(app)
        assert "LM Studio 127.0.0.1:1234" in text
        assert "LM Studio 127.0.0.1:4321" in text
        await pilot.press("down", "enter")
        assert app.results == [other]


def heads(width: int) -> list[str]:
    table = ModelTable(picker_rows())
    parts, _ = table.laid_out(table.filtered(""), width, UNICODE)
    return "".join(text for text, _ in parts).split()


def test_columns_go_one_by_one_where_the_width_shrinks():
    assert heads(96) == ["Model", "Params", "Quant", "Context", "Disk", "Can", "tok/s"]
    assert "Can" not in heads(78)
    assert heads(60)[:1] == ["Model"]
    assert heads(20) == ["Model"]
    counts = [len(heads(width)) for width in range(96, 10, -1)]
    assert counts == sorted(counts, reverse=True)


def test_every_row_of_the_table_fits_its_width():
    table = ModelTable(picker_rows())
    for width in (96, 78, 58, 38, 20, 5):
        _, rows = table.laid_out(table.filtered(""), width, UNICODE)
        for row in rows:
            if row.key is not None:
                assert sum(len(text) for piece in row.pieces for text, _ in piece) <= max(width, 3)


def test_what_is_unknown_is_blank():
    table = ModelTable(
        [ModelRow(model=replace(QWEN, params="", context_max=None, context_loaded=None))]
    )
    _, rows = table.laid_out(table.filtered(""), 96, UNICODE)
    text = "".join(text for text, _ in rows[1].pieces[0])
    assert "None" not in text
    assert text.split() == ["●", "qwen3-8b", "Q4_K_M", "4.7", "GB", "tools", "reasoning"]


def test_a_substring_beats_letters_apart():
    assert fuzzy_match("coder", "qwen-coder").score > fuzzy_match("coder", "c-o-d-e-r").score


def test_highlights_keep_the_name():
    parts = highlighted("qwen3-8b", fuzzy_match("q8", "qwen3-8b").offsets, "")
    assert "".join(text for text, _ in parts) == "qwen3-8b"
    assert [text for text, style in parts if style] == ["q", "8"]


@given(st.text(max_size=8), st.text(max_size=40))
def test_offsets_always_lie_in_the_name_in_order(typed, name):
    found = fuzzy_match(typed, name)
    if found is not None:
        assert list(found.offsets) == sorted(set(found.offsets))
        assert all(0 <= offset < len(name) for offset in found.offsets)
        assert "".join(text for text, _ in highlighted(name, found.offsets, "")) == name


def test_a_hostile_name_does_not_take_long_to_match():
    assert fuzzy_match("ab" * 20 + "z", "ab" * 2_000) is None
