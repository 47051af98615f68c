from __future__ import annotations

import tempfile
import tomllib
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import ValidationError, convert

from lmchat.app.cli.screen_settings import keymap_problems
from lmchat.base.errors import ConfigError
from lmchat.core.config.load import load
from lmchat.core.config.settings import EndpointSettings, Profile, Settings, declared
from tests.support.reference import sections


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        file = tmp_path / "config.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(file, {})

    return write_and_read


@pytest.mark.parametrize(
    ("text", "key", "line"),
    [
        ('modle = "x"', "modle", 1),
        ("\n\n[chta]\n", "chta", 3),
        ("[chat]\n\ntemprature = 1", "chat.temprature", 3),
        ("[chat]\ntemperature = 2.5", "chat.temperature", 2),
        ("[chat]\ntemperature = nan", "chat.temperature", 2),
        ("[chat]\nmax_tokens = 1.5", "chat.max_tokens", 2),
        ("[chat]\nreasoning_effort = 'hgih'", "chat.reasoning_effort", 2),
        ("[chat]\nreasoning_effort = -1", "chat.reasoning_effort", 2),
        ("[chat]\nreasoning_effort = false", "chat.reasoning_effort", 2),
        ("[chat]\nreasoning_effort = 500.5", "chat.reasoning_effort", 2),
        ("[profiles.a]\nreasoning_effort = ' '", "profiles.a.reasoning_effort", 2),
        ("[limits]\nretries = 0", "limits.retries", 2),
        ("model = 3", "model", 1),
        ('allowed_hosts = "nas"', "allowed_hosts", 1),
        ('ca_file = "C:\\new"', "ca_file", 1),
        ("api_key = 'schlüssel'", "api_key", 1),
        ("[ui]\nmouse = 1", "ui.mouse", 2),
        ('[ui]\nnotify = "loud"', "ui.notify", 2),
        ('[ui]\nsections = ["server", "wether"]', "ui.sections[2]", 2),
        ("chat = 1", "chat", 1),
        ("keys = 1", "keys", 1),
        ("endpoints = 1", "endpoints", 1),
        ("[[endpoints]]\nname = 'a'", "endpoints[1]", 1),
        (
            "[[endpoints]]\nname='a'\nurl='b'\n[[endpoints]]\nname='c'\nurl='d'\nurls='e'",
            "endpoints[2].urls",
            7,
        ),
        (
            "[[endpoints]]\nname='a'\nurl='b'\n[endpoints.timeouts]\nhealth_s = 'x'",
            "endpoints[1].timeouts.health_s",
            5,
        ),
        ("profiles = 1", "profiles", 1),
        ("[prompts.a]\ntext = ''", "prompts.a.text", 2),
        ("[prompts.a]\n[prompts.b]\ntext = 'x'", "prompts.a", 1),
        ("[tools.approval]\npython = 'yes'", "tools.approval.python", 2),
        ("[chat]\nlogit_bias = { 1 = 'x' }", "chat.logit_bias.1", 2),
    ],
)
def test_a_mistake_is_told_with_its_key_and_line(read, text, key, line):
    (problem,) = read(text).problems
    assert (problem.key, problem.line) == (key, line)


def test_a_wrong_value_is_told_with_what_was_expected_and_the_help_of_the_setting(read, tmp_path):
    (problem,) = read("[limits]\nretries = 21").problems
    assert problem.sentence == (
        f"{tmp_path / 'config.toml'}, line 2: limits.retries: expected a whole number <= 20 "
        "(number of attempts, including the first)"
    )


