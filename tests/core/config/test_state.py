from __future__ import annotations

import os
from multiprocessing import get_context

import pytest

from lmchat.base.errors import StoreUnavailable
from lmchat.core.config.credentials import Credentials
from lmchat.core.config.state import State, UsedModel, change_state, read_state
from tests.support.modes import is_private


def test_what_is_remembered_comes_back(tmp_path):
    path = tmp_path / "lmchat" / "state.toml"
    choices = State(
        theme="lmchat-light",
        has_sessions=False,
        allowed_tools={"files/read_text": "ab12", 'python/"x': "cd34"},
    ).with_model("http://a:1", "m1")
    choices = choices.with_model("http://b:2", 'm"2\x1b\u202e')
    change_state(path, lambda _: choices)
    assert read_state(path) == (choices, "")
    assert [used.endpoint for used in choices.recent] == ["http://b:2", "http://a:1"]
    assert is_private(path)


def test_the_first_start_remembers_nothing_and_warns_of_nothing(tmp_path):
    assert read_state(tmp_path / "nowhere" / "state.toml") == (State(), "")


def test_a_broken_file_is_told_and_kept_and_the_defaults_hold(tmp_path):
    contents = (
        b"not [ toml",
        b"\xff\xfe",
        b"a = 1\na = 2",
        b"theme = 7",
        b"recent = 7",
        b"recent = [{}]",
    )
    path = tmp_path / "state.toml"
    for content in contents:
        path.write_bytes(content)
        found, warning = read_state(path)
        assert found == State()
        assert warning.startswith("state.toml could not be read")
        assert "Correct the file" in warning
        change_state(path, lambda state: state.with_allowed("a/b", "x"))
        assert read_state(path) == (State(allowed_tools={"a/b": "x"}), "")
    kept = {file.read_bytes() for file in tmp_path.glob("state.toml.damaged*")}
    assert kept == set(contents), "no file was replaced"
    path.unlink()
    path.mkdir()
    assert "Check the permissions there" in read_state(path)[1]


def test_what_a_newer_lmchat_remembers_costs_nothing(tmp_path):
    path = tmp_path / "state.toml"
    path.write_text(
        'new_in_the_future = 1\n[[recent]]\nendpoint = "http://a:1"\nmodel = "m"\n',
        encoding="utf-8",
    )
    assert read_state(path) == (State(recent=(UsedModel("http://a:1", "m"),)), "")


def test_what_an_earlier_lmchat_has_remembered_is_kept(tmp_path):
    path = tmp_path / "state.toml"
    path.write_text(
        '# Written by lmchat; put your settings in config.toml.\nendpoint = "http://a:1"\nmodel = "m"\n'
        'theme = "lmchat-dark"\nhas_sessions = false\nhas_telemetry = true\nhas_import_offer = true\n\n'
        '[[recent]]\nendpoint = "http://a:1"\nmodel = "m"\n\n[allowed_tools]\n"files/read_text" = "ab"\n',
        encoding="utf-8",
    )
    state, warning = read_state(path)
    assert (state.recent, state.theme, state.has_sessions, warning) == (
        (UsedModel("http://a:1", "m"),),
        "lmchat-dark",
        False,
        "",
    )
    assert state.allowed_tools == {"files/read_text": "ab"}


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path):
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(StoreUnavailable, match=r"[/\\]file is a file, not a folder."):
        change_state(tmp_path / "file" / "state.toml", lambda state: state)


def _count_up(path, times):
    for number in range(times):
        change_state(path, lambda state, n=number: state.with_allowed(f"{os.getpid()}/{n}", "x"))
        Credentials(path.with_name("credentials.toml")).set(f"http://{os.getpid()}:{number}", "k")


def test_a_file_that_cannot_be_read_now_is_not_replaced_by_defaults(tmp_path):
    path = tmp_path / "state.toml"
    path.mkdir()  # stands for a file that another program has locked
    with pytest.raises(StoreUnavailable, match=r"state.toml cannot be used"):
        change_state(path, lambda state: state)
    assert [place.name for place in tmp_path.iterdir() if place.is_dir()] == ["state.toml"]


def test_two_processes_at_once_lose_nothing_of_each_other(tmp_path):
    path = tmp_path / "state.toml"
    writers = [get_context("spawn").Process(target=_count_up, args=(path, 25)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    keys = Credentials(path.with_name("credentials.toml"))
    keys.load()
    assert (len(read_state(path)[0].allowed_tools), len(keys.keys)) == (50, 50)
