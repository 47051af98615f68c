"""Values in the settings of tool servers that no message may repeat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

from lmchat.config.settings import McpSettings
from lmchat.safe_text import without_secret

_SECRET_NAME = re.compile(r"token|secret|passw|key|auth|credential|cookie|bearer", re.IGNORECASE)
_LONG_PART_CHARS = 16  # a part of a path that is as long may be a token


def secrets_of(servers: Sequence[McpSettings]) -> tuple[str, ...]:
    """Return the possible secrets in the settings of all servers, the longest first.

    With this order, `without_secrets` cuts out a secret before another one that is a part of it. If
    a value has several words, such as “Bearer TOKEN”, its last word is a secret, too.
    """
    secrets: set[str] = set()
    for server in servers:
        for value in _possible_secrets(server):
            _, _, last_word = value.rpartition(" ")
            secrets.update((value, last_word))
    return tuple(sorted(secrets, key=len, reverse=True))


def without_secrets(text: str, secrets: Sequence[str]) -> str:
    """Return a text with all secrets cut out: a server or a library may repeat them in errors."""
    for secret in secrets:
        text = without_secret(text, secret)
    return text


def _possible_secrets(server: McpSettings) -> Iterator[str]:
    """Yield what may be secret in headers, variables, arguments and the address of a server."""
    # the parent has replaced the names of variables in `headers_env` by their values
    yield from (server.headers_env or {}).values()
    for name, value in (server.env or {}).items():
        if _SECRET_NAME.search(name):
            yield value
    yield from _secrets_in_arguments(server.args)
    yield from _secrets_in_address(server.url)


def _secrets_in_arguments(arguments: tuple[str, ...]) -> Iterator[str]:
    """Yield the values in arguments that follow a name such as `token`, and those in addresses.

    The forms are `--token=SECRET`, `token:SECRET` and `--token SECRET`.
    """
    previous = ""
    for argument in arguments:
        name = re.split("[=:]", argument, maxsplit=1)[0]
        value = argument[len(name) + 1 :]
        follows_flag = previous.startswith("-") and "=" not in previous
        if value and _SECRET_NAME.search(name):
            yield value.strip()
        elif follows_flag and _SECRET_NAME.search(previous):
            yield argument
        yield from _secrets_in_address(argument)
        previous = argument


def _secrets_in_address(text: str) -> Iterator[str]:
    """Yield the password, the values of the query, and long parts of the path of a URL.

    Yield nothing if the text is no URL.
    """
    if "://" not in text:
        return
    with suppress(ValueError):  # not a valid URL
        parts = urlsplit(text)
        if parts.password:
            yield parts.password
        yield from (value for _, value in parse_qsl(parts.query))
        yield from (part for part in parts.path.split("/") if len(part) >= _LONG_PART_CHARS)