@pytest.mark.parametrize(
    ("text", "step"),
    [
        ('modle = "x"', "did you mean model?"),
        ("temperature = 1", "it belongs below [chat]"),
        ("[chat]\nendpoint = 'x'", "write endpoint above all sections"),
        ("[chat.timeouts]", "write [timeouts]"),
        ("mcp_servers = {}", "tool servers are in mcp.json"),
        ("[mcpServers.files]\ncommand = 'npx'", "tool servers are in mcp.json"),
        ("base_url = 'x'", "possible here: endpoint"),
        ("api_key_env = 'KEY'", "it belongs below [[endpoints]]"),
        ("text = 'x'", "it belongs below [prompts.NAME]"),
        ("api_key = '$OPENAI_API_KEY'", "api_key_env of [[endpoints]]"),
        ("[[endpoints]]\nheaders = {'X App' = '1'}", "by names of HTTP headers"),
        ("[[endpoints]]\nheaders = {'\u212a-\u017f' = '1'}", "by names of HTTP headers"),
        ("allowed_hosts = 'nas'", 'as in ["a", "b"]'),
        ("[ui]\nmouse = 'false'", "expected true or false, got text (use the mouse"),
        ("[[endpoints]]\ntype = 'openai'", "possible here: name, url, api_key"),
        ("[chat]\ntemperature = 'hot'", "expected a number, got text (randomness"),
        ("[ui]\nmouse = {}", "expected true or false, got a table ("),
        ("[chat]\nstop = 3", "expected a list"),
        ("[profiles.short.v2]\ntop_p = 1", "a name with a dot needs quotes"),
        ("[models.qwen2.5]\n", "a name with a dot needs quotes"),
        ("[models.a.b.c.d]\ntop_p = 1", "a name with a dot needs quotes"),
        ("[[endpoints]]\nurl = 'http://a'\napi_keys = 'b'", "did you mean api_key?"),
        ("[CHAT]\n", "did you mean chat?"),
        ("[keys]\nmessage.undo = 'u'", "a name with a dot needs quotes"),
        ("[chat]\nreasoning_effort = 'off'", "one of none, minimal"),
        ("[[endpoints]]\nname = 'a'", "endpoints[1]: needs url"),
        ("[ui]\nmouse = 1", "expected true or false, got a whole number ("),
        ('"a - at `$.b`" = 1', "unknown; possible here: endpoint"),
        ("[chat]\nread_ahead = 'x - at `$.ui`'", "chat.read_ahead: invalid"),
        ('[local]\nmodel = "C:\\temp\\new.gguf"', "in single quotes"),
    ],
)
def test_a_name_that_cannot_be_used_is_told_with_what_to_write(read, text, step):
    (problem,) = read(text).problems
    assert step in problem.sentence


def test_the_line_is_right_below_texts_and_lists_of_many_lines(read):
    text = '[chat]\nsystem_prompt = """\n[ui]\nmouse = 1\n"""\nstop = [\n  "a", # ]\n  "b",\n]\nseed = "x"\n'
    (problem,) = read(text).problems
    assert (problem.key, problem.line) == ("chat.seed", 10)


@pytest.mark.parametrize(
    "above",
    [
        '[prompts.a]\ntext = """\n[chat]\nseed = 4\n"""\n[chat]\n',
        "[prompts.a]\ntext = '''\n[chat]\nseed = 4\n\\'''\n[chat]\n",
        '# """\n# and """\nmodel = "#" # \'\n[ui]\nascii = true\n[chat]\n',
    ],
)
def test_keys_within_texts_and_quotes_within_comments_are_passed_over(read, above):
    (problem,) = read(f"{above}seed = 'x'").problems
    assert (problem.key, problem.line) == ("chat.seed", above.count("\n") + 1)


def test_each_entry_of_a_list_tells_all_its_mistakes(read):
    content = read(
        "[[endpoints]]\nname = ''\nurl = 3\ntimeouts = { health_s = 'a' }\n"
        "[[endpoints]]\nurl = 'u'\n[[endpoints]]\nname = 'e'\nurls = 'u'\n"
    )
    assert [(problem.key, problem.line) for problem in content.problems] == [
        ("endpoints[1].name", 2),
        ("endpoints[1].url", 3),
        ("endpoints[1].timeouts.health_s", 4),
        ("endpoints[2]", 5),
        ("endpoints[3].urls", 9),
    ]


def test_the_line_is_that_of_the_own_table(read):
    text = "[profiles.chat]\nseed = 1\n[limits] # chat\n[ui]\n[chat]\n'top_p' = 1\n\"seed\" = 'x'\n"
    (problem,) = read(text).problems
    assert (problem.key, problem.line) == ("chat.seed", 7)


def test_all_mistakes_are_told_at_once_and_none_of_the_file_holds(read):
    content = read(
        'model = "m"\nfoo = 1\n[chat]\ntemperature = 9\nreasoning_effort = "x"\n'
        "[profiles.a]\nseed = 'x'\ntop_p = 2\n[models.b]\ntop_k = 'x'\n"
    )
    assert [(problem.key, problem.line) for problem in content.problems] == [
        ("foo", 2),
        ("chat.temperature", 4),
        ("chat.reasoning_effort", 5),
        ("profiles.a.seed", 7),
        ("profiles.a.top_p", 8),
        ("models.b.top_k", 10),
    ]
    assert (content.origins, content.settings) == ({}, Settings())


