"""What tests of the built-in engine need: its library, the demo model and the package that holds it."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

from lmchat.engine.download import SMOLLM2, DemoModel
from tests.support.real_server.prepare import XLLAMACPP, model_file, wheel
from tests.support.waiting import processes


def with_library(environ: dict[str, str]) -> dict[str, str]:
    """Return an environment in which the engine's library can be imported."""
    paths = [str(wheel(XLLAMACPP)), *filter(None, environ.get("PYTHONPATH", "").split(os.pathsep))]
    return environ | {"PYTHONPATH": os.pathsep.join(paths)}


def place_demo(home: Path) -> Path:
    """Put the demo model where lmchat keeps it, with `home` as `LMCHAT_HOME`."""
    path = home / "engine" / SMOLLM2.file_name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to(model_file())
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
        package.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        package.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
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
    """Return the children that serve for a home: each has its log open."""
    log = home / "lmchat" / "engine.log"
    return [pid for pid in processes("engine/child.py") if Path(f"/proc/{pid}/fd/2").resolve() == log]
