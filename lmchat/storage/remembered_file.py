"""The file `state.toml`, in which lmchat remembers the last model, panels and theme.

Loading and saving block.
"""

from __future__ import annotations

import logging
from pathlib import Path

from msgspec import convert
from msgspec.structs import asdict

from lmchat.domain.remembered import Remembered
from lmchat.files import read_plain, write_atomically
from lmchat.storage.file_errors import explain

log = logging.getLogger(__name__)


def load(path: Path) -> tuple[Remembered, str]:
    """Return what is remembered, and a warning, which is empty if all went well.

    Without a file, or with an unusable one, the first value has its defaults. A missing file is no
    reason for a warning.
    """
    try:
        content = read_plain(path)
        import tomllib  # noqa: PLC0415 - the first start, without such a file, must not wait for it

        data = tomllib.loads(content.decode())
        # the file has a table for each recent model, `Remembered` a pair
        data["recent"] = [(row["endpoint"], row["model"]) for row in data.get("recent", ())]
        return convert(data, Remembered), ""
    except FileNotFoundError:
        return Remembered(), ""
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        log.warning("%s could not be read: %s", path.name, type(error).__name__)
        warning = f"{path.name} could not be read: lmchat starts without the saved state."
        return Remembered(), warning


def save(path: Path, remembered: Remembered) -> None:
    """Write what is remembered; raises `StoreUnavailable`."""
    import tomli_w  # noqa: PLC0415 - no start must wait for it

    data = asdict(remembered)
    data["recent"] = [
        {"endpoint": endpoint, "model": model} for endpoint, model in remembered.recent
    ]
    text = "# Written by lmchat; put your settings in config.toml.\n" + tomli_w.dumps(data)
    try:
        write_atomically(path, text)
    except OSError as error:
        raise explain(error, path) from error
