"""`lmchat config`: show, check and create the configuration."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import asdict, fields

from lmchat.cli.context import Context
from lmchat.config.config_file import KeyPath, Problem, key_of, line_of
from lmchat.config.example_file import example_text, toml_value
from lmchat.config.load import Loaded
from lmchat.config.sections import SECTIONS
from lmchat.config.settings import EndpointSettings, McpSettings
from lmchat.domain.server import Endpoint, is_address
from lmchat.errors import LMChatError
from lmchat.files import write_new_file
from lmchat.paths import make_folder
from lmchat.text import similar

_MASK = "********"
_USUAL_PATHS = ("", "/mcp", "/sse")  # of MCP servers
_HOST = re.compile(r"[^@/:\s]+(:\d{1,5})?|\[?[0-9A-Fa-f:.]+\]?(:\d{1,5})?")


def path(context: Context) -> int:
    """Print where the configuration is; as JSON, where all files are."""
    paths = context.paths
    files = {
        "config": context.config_file,
        "state": paths.remembered_file,
        "credentials": paths.credentials_file,
        "sessions": paths.sessions_file,
        "models": paths.models_file,
        "log": paths.log_file,
    }
    return context.output.result(files, str(context.config_file))


def show(context: Context) -> int:
    """Print every value and where it comes from; keys are masked."""
    rows = _rows(context)
    values = {key: {"value": value, "origin": origin} for key, value, origin in rows}
    lines = [f"{key} = {'unset' if value is None else toml_value(value)}" for key, value, _ in rows]
    width = min(max(len(line) for line in lines), 50)
    with_origins = [
        f"{line:<{width}}  # {origin}" for line, (_, _, origin) in zip(lines, rows, strict=True)
    ]
    return context.output.result(values, "\n".join(with_origins))


def init(context: Context) -> int:
    """Write the commented file, which only its owner can read."""
    file = context.config_file
    make_folder(file.parent)
    write_new_file(file, example_text(), is_forced=context.options.force, mode=0o600)
    return context.output.result({"config": file}, f"Wrote {file}")


def check(context: Context) -> int:
    """Print every problem with its line; exit 2 if there is one."""
    loaded = context.loaded
    problems = [*context.problems, *_unusable(loaded), *_unknown_theme(context)]
    rows = [
        {"source": one.source, "line": one.line, "key": one.key, "message": one.sentence}
        for one in problems
    ]
    value = {
        "config": str(loaded.file),
        "exists": loaded.has_file,
        "ok": not problems,
        "problems": rows,
    }
    fine = f"{loaded.file}: " + (
        "no problems" if loaded.has_file else "no file; the defaults apply"
    )
    context.output.result(value, "\n".join(one.sentence for one in problems) or fine)
    return 2 if problems else 0


def _unusable(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each address, host and certificate file that cannot be used.

    Wrong addresses are not quoted, as they may hold a password.
    """
    from lmchat.proxy.admission import AllowList
    from lmchat.proxy.errors import trusted

    settings = loaded.settings
    values: list[tuple[KeyPath, Callable[[str], object], str]] = [
        (("endpoint",), Endpoint.parse, settings.endpoint),
        *(
            (("allowed_hosts", n), AllowList().allow, one)
            for n, one in enumerate(settings.allowed_hosts)
        ),
        (("ca_file",), trusted, settings.ca_file),
        *(
            (("endpoints", n, "url"), Endpoint.parse, one.url)
            for n, one in enumerate(settings.endpoints)
        ),
        *((("mcp", n, "url"), Endpoint.parse, one.url) for n, one in enumerate(settings.mcp)),
    ]
    for path, use, value in values:
        try:
            use(value) if value else None
        except LMChatError as error:
            step = f"; {error.hint[:1].lower()}{error.hint[1:]}" if error.hint else ""
            words = error.message.partition(": ")[2].rstrip(".") + step.rstrip(".")
            words = 'write "host" or "host:port"' if path[0] == "allowed_hosts" else words
            origin = loaded.origins.get(str(path[0]), "file")
            line = line_of(loaded.text, path) if origin.startswith("file") else None
            source = origin if line is None else str(loaded.file)
            yield Problem(
                source=source, key=key_of(path), line=line, reason=f"cannot be used: {words}"
            )


