"""Choice of a model file: unique names, the file that a name means, and the best one here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from lmchat.domain.engine import ModelFile
from lmchat.engine.download import DemoModel, is_demo_intact
from lmchat.engine.memory import available_bytes, needed_bytes
from lmchat.engine.model_search import SUFFIX, read_gguf_file
from lmchat.errors import WrongUse
from lmchat.files import expanded_path
from lmchat.text import closest_word

_SHARE_OF_MEMORY = 0.25  # larger models answer slowly without a graphics card


def with_unique_names(
    found: Iterable[ModelFile], demo: DemoModel, folder: Path
) -> tuple[ModelFile, ...]:
    """Return all models with unique names, the demo model last.

    A folder's name tells models of one name apart. A damaged demo model is left out, so that it is
    offered again.
    """
    models = list(found)
    if is_demo_intact(demo, folder):
        models.append(demo.file_in(folder))
    named: dict[str, ModelFile] = {}
    for model in models:
        name = model.name
        if name in named:
            name = f"{model.path.parent.name}/{model.name}"
        while name in named:
            name = f"{name}~"
        named[name] = replace(model, name=name)
    return tuple(named.values())


def find_named_model(named: str, models: Sequence[ModelFile]) -> ModelFile:
    """Return the model with this file or name; raises `WrongUse` if none can chat."""
    for model in models:
        if named.casefold() == model.name.casefold():
            return model
    path = expanded_path(named)
    if path.exists() or named.lower().endswith(SUFFIX):
        return _model_at(path.absolute(), models)
    hint = "`lmchat models --local` lists the model files."
    meant = closest_word(named, tuple(model.name for model in models))
    if meant:
        hint = f"Did you mean {meant}?"
    raise WrongUse(f"There is no model {named} on this disk.", hint=hint)


def best_model(models: Sequence[ModelFile], last: str = "") -> ModelFile | None:
    """Return the last used model, else the largest fast one, else the smallest.

    The demo model comes last.
    """
    for model in models:
        if model.name == last:
            return model
    available = available_bytes()
    by_size = sorted(models, key=lambda model: model.size_bytes)
    fitting = [model for model in by_size if not model.is_demo and needed_bytes(model) <= available]
    fast = [model for model in fitting if needed_bytes(model) <= available * _SHARE_OF_MEMORY]
    if fast:
        return fast[-1]
    if fitting:
        return fitting[0]
    return models[-1] if models else None


def _model_at(path: Path, models: Sequence[ModelFile]) -> ModelFile:
    for model in models:
        if model.path == path:
            return model
    if not path.is_file():
        hint = "`lmchat models --local` lists the model files here."
        raise WrongUse(f"There is no file {path}.", hint=hint)
    file = read_gguf_file(path)
    if file is None:
        raise WrongUse(
            f"{path} is not a complete GGUF file.",
            hint="If a model has several files, pass the first one; all of them must exist.",
        )
    if not file.header.can_chat:
        kind = file.header.kind or file.header.architecture or "a vocabulary"
        raise WrongUse(f"{path} is not a chat model, but {kind}.", hint="Choose another file.")
    return file.model
