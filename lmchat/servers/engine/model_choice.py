"""Choice of a model file: unique names, the file that a name means, and the best one here."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from msgspec.structs import replace

from lmchat.errors import WrongUse
from lmchat.files.disk import expanded_path
from lmchat.matching import closest_word
from lmchat.servers.engine.download import DemoModel, is_demo_intact
from lmchat.servers.engine.memory import available_bytes, needed_bytes
from lmchat.servers.engine.model_files import ModelFile
from lmchat.servers.engine.model_search import SUFFIX, model_at

# part of the free memory that a fast model takes; without a graphics card, larger ones are slow
_FAST_SHARE = 0.25


def with_unique_names(
    models_of_others: Iterable[ModelFile], demo: DemoModel, folder: Path
) -> tuple[ModelFile, ...]:
    """Return the models of other programs, and last the demo model, each with a unique name.

    A name that an earlier model has is made unique: the name of the model's folder is put before
    it (`folder/name`). The demo model in `folder` is left out if it is damaged, so that its
    download is offered again.
    """
    models = list(models_of_others)
    if is_demo_intact(demo, folder):
        models.append(demo.file_in(folder))
    by_name: dict[str, ModelFile] = {}
    for model in models:
        name = model.name
        if name in by_name:
            name = f"{model.path.parent.name}/{name}"
        by_name.setdefault(name, replace(model, name=name))
    return tuple(by_name.values())


def find_named_model(name_or_path: str, models: Sequence[ModelFile]) -> ModelFile:
    """Return the model that the user named: by its name in any case, else by the path of a file.

    Raises `WrongUse` if none exists.
    """
    for model in models:
        if name_or_path.casefold() == model.name.casefold():
            return model
    path = expanded_path(name_or_path).absolute()
    for model in models:
        if path == model.path:
            return model
    # Path.is_file would raise an error for a long name, and for a folder that may not be entered
    if os.path.isfile(path):  # noqa: PTH113
        file = model_at(path)
        if file is None:
            raise WrongUse(
                f"{path} is not a complete model file.",
                hint="If a model has several files, pass the first one; all of them must exist.",
            )
        return file
    hint = "`lmchat models --local` lists the model files."
    if name_or_path.lower().endswith(SUFFIX):
        raise WrongUse(f"There is no file {path}.", hint=hint)
    suggestion = closest_word(name_or_path, tuple(model.name for model in models))
    if suggestion:
        hint = f"Did you mean {suggestion}?"
    raise WrongUse(f"There is no model {name_or_path} on this disk.", hint=hint)


def best_model(models: Sequence[ModelFile], last: str = "") -> ModelFile | None:
    """Return the model to start where the user named none; None if there are no models.

    The first of these that exists: the one that was used last, whose name is `last`; the largest
    fast one; the smallest that fits into the free memory; the demo model, which is chosen only now,
    since any other one is better; the smallest of all.
    """
    for model in models:
        if model.name == last:
            return model

    available = available_bytes()
    by_size = sorted(models, key=lambda model: model.size_bytes)
    fitting = [model for model in by_size if not model.is_demo and needed_bytes(model) <= available]
    fast = [model for model in fitting if needed_bytes(model) <= available * _FAST_SHARE]
    demo = [model for model in by_size if model.is_demo]
    return next(iter([*fast[-1:], *fitting, *demo, *by_size]), None)
