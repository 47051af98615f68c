"""Whether two names mean one model: servers write the same model in many ways (R-40)."""

from __future__ import annotations

import re

_FILE = re.compile(r"(-\d{5}-of-\d{5})?\.gguf$")
"""The end of a model file, whole or in parts."""
_TAG = re.compile(r"[:@]([^:@]*)$")
_BUILD = re.compile(
    r"[-.](latest|gguf|mlx|\d{4}-\d\d-\d\d|\d{8}|\d{4}"
    r"|(?:ud-)?i?q\d\w*|b?fp?(?:8|16|32)|mxfp4|\d+bit|awq|gptq)$"
)
"""A form, a date or a quantization behind a name: which build of a model, not which model."""
_NO_BUILD = re.compile(r"latest|gguf|mlx|\d{1,2}")
"""What tells none: the newest, the form of a file, the number of an instance in LM Studio."""

_LONGEST = 500
"""Longer names are compared as they are: taking endings off one after the other costs the square of that."""


def is_other_model(asked: str, served: str) -> bool:
    """Whether a server that was asked for one model answered with another.

    Folders, publishers, endings of files, instances, and builds that only one side names make no difference.
    """
    if not asked.strip() or not served.strip():
        return False
    (name, builds), (other_name, other_builds) = _parts(asked), _parts(served)
    return name != other_name or bool(builds and other_builds and builds != other_builds)


def _parts(full_name: str) -> tuple[str, set[str]]:
    """Return the name itself, and the builds of it that are named."""
    if len(full_name) > _LONGEST:
        return full_name, set()
    name = full_name.strip().casefold().replace("\\", "/").rstrip("/").rpartition("/")[2]
    name, builds = _FILE.sub("", name), set()
    while found := _TAG.search(name) or _BUILD.search(name):
        name = name[: found.start()]
        if not _NO_BUILD.fullmatch(found[1]):
            builds.add(found[1].removeprefix("ud-"))
    return name, builds
