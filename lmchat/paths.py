"""Folders and files of this user: configuration, cache and state."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from lmchat.errors import FileRefused
from lmchat.files import path_of


class Paths(Struct, frozen=True, kw_only=True):
    """The folders of one user; they are made when needed."""

    config_dir: Path
    """Configuration, sessions and credentials."""
    cache_dir: Path
    """Files that can be fetched again."""
    state_dir: Path
    """Logs."""

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Paths:
        """Return one folder for all if `LMCHAT_HOME` is set, else the usual ones of this system."""
        home = environ.get("LMCHAT_HOME", "").strip()
        if home:
            folder = path_of(home).absolute()
            return cls(config_dir=folder, cache_dir=folder, state_dir=folder)
        import platformdirs  # noqa: PLC0415 - 20 ms that LMCHAT_HOME saves

        folders = platformdirs.PlatformDirs("lmchat", appauthor=False)
        return cls(
            config_dir=folders.user_config_path,
            cache_dir=folders.user_cache_path,
            state_dir=folders.user_state_path,
        )

    @property
    def config_file(self) -> Path:
        """Written by the user only."""
        return self.config_dir / "config.toml"

    @property
    def remembered_file(self) -> Path:
        """Choices that lmchat remembers: last model, panels, theme."""
        return self.config_dir / "state.toml"

    @property
    def credentials_file(self) -> Path:
        """Keys that were typed in, mode 0600."""
        return self.config_dir / "credentials.toml"

    @property
    def sessions_file(self) -> Path:
        """Sessions, drafts, prompt history, metrics and ledger, mode 0600."""
        return self.config_dir / "sessions.db"

    @property
    def models_file(self) -> Path:
        """The cache of model lists."""
        return self.cache_dir / "models.json"

    @property
    def demo_dir(self) -> Path:
        """The demo model of the built-in engine, and downloads of it."""
        return self.cache_dir / "engine"

    @property
    def engine_log_file(self) -> Path:
        """Log of the built-in engine in its last run, beside that of the run before."""
        return self.state_dir / "engine.log"

    @property
    def log_file(self) -> Path:
        """JSON lines, rotated, no content of chats."""
        return self.state_dir / "lmchat.log"


def make_folder(folder: Path) -> Path:
    """Make a missing folder that only its owner can enter, and return it.

    Raises:
        FileRefused: the system does not let us.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileRefused(
            f"The folder {folder} cannot be made: {error.strerror or error}.",
            hint="Set LMCHAT_HOME to a folder that you may write to.",
        ) from error
    return folder
