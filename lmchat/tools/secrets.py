"""Values in the settings of a tool server that no message may repeat."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from urllib.parse import parse_qsl, urlsplit

from lmchat.config.settings import McpSettings

_SECRET_NAME = re.compile(r"token|secret|passw|key|auth|credential|cookie|bearer", re.IGNORECASE)
_LONG_PART = 16  # characters of a part of a path that may be a token


def secrets_of(server: McpSettings) -> tuple[str, ...]:
    """Return values of headers, variables, arguments and the address, the longest first."""
    values = [*(server.headers_env or {}).values()]
    values += [value for name, value in (server.env or {}).items() if _SECRET_NAME.search(name)]
    values += _of_arguments(server.args)
    values += _of_address(server.url)
    tokens = [value.rpartition(" ")[2] for value in values]  # of "Bearer TOKEN"
    return tuple(sorted({*values, *tokens}, key=len, reverse=True))


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