def _unknown_theme(context: Context) -> Iterator[Problem]:
    if not (name := context.loaded.settings.ui.theme):
        return
    from textual.theme import BUILTIN_THEMES

    from lmchat.tui.theme_files import read_themes
    from lmchat.tui.themes import THEMES, short_name, theme_named

    themes = (*THEMES, *BUILTIN_THEMES.values(), *read_themes(context.paths.themes_folder)[0])
    names = [theme.name for theme in themes]
    if not theme_named(name, names):
        meant = similar(name, (*names, *map(short_name, names)))
        reason = f'"{name}" is not a theme' + ("" if meant else f"; themes: {', '.join(names)}")
        file, line = str(context.loaded.file), line_of(context.loaded.text, ("ui", "theme"))
        yield Problem(source=file, key="ui.theme", line=line, reason=reason, suggestion=meant)


def _rows(context: Context) -> list[tuple[str, object, str]]:
    settings, origins = context.settings, context.loaded.origins
    rows: list[tuple[str, object, str]] = []
    for section in SECTIONS:
        values = getattr(settings, section.name) if section.name else settings
        for row in section.rows.values():
            key, value = section.key(row.name), getattr(values, row.name)
            shown = _MASK if row.is_secret and value else _without_password(key, value)
            rows.append((key, shown, origins.get(key, "default")))
    file = f"file ({context.config_file.name})"
    rows += [(f"keys.{name}", keys, file) for name, keys in settings.keys.items()]
    rows += [
        (f"tools.approval.{name}", word, file) for name, word in settings.tools.approval.items()
    ]
    rows += [(f"mcp[{n}]", _plain(one), file) for n, one in enumerate(settings.mcp, 1)]
    rows += [(f"endpoints[{n}]", _plain(one), file) for n, one in enumerate(settings.endpoints, 1)]
    rows += [(f"profiles.{name}", _plain(one), file) for name, one in settings.profiles.items()]
    rows += [(f"prompts.{name}", _plain(one), file) for name, one in settings.prompts.items()]
    return rows


def _plain(value: Struct) -> dict[str, object]:
    """Return the fields that are set.

    Keys, commands that print one, and what may hold one are masked: arguments, variables and paths of the
    addresses of tool servers.
    """
    defaults = {field.name: field.default for field in fields(value)}
    values = {
        name: _plain(one) if isinstance(one, Struct) else one
        for name, one in asdict(value).items()
        if one != defaults[name]
    }
    if isinstance(value, EndpointSettings):
        values |= dict.fromkeys(values.keys() & {"api_key", "api_key_cmd"}, _MASK)
    if isinstance(value, McpSettings) and value.env:
        values["env"] = dict.fromkeys(value.env, _MASK)
    if isinstance(value, McpSettings) and value.args:
        values["args"] = [_MASK] * len(value.args)
    if isinstance(value, McpSettings) and is_address(value.url):
        values["url"] = _without_path(value.url)
    if (
        isinstance(value, EndpointSettings | McpSettings)
        and value.url
        and not is_address(value.url)
    ):
        values["url"] = _MASK
    return values


def _without_path(url: str) -> str:
    """Return an address whose path is masked unless it is a usual one: some services put a token there."""
    parts = urlsplit(url)
    is_usual = parts.path.rstrip("/") in _USUAL_PATHS
    return url if is_usual else f"{parts.scheme}://{parts.netloc}/{_MASK}"


def _without_password(key: str, value: object) -> object:
    """Return a value to show; a wrong address is masked, as it may be ada:PASSWORD@host."""
    if key == "endpoint" and value and not is_address(str(value)):
        return _MASK
    if key == "allowed_hosts" and isinstance(value, tuple):
        return tuple(host if _HOST.fullmatch(host) else _MASK for host in value)
    return value
