from __future__ import annotations

import logging

import pytest

from lmchat.base.errors import StoreUnavailable
from lmchat.core.config.credentials import Credentials
from tests.support.modes import is_private

JAN = "http://127.0.0.1:1337"
OTHER = "http://[::1]:8080"


@pytest.fixture
def path(tmp_path):
    return tmp_path / "lmchat" / "credentials.toml"


def test_keys_are_kept_by_origin_for_their_owner_only(path):
    credentials = Credentials(path)
    assert credentials.load() == ""
    credentials.set(JAN, 'k"\\\n\u202e')
    credentials.set(OTHER, "two")
    assert is_private(path)
    again = Credentials(path)
    assert (again.load(), again.keys) == ("", {JAN: 'k"\\\n\u202e', OTHER: "two"})


def test_a_key_is_never_in_the_representation_or_the_log(path, caplog):
    caplog.set_level(logging.DEBUG)
    credentials = Credentials(path)
    credentials.set(JAN, "s3cret")
    path.chmod(0o644)
    credentials.load()
    path.write_text('[x\nkey = "s3cret"', encoding="utf-8")
    warning = credentials.load()
    with pytest.raises(StoreUnavailable) as caught:
        credentials.set(JAN, "s3cret")
    error = caught.value
    shown = (repr(credentials), str(credentials), warning, repr(error), str(vars(error)))
    assert "s3cret" not in "".join((*shown, caplog.text))
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


def test_a_file_that_others_could_read_is_closed_to_them(path):
    Credentials(path).set(JAN, "k")
    path.chmod(0o666)
    Credentials(path).load()
    assert is_private(path)


@pytest.mark.parametrize("text", ["not [ toml", f'["{JAN}"]\nkey = 7\n'])
def test_a_broken_file_is_told_and_never_written_over(path, text):
    path.parent.mkdir()
    path.write_text(text, encoding="utf-8")
    credentials = Credentials(path)
    assert "is not valid" in credentials.load()
    with pytest.raises(StoreUnavailable, match="is not valid"):
        credentials.set(JAN, "k")
    assert path.read_text(encoding="utf-8") == text
    assert credentials.keys[JAN] == "k"  # known until the end all the same