@pytest.mark.parametrize("effort", ["500", "'500'", "0500"[1:], "'0500'"])
def test_a_reasoning_effort_may_be_a_number_of_tokens(read, effort):
    loaded = read(
        f"[chat]\nreasoning_effort = {effort}\n[profiles.a]\nreasoning_effort = {effort}\n"
        f'[models."*"]\nreasoning_effort = {effort}'
    )
    assert loaded.problems == ()
    tables = (
        loaded.settings.chat,
        *loaded.settings.profiles.values(),
        *loaded.settings.models.values(),
    )
    assert [table.reasoning_effort for table in tables] == ["500"] * 3


def test_a_setting_of_an_earlier_version_is_noted_and_costs_no_other_setting(read):
    loaded = read(
        "[chat]\ndetach = false\nkeep_loaded_s = 60\ntemperature = 0.5\n"
        "[tools]\noffer_when_unknown = true\n[ui]\nmouse = false\n[keys]\ntrash = 'f9'"
    )
    assert [(note.key, note.line) for note in loaded.notes] == [
        ("chat.detach", 2),
        ("chat.keep_loaded_s", 3),
        ("tools.offer_when_unknown", 6),
        ("keys.trash", 10),
    ]
    assert "has no effect any more" in loaded.notes[0].sentence
    assert loaded.problems == ()
    assert (loaded.settings.chat.temperature, loaded.settings.ui.mouse) == (0.5, False)
    (problem,) = read("[chat]\ndetach = false\nseed = 'x'").problems
    assert problem.key == "chat.seed"


@pytest.mark.posix
def test_a_file_that_was_asked_for_must_be_there_and_readable(tmp_path):
    (problem,) = load(tmp_path / "none.toml", {}, is_required=True).problems
    assert problem.sentence.endswith("none.toml: it does not exist")
    (problem,) = load(tmp_path, {}).problems
    assert ": cannot be read: Is a directory; --config" in problem.sentence
    (problem,) = load(tmp_path / ("n" * 300), {}).problems
    assert ": cannot be read: File name too long; --config" in problem.sentence


def test_bytes_that_are_no_text_are_told_with_their_line(read):
    (problem,) = read(b"model = 'a'\n# caf\xe9\n").problems
    assert problem.sentence.endswith("line 2: is not UTF-8 text: save it as UTF-8")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(read):
    content = read("\ufeffmodel = 'a'\r\n[chat]\r\nseed = 'x'\r\n")
    assert [(problem.key, problem.line) for problem in content.problems] == [("chat.seed", 3)]


_TABLES = (*(table for table, _ in sections().values()), EndpointSettings, Profile)
NAMES = sorted({name for table in _TABLES for name in declared(table)})
TABLES = [
    *filter(None, sections()),
    "keys",
    "approval",
    "endpoints",
    "profiles",
]
TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
VALUE = st.recursive(
    st.one_of(
        *(st.booleans(), st.integers(-(2**70), 2**70), st.floats(), TEXT, st.dates()),
        st.sampled_from(["http://127.0.0.1:9", "localhost", "ctrl+x", "", "dark", "\x1b[31m"]),
    ),
    lambda inside: (
        st.lists(inside, max_size=3)
        | st.dictionaries(st.sampled_from([*NAMES, "send", "quit"]) | TEXT, inside, max_size=4)
    ),
    max_leaves=12,
)
TABLE = st.dictionaries(st.sampled_from([*NAMES, *TABLES]) | TEXT, VALUE, max_size=5)


@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(TABLE)
def test_any_table_is_read_or_told_what_is_wrong_with_it(table):
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_bytes(tomli_w.dumps(table).encode())
        loaded = load(file, {})
    try:
        convert(tomllib.loads(tomli_w.dumps(table)), Settings)
        is_right = True
    except ValidationError:
        is_right = False
    assert is_right == (not loaded.problems)
    problems = (*loaded.problems, *keymap_problems(loaded))
    assert all(problem.sentence for problem in problems)
    if loaded.problems:
        with pytest.raises(ConfigError):
            loaded.require_valid()
