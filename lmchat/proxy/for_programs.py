"""The next step after an error in the words of a program, which has no command line and no configuration."""

from __future__ import annotations

import re

from lmchat.errors import LMChatError

_WORDS = (
    (r"name one with --endpoint URL", "give the address of one"),
    (r"\bwith -m MODEL\b", "as `model`"),
    (r"Start with --allow-host (\S+), or put it into .+ of config\.toml", r"Put \1 into `allowed_hosts`"),
    (r"\ballow it with --allow-host\b", "put it into `allowed_hosts`"),
    (r" under \[(limits|timeouts)\]", r" of `\1`"),
    (r"Ctrl\+O(, or lmchat models,)? lists\b", "`models` lists"),
    (r"Choose a model with Ctrl\+O", "Name a model as `model`"),
    (r"Load it with Ctrl\+O, Enter: then this is asked again", "Load it with `load`, then ask again"),
    (r"name the file as ca_file in config\.toml, or in SSL_CERT_FILE", "name the file in SSL_CERT_FILE"),
)
"""What is said to people, and how it is said to programs."""


class for_programs:  # noqa: N801 - reads as what it is: `with for_programs():`
    """Puts the hint of an error that leaves the block into the words of a program."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Translate."""
        if isinstance(error, LMChatError):
            error.hint = for_program(error.hint)


def for_program(hint: str) -> str:
    """Return a next step as a program can take it."""
    for pattern, words in _WORDS:
        hint = re.sub(pattern, words, hint)
    return hint
