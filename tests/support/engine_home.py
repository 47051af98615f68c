"""Library, demo model and package of the built-in engine."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from psutil import Process

from lmchat.core.servers.local.demo import SMOLLM2, DemoModel
from tests.support.programs import processes
from tests.support.real_server.prepare import XLLAMACPP, model_file, shallow_model, wheel


def with_library(environ: dict[str, str]) -> dict[str, str]:
    paths = [str(wheel(XLLAMACPP)), *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
    return environ | {"PYTHONPATH": os.pathsep.join(paths)}


def place_demo(home: Path, model: Path | None = None) -> Path:
    """Put a model where the demo model is kept, usually a shallow one."""
    path = home / "engine" / SMOLLM2.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(model or shallow_model())
    return path


def write_wheel(folder: Path, demo: DemoModel = SMOLLM2, data: bytes | Path | None = None) -> Path:
    """Write the package that holds a model, as a mirror would have it; `data` is the file in it."""
    name, _, version = demo.requirement.partition("==")
    plain = name.replace("-", "_")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{plain}-{version}-py3-none-any.whl"
    info = f"{plain}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as package:
        source = model_file() if data is None else data
        if isinstance(source, Path):
            package.write(source, demo.member)
        else:
            package.writestr(demo.member, source)
        package.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        )
        package.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        package.writestr(f"{info}/RECORD", "")
    return path


def only_from(folder: Path) -> dict[str, str]:
    """Return what lets an installer know no other place than a folder."""
    return {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(folder),
        "PIP_CONFIG_FILE": os.devnull,
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": str(folder),
    }


def engines_of(home: Path) -> list[int]:
    """Return the children that serve for a home."""
    return engines_with(home / "lmchat" / "engine.log")


def engines_with(log: Path) -> list[int]:
    """Return the children that have this log open."""
    children = set(processes("local/engine_child.py"))
    return [pid for pid in children if str(log) in {one.path for one in Process(pid).open_files()}]


def write_model(path: Path, *, size_bytes: int = 100) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        file.truncate(size_bytes)
    return path
