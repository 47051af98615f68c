"""Folders of lmchat, LM Studio and Jan."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from lmchat.base.errors import ConfigError
from lmchat.base.files.disk import read_plain
from lmchat.base.safe_text import safe_line

_MOST_CHARS = 100  # of a path in a message
_ID_CHARS = 16
_POINTER_BYTES = 4096


class Paths:
    """Folders and files of one user; makes none of them."""

    def __init__(self, *, config_dir: Path, cache_dir: Path, state_dir: Path) -> None:
        self.config_dir = config_dir
        self.state_dir = state_dir
        self.config_file = config_dir / "config.toml"
        # last model, panels, theme; beside the settings, so that a copy of the folder has all
        self.state_file = config_dir / "state.toml"
        self.tools_file = config_dir / "tools.py"  # Python functions that models can call
        self.credentials_file = config_dir / "credentials.toml"
        # also drafts, prompt history, metrics and stats
        self.sessions_file = config_dir / "sessions.db"
        self.attachments_dir = config_dir / "attachments"
        self.models_file = cache_dir / "models.json"  # the last list of each server
        self.demo_dir = cache_dir / "engine"  # demo model of the built-in engine
        self.kept_prompts_dir = cache_dir / "kept_prompts"  # what the built-in engine has read
        self.engine_log_file = state_dir / "engine.log"
        self.tools_log_file = state_dir / "tools.log"
        self.log_file = state_dir / "lmchat.log"
        self.editor_dir = state_dir / "editor"  # prompts that are in an editor

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Paths:
        """Raises `ConfigError` if the folders are not known, or if no file can have their path."""
        home = environ.get("LMCHAT_HOME", "").strip()
        if home:
            folder = Path(os.path.expanduser(home))  # noqa: PTH111 - it does not raise
            if not folder.is_absolute():
                raise ConfigError(
                    f"LMCHAT_HOME is not an absolute path: {safe_line(home)}",
                    next_step="Write the whole path, or begin it with ~/, without quotes.",
                )
            paths = cls(config_dir=folder, cache_dir=folder, state_dir=folder)
        else:
            import platformdirs  # noqa: PLC0415 - 20 ms that LMCHAT_HOME saves

            folders = platformdirs.PlatformDirs("lmchat", appauthor=False, roaming=True)
            found: list[Path] = []
            with suppress(RuntimeError):  # no HOME, and no entry in /etc/passwd
                found += [folders.user_config_path, folders.user_cache_path]
                # logs stay here, where a domain of Windows copies the rest
                folders.roaming = False
                found += [folders.user_state_path]
            # older platformdirs return a path that starts with `~`
            if not found or not found[-1].is_absolute():
                raise ConfigError(
                    "Your home folder is not known.",
                    next_step="Set HOME or LMCHAT_HOME to a folder.",
                )
            paths = cls(config_dir=found[0], cache_dir=found[1], state_dir=found[2])
        try:
            os.lstat(f"{paths.sessions_file}-answer-{'0' * _ID_CHARS}")  # the longest path
        except OSError as error:
            if error.errno in (errno.ENAMETOOLONG, errno.ELOOP):
                name = safe_line(str(paths.config_dir), limit=_MOST_CHARS)
                raise ConfigError(
                    f"{name} cannot be used: {error.strerror}.",
                    next_step="Set LMCHAT_HOME to another folder.",
                ) from error
        return paths


def home_folder() -> Path:
    """Return `~` if it is not known; `Path.home` would raise."""
    return Path(os.path.expanduser("~"))  # noqa: PTH111


def lm_studio_folders(home: Path) -> list[Path]:
    """Existing or not; the first one is that which a file of LM Studio names. Blocks."""
    folders = [home / ".cache" / "lm-studio", home / ".lmstudio"]
    try:
        named = read_plain(home / ".lmstudio-home-pointer", max_bytes=_POINTER_BYTES)
    except OSError:
        return folders
    folder = Path(named.decode(errors="replace").replace("\0", "").strip())
    return list(dict.fromkeys((folder, *folders))) if folder.is_absolute() else folders


def jan_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Existing or not."""
    share = Path(environ.get("XDG_DATA_HOME") or home / ".local" / "share")
    folders: list[Path] = []
    for folder in (share, *settings_folders(environ, home)):
        folders += [folder / "Jan" / "data", folder / "jan" / "data"]
    return [*folders, home / "jan"]


def settings_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    """Return folders with settings of programs: as on Linux, then as on this system.

    Some use the folder of Linux on macOS and Windows, too.
    """
    folders = [Path(environ.get("XDG_CONFIG_HOME") or home / ".config")]
    if sys.platform == "darwin":
        folders.append(home / "Library" / "Application Support")
    elif sys.platform == "win32":
        folders.append(Path(environ.get("APPDATA") or home / "AppData" / "Roaming"))
    return folders
