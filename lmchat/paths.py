"""Folders and files of this user."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from lmchat.errors import FileRefused
from lmchat.files import path_of


class Paths(Struct, frozen=True, kw_only=True):
    """Folders of one user, made when needed."""

    config_dir: Path  # configuration, sessions and credentials
    cache_dir: Path
    state_dir: Path  # logs

    @classmethod
    def find(cls, environ: Mapping[str, str]) -> Paths:
        """Return one folder for all if `LMCHAT_HOME` is set, else the system's usual ones."""
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
        return self.config_dir / "config.toml"

    @property
    def remembered_file(self) -> Path:
        """Last model, panels, theme."""
        return self.config_dir / "state.toml"

    @property
    def credentials_file(self) -> Path:
        return self.config_dir / "credentials.toml"

    @property
    def sessions_file(self) -> Path:
        """Sessions, drafts, prompt history, metrics and ledger, mode 0600."""
        return self.config_dir / "sessions.db"

    @property
    def models_file(self) -> Path:
        return self.cache_dir / "models.json"

    @property
    def demo_dir(self) -> Path:
        return self.cache_dir / "engine"

    @property
    def engine_log_file(self) -> Path:
        return self.state_dir / "engine.log"

    @property
    def log_file(self) -> Path:
        return self.state_dir / "lmchat.log"


def make_folder(folder: Path) -> Path:
    """Make and return a private folder; raises `FileRefused`."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise FileRefused(
            f"The folder {folder} cannot be made: {error.strerror or error}.",
            hint="Set LMCHAT_HOME to a folder that you may write to.",
        ) from error
    return folder
