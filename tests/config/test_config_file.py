from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmchat.cli.screen_settings import keymap_problems
from lmchat.config.file import sections, table_keys
from lmchat.config.load import load
from lmchat.config.settings import EndpointSettings, McpSettings, Profile, Settings
from lmchat.errors import ConfigError


@pytest.fixture
def read(tmp_path):
    def write_and_read(text):
        file = tmp_path / "config.toml"
        file.write_bytes(text if isinstance(text, bytes) else text.encode())
        return load(file, {})

    return write_and_read


_FILES = "[[mcp]]\nname='files'\ncommand='npx'\n"


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('modle = "x"', "config.toml, line 1: modle is unknown; did you mean model?"),
        ("\n\n[chta]\n", "config.toml, line 3: chta is unknown; did you mean chat?"),
        (
            "[chat]\n\ntemprature = 1",
            "config.toml, line 3: chat.temprature is unknown; did you mean temperature?",
        ),
        (
            "[chat]\ntemperature = 2.5",
            "config.toml, line 2: chat.temperature must be a number from 0 to 2",
        ),
        ("[chat]\ntemperature = nan", "config.toml, line 2: chat.temperature must be a number"),
        ("[chat]\nmax_tokens = 1.5", "config.toml, line 2: chat.max_tokens must be a whole number"),
        (
            "[limits]\nretries = 0",
            "config.toml, line 2: limits.retries must be a whole number from 1 to 20",
        ),
        ("model = 3", "config.toml, line 1: model must be a string in quotes"),
        (
            'allowed_hosts = "nas"',
            'config.toml, line 1: allowed_hosts must be a list of strings, for example ["a", "b"]',
        ),
        ("[ui]\nmouse = 1", "config.toml, line 2: ui.mouse must be true or false"),
        (
            '[ui]\nnotify = "loud"',
            'config.toml, line 2: ui.notify must be one of "bell", "desktop", "none"',
        ),
        (
            '[ui]\nsections = ["server", "wether"]',
            'config.toml, line 2: ui.sections must be a list of "server", "model", "context", "turn"',
        ),
        ("chat = 1", "config.toml, line 1: chat must be a table: write [chat]"),
        ("keys = 1", "config.toml, line 1: keys must be a table, for example { search ="),
        (
            "endpoints = 1",
            "config.toml, line 1: endpoints must be a table: write [[endpoints]]",
        ),
        ("[[endpoints]]\nname = 'a'", "config.toml, line 1: endpoints[1].url is missing"),
        (
            "[[endpoints]]\nname='a'\nurl='b'\n[[endpoints]]\nname='c'\nurl='d'\nurls='e'",
            "config.toml, line 7: endpoints[2].urls is unknown; did you mean url?",
        ),
        (
            "[[endpoints]]\nname='a'\nurl='b'\n[endpoints.timeouts]\nhealth_s = 'x'",
            "config.toml, line 5: endpoints[1].timeouts.health_s must be a number",
        ),
        ("profiles = 1", "config.toml, line 1: profiles must be a table: write [profiles.NAME]"),
        (
            "[prompts.a]\ntext = ''",
            "config.toml, line 2: prompts.a.text must be a string in quotes, not empty",
        ),
        (
            "[tools.approval]\npython = 'yes'",
            'config.toml, line 2: tools.approval.python must be one of "never", "ask", "always"',
        ),
        ("[[mcp]]\nname='a'", "config.toml, line 1: mcp[1] needs command or url"),
        (
            f"{_FILES}url='http://127.0.0.1:1'",
            "config.toml, line 1: mcp[1] needs command or url, but not both",
        ),
        (
            f"{_FILES}{_FILES}",
            "config.toml: [[mcp]]: each server needs a name of its own, and not python",
        ),
        (_FILES.replace("files", "python"), "config.toml: [[mcp]]: each server needs a name of"),
        (
            _FILES.replace("files", "a/b"),
            'config.toml, line 1: mcp[1] must have a name without "/"',
        ),
        (
            f"{_FILES}env = {{ A = 1 }}",
            "config.toml, line 4: mcp[1].env.A must be a string in quotes",
        ),
        (
            f"{_FILES}headers_env = 'A'",
            "config.toml, line 4: mcp[1].headers_env must be a table, for example { Authorization =",
        ),
        ("model = ", "config.toml, line 1: is not valid TOML: invalid value"),
        ("x = 1\nx = 2", "config.toml, line 2: is not valid TOML: cannot overwrite a value"),
    ],
)
def test_a_mistake_is_told_with_file_line_key_and_reason(read, tmp_path, text, sentence):
    (problem,) = read(text).problems
    assert problem.sentence.removeprefix(f"{tmp_path}/").startswith(sentence)


def test_the_line_is_right_below_texts_and_lists_of_many_lines(read):
    text = '[chat]\nsystem_prompt = """\n[ui]\nmouse = 1\n"""\nstop = [\n  "a", # ]\n  "b",\n]\nseed = "x"\n'
    (problem,) = read(text).problems
    assert (problem.key, problem.line) == ("chat.seed", 10)


def test_all_mistakes_are_told_at_once_and_none_of_the_file_holds(read):
    content = read('model = "m"\nfoo = 1\n[chat]\ntemperature = 9\nreasoning_effort = 500\n')
    keys = ["foo", "chat.temperature", "chat.reasoning_effort"]
    assert [problem.key for problem in content.problems] == keys
    assert (content.origins, content.settings) == ({}, Settings())


def test_a_setting_of_an_earlier_version_costs_no_other_setting(read):
    settings = read("[chat]\ndetach = false\ntemperature = 0.5\n[ui]\nmouse = false").settings
    assert (settings.chat.temperature, settings.ui.mouse) == (0.5, False)


def test_a_file_that_was_asked_for_must_be_there_and_readable(tmp_path):
    (problem,) = load(tmp_path / "none.toml", {}, is_required=True).problems
    assert problem.sentence.endswith("none.toml: there is no such file")
    (problem,) = load(tmp_path, {}).problems
    assert problem.sentence.endswith(": cannot be read: Is a directory")


def test_bytes_that_are_no_text_are_told_with_their_line(read):
    (problem,) = read(b"model = 'a'\n# caf\xe9\n").problems
    assert problem.sentence.endswith("line 2: is not UTF-8 text")


def test_a_byte_order_mark_and_windows_line_ends_do_no_harm(read):
    content = read("\ufeffmodel = 'a'\r\n[chat]\r\nseed = 'x'\r\n")
    assert [(problem.key, problem.line) for problem in content.problems] == [("chat.seed", 3)]


_TABLES = (*(row.type for row in sections().values()), McpSettings, EndpointSettings, Profile)
NAMES = sorted({name for table in _TABLES for name in table_keys(table)})
TABLES = [
    *filter(None, sections()),
    "keys",
    "mcp",
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
    problems = (*loaded.problems, *keymap_problems(loaded))
    assert all(problem.sentence for problem in problems)
    if loaded.problems:
        with pytest.raises(ConfigError):
            loaded.require_valid()
