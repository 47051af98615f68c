"""Whatever a configuration file holds, it is read or told what is wrong with it; nothing else happens."""

from __future__ import annotations

import tempfile
from pathlib import Path

import tomli_w
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lmchat.cli.context import keymap_problems
from lmchat.config.load import Flags, load
from lmchat.config.rows import ENDPOINT, PROFILE, SECTIONS
from lmchat.errors import ConfigError

NAMES = sorted({name for section in (*SECTIONS, ENDPOINT, PROFILE) for name in section.rows})
TABLES = [*(section.name for section in SECTIONS if section.name), "keys", "endpoints", "profiles"]
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
PATIENT = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])


def read(data: bytes) -> None:
    """Load it as a start does; only our own error may come out, with sentences in it."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.toml"
        file.write_bytes(data)
        loaded = load(file, {}, Flags())
        problems = (*loaded.problems, *keymap_problems(loaded))
        assert all(problem.sentence for problem in problems)
        try:
            loaded.sound()
        except ConfigError as error:
            assert error.message  # noqa: PT017 - most of these are refused
            assert loaded.problems


@PATIENT
@given(TABLE)
def test_any_table_is_read_or_told_what_is_wrong_with_it(table):
    read(tomli_w.dumps(table).encode())


@PATIENT
@given(st.binary(max_size=80) | TEXT.map(str.encode))
def test_any_bytes_are_read_or_told_what_is_wrong_with_them(data: bytes):
    read(data)
