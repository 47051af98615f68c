"""Fixtures and hooks of the tests in folders of the name `e2e`, which start lmchat as a program."""

from __future__ import annotations

import re

import pytest

from tests.support.lmchat_screen import STEADY, LMChatScreen, PlainChat, configure
from tests.support.programs import ROOT

_QUICK = {"test_documents.py", "test_examples.py"}
_READY = "/help lists the commands.\nYou:"
_OF_READLINE = rb"\x1b\[(?:\?2004[hl]|\d*[A-DJKP@])"
"""Marks of pastes, movements of the cursor, and deletions in the line that is edited."""
_OF_INLINE = rb"\x1b\[(?:[0-9;]*m|\?2026[hl])|\x1b\]52;c;[A-Za-z0-9+/=]*\a"
"""Colours, marks of frames, and what `/copy` gives the terminal."""


def pytest_ignore_collect(collection_path, config):
    """Import none of the slow files, a fifth of all tests, for a run that leaves them out."""
    if collection_path.parent.name != "e2e":
        return None
    is_named = config.args != config.getini("testpaths")
    is_wanted = config.option.all or config.option.markexpr or is_named
    is_slow = collection_path.suffix == ".py" and collection_path.name not in _QUICK
    return True if is_slow and not is_wanted else None


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    """Mark what starts lmchat as a program for each test: together that takes minutes."""
    for item in items:
        if item.path.parent.name == "e2e" and item.path.name not in _QUICK:
            item.add_marker(pytest.mark.slow)


@pytest.fixture
def real(tmp_path, real_server, kind):
    """The command line against the real server; its answers are the same every time, and short."""
    configure(tmp_path, STEADY)
    return kind(home=tmp_path, url=real_server.url)


@pytest.fixture
def screen(tmp_path, server):
    """The chat, with the scripted server."""
    with LMChatScreen(tmp_path, server.url) as program:
        program.wait_ready()
        yield program


@pytest.fixture
def start(cli):
    """Start the plain chat at a terminal; what is printed there holds no foreign control character."""
    programs = []

    def start(*words, argv=("--plain",), sees=_READY, size=(120, 40), cwd=ROOT, **env):
        program = PlainChat(cli.argv(*argv, *words), home=cli.home, size=size, env=env, cwd=cwd)
        programs.append((program, argv))
        program.wait_for(sees)
        return program

    yield start
    for program, argv in programs:
        program.close()
        own = _OF_READLINE + (b"|" + _OF_INLINE if "--inline" in argv else b"")
        printed = re.sub(own, b"", program.raw).decode()
        assert not re.search("[\x1b\x80-\x9f\u202e\u2066]", printed)
