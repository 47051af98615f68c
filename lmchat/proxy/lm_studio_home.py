"""What LM Studio leaves on the disk about its ports; read only, and no more than a hint."""

from __future__ import annotations

from pathlib import Path

from lmchat.files import read_plain
from lmchat.proxy.json_values import NotJsonError, decode, mapping, text, whole

APP_PORTS = (41343, 52993, 16141, 39414, 22931)
"""Where the program itself listens, also while its server is off."""
_MAX_BYTES = 1 << 20
_MAX_PORT = 65535


def hinted_port() -> int | None:
    """Return the port that its server used last; it may be off now."""
    return _port("http-server-config.json")


def app_ports() -> tuple[int, ...]:
    """Return the ports at which the program itself may answer."""
    told = _port("http-server.json")
    return APP_PORTS if told is None else (told, *APP_PORTS)


def home_folder() -> Path:
    """Return the folder of LM Studio, which the user may have moved; it need not exist."""
    user = Path.home()
    pointer = user / ".lmstudio-home-pointer"
    if pointer.is_file():
        named = _read(pointer).decode("utf-8", "replace").strip()
        return Path(named) if named else user / ".lmstudio"
    old = user / ".cache" / "lm-studio"
    return old if old.is_dir() else user / ".lmstudio"


def _port(name: str) -> int | None:
    try:
        value = mapping(decode(_read(home_folder() / ".internal" / name)))
    except (OSError, ValueError, RuntimeError, NotJsonError):
        return None
    port = whole(value.get("port"))
    return port if port and port <= _MAX_PORT and not text(value.get("error")) else None


def _read(path: Path) -> bytes:
    return read_plain(path, limit=_MAX_BYTES)
