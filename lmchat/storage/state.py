"""`state.toml`, which remembers the last model, panels and theme; loading and saving block."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from msgspec.structs import asdict, fields

from lmchat.domain.candidate import Remembered
from lmchat.files import read_plain, write_atomically

log = logging.getLogger(__name__)


def load(path: Path) -> tuple[Remembered, str]:
    """Return what is remembered, and a warning if the file could not be used."""
    try:
        content = read_plain(path)
        import tomllib  # noqa: PLC0415 - the first start, without such a file, must not wait for it

        data = tomllib.loads(content.decode())
    except FileNotFoundError:
        return Remembered(), ""
    except (OSError, ValueError, RecursionError) as error:
        log.warning("%s could not be read: %s", path.name, type(error).__name__)
        return Remembered(), f"{path.name} could not be read: lmchat begins without what it remembered."
    return _checked(data), ""


def save(path: Path, remembered: Remembered) -> None:
    """Write what is remembered; raises `StoreUnavailable`."""
    import tomli_w  # noqa: PLC0415 - no start shall wait for these two

    from lmchat.storage.database import explain  # noqa: PLC0415 - brings SQLite with it

    data = asdict(remembered)
    data["recent"] = [{"endpoint": endpoint, "model": model} for endpoint, model in remembered.recent]
    text = "# Written by lmchat; settings of your own belong into config.toml.\n" + tomli_w.dumps(data)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise explain(error, path) from error


def _checked(data: dict[str, Any]) -> Remembered:
    defaults = Remembered()
    values = {
        field.name: data[field.name]
        for field in fields(Remembered)
        if field.name != "recent" and isinstance(data.get(field.name), type(getattr(defaults, field.name)))
    }
    return Remembered(recent=_pairs(data.get("recent")), **values)


def _pairs(rows: object) -> tuple[tuple[str, str], ...]:
    tables = [row for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
    pairs = [(row.get("endpoint"), row.get("model")) for row in tables]
    return tuple((url, model) for url, model in pairs if isinstance(url, str) and isinstance(model, str))
