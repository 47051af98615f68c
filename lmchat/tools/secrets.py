"""Values in the settings of tool servers that no message may repeat."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

from lmchat.config.settings import McpSettings
from lmchat.text import without_secret

_SECRET_NAME = re.compile(r"token|secret|passw|key|auth|credential|cookie|bearer", re.IGNORECASE)
_LONG_PART = 16  # characters of a part of a path that may be a token


def secrets_of(servers: Sequence[McpSettings]) -> tuple[str, ...]:
    """Return the values of all servers, the longest first."""
    secrets: set[str] = set()
    for server in servers:
        values = list(_values_of(server))
        secrets.update(values)
        secrets.update(value.rpartition(" ")[2] for value in values)  # of "Bearer TOKEN"
    return tuple(sorted(secrets, key=len, reverse=True))


def without_secrets(text: str, secrets: Sequence[str]) -> str:
    """Cut secrets out of a text: a server or a library may repeat them in an error."""
    for secret in secrets:
        text = without_secret(text, secret)
    return text


def _values_of(server: McpSettings) -> Iterator[str]:
    """Yield values of headers, variables, arguments and the address."""
    yield from (server.headers_env or {}).values()
    for name, value in (server.env or {}).items():
        if _SECRET_NAME.search(name):
            yield value
    yield from _of_arguments(server.args)
    yield from _of_address(server.url)


def _of_arguments(arguments: tuple[str, ...]) -> Iterator[str]:
    """Yield what follows a name like `--token`, behind `=` or `:` or as the next argument."""
    before = ""
    for argument in arguments:
        name, _, value = argument.replace(":", "=", 1).partition("=")
        is_flag = before.startswith("-") and "=" not in before
        if value and _SECRET_NAME.search(name):
            yield argument[len(name) + 1 :].strip()
        elif is_flag and _SECRET_NAME.search(before):
            yield argument
        yield from _of_address(argument)
        before = argument


def _of_address(text: str) -> Iterator[str]:
    if "://" not in text:
        return
    with suppress(ValueError):  # no address
        parts = urlsplit(text)
        yield parts.password or ""
        yield from (value for _, value in parse_qsl(parts.query))
        yield from (part for part in parts.path.split("/") if len(part) >= _LONG_PART)
