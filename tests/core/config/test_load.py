from __future__ import annotations

from operator import attrgetter

import pytest

from lmchat.base.errors import ConfigError
from lmchat.core.config.load import VARIABLES, Flags, load


@pytest.fixture
def load_with(tmp_path):
    def load_them(text="", environ=None, **flags):
        file = tmp_path / "config.toml"
        file.write_text(text, encoding="utf-8")
        return load(file, environ or {}, Flags(**flags))

    return load_them


def test_a_flag_goes_before_the_environment_before_the_file(load_with):
    text = 'model = "of-file"'
    environ = {"LMCHAT_MODEL": "of-environment"}
    for loaded, value, origin in (
        (load_with(text, environ, model="of-flag"), "of-flag", "flag (--model)"),
        (load_with(text, environ), "of-environment", "environment (LMCHAT_MODEL)"),
        (load_with(text), "of-file", "file (config.toml)"),
        (load_with(), "", "default"),
    ):
        assert (loaded.settings.model, loaded.origin("model").label) == (value, origin)


@pytest.mark.parametrize(("variable", "key"), VARIABLES)
def test_every_variable_sets_its_key(load_with, variable, key):
    loaded = load_with(environ={variable: "7"})
    assert str(attrgetter(key)(loaded.settings)) in ("7", "7.0")
    assert loaded.origins[key].label == f"environment ({variable})"


def test_the_own_name_of_a_variable_goes_before_its_aliases(load_with):
    environ = {"OPENAI_MODEL": "c", "LLM_MODEL": "b", "LMCHAT_MODEL": "a"}
    assert load_with(environ=environ).settings.model == "a"
    assert load_with(environ={"OPENAI_MODEL": "c", "LLM_MODEL": "b"}).settings.model == "b"


def test_a_key_belongs_to_the_address_that_was_set_at_its_own_place(load_with):
    text = "endpoint = 'http://file:1'\napi_key = 'k'\n"
    key = {"LMCHAT_API_KEY": "k"}
    address = {"LMCHAT_ENDPOINT": "http://environment:1"}
    for environ, endpoint in (
        ({}, "http://file:1"),
        (address, "http://file:1"),
        (key, ""),
        (key | address, "http://environment:1"),
    ):
        assert load_with(text, environ).key_endpoint == endpoint


def test_an_empty_variable_counts_as_not_set(load_with):
    loaded = load_with('model = "of-file"', {"LMCHAT_MODEL": " ", "LLM_MODEL": ""})
    assert loaded.settings.model == "of-file"


def test_a_variable_that_is_no_number_is_told(load_with):
    loaded = load_with(environ={"LLM_TIMEOUT": "soon", "LLM_MAX_RETRIES": "99"})
    assert [problem.sentence for problem in loaded.problems] == [
        "environment variable LLM_TIMEOUT: timeouts.first_token_s: expected a number, got text (wait for the first token; 0: as long as the server is alive)",
        "environment variable LLM_MAX_RETRIES: limits.retries: expected a whole number <= 20 (number of attempts, including the first)",
    ]


def test_a_broken_configuration_stops_with_one_sentence(load_with):
    with pytest.raises(ConfigError, match=r"line 1: a: unknown") as caught:
        load_with("a = 1\nb = 2").require_valid()
    assert caught.value.exit_code == 2


def test_the_name_of_a_server_of_the_user_stands_for_its_address(load_with):
    file = "[[endpoints]]\nname='box'\nurl='http://box.lan:81'\n"
    assert load_with(file, endpoint="box").settings.endpoint == "http://box.lan:81"
    loaded = load_with(file, {"LMCHAT_ENDPOINT": "box", "LMCHAT_API_KEY": "k"})
    assert (loaded.settings.endpoint, loaded.key_endpoint) == ("http://box.lan:81",) * 2
    file = "[[endpoints]]\nname='localhost'\nurl='http://box.lan:81'\n"
    assert load_with(file, endpoint="localhost").settings.endpoint == "localhost"


def test_what_a_server_of_the_users_leaves_unset_is_as_for_all(load_with):
    server = "[[endpoints]]\nname='n'\nurl='u'\ntimeouts={connect_s=3}\n"
    (own,) = load_with(f"[timeouts]\nhealth_s=2\n{server}").require_valid().settings.endpoints
    assert (own.timeouts.connect_s, own.timeouts.health_s) == (3, 2)


def test_allowed_hosts_of_flags_come_on_top_of_those_of_the_file(load_with):
    loaded = load_with("allowed_hosts = ['nas']", allowed_hosts=("box:81",))
    assert loaded.settings.allowed_hosts == ("nas", "box:81")
    assert loaded.origins["allowed_hosts"].label == "flag (--allow-host)"


_PROFILE = "model='m'\n[chat]\ntemperature=1\nseed=5\n[profiles.short]\nsystem_prompt='s'\nmodel='pm'\nstop=[]\n"


def test_a_profile_goes_before_chat_and_keeps_the_rest(load_with):
    loaded = load_with(_PROFILE, {"LMCHAT_SYSTEM_PROMPT": "e"}, profile="short")
    assert (loaded.settings.model, loaded.settings.chat.system_prompt) == ("pm", "s")
    assert (loaded.settings.chat.temperature, loaded.settings.chat.seed) == (1, 5)
    assert loaded.origins["chat.system_prompt"].label == "profile short"
    assert loaded.origins["chat.temperature"].label == "file (config.toml)"


def test_an_unknown_profile_is_told_with_what_may_be_meant(load_with):
    (problem,) = load_with(_PROFILE, profile="shrt").problems
    assert problem.sentence == "--profile shrt: unknown profile; in config.toml: short"


def test_keys_are_in_no_representation_of_the_settings(load_with):
    text = "api_key='secret-1'\n[[endpoints]]\nname='n'\nurl='u'\napi_key='secret-2'\n"
    assert "secret" not in repr(load_with(text))
