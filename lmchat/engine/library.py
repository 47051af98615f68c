"""Which model to serve: what is on this disk, what was named, and what suits this machine."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from lmchat.domain.engine import ModelFile
from lmchat.engine import demo
from lmchat.engine.disk import Search, look_at, with_own_names
from lmchat.engine.folders import model_folders, ollama_folders
from lmchat.engine.memory import available_bytes, needed_bytes
from lmchat.engine.ollama import ollama_models
from lmchat.errors import WrongUse
from lmchat.files import path_of

_SHARE_OF_MEMORY = 0.25
"""A model that takes more of what is free answers slowly on a machine without a graphics card."""
_SUFFIX = ".gguf"


def found_on_disk(environ: Mapping[str, str]) -> Iterator[ModelFile]:
    """Yield what other programs of this user have; slow on a slow disk, without end on one that is lost."""
    home = _home(environ)
    if home is not None:
        search = Search()
        yield from search.models(model_folders(home, environ))
        yield from ollama_models(ollama_folders(home, environ), search.is_in_time)


def listed(found: Iterable[ModelFile], demo_model: demo.DemoModel, folder: Path) -> tuple[ModelFile, ...]:
    """Return what can be served, each under a name of its own, the demo model last."""
    own = [demo.model_file(demo_model, folder)] if demo.is_there(demo_model, folder) else []
    return with_own_names([*found, *own])


def named_model(named: str, models: Sequence[ModelFile]) -> ModelFile:
    """Return the model that a person named, by its file or by the name it is listed under.

    Raises:
        WrongUse: there is none, or it cannot be talked to.
    """
    for model in models:
        if named.casefold() == model.name.casefold():
            return model
    path = path_of(named)
    if path.exists() or named.lower().endswith(_SUFFIX):
        return _model_at(path.absolute(), models)
    meant = next(iter(difflib.get_close_matches(named, [model.name for model in models], n=1)), "")
    raise WrongUse(
        f"There is no model {named} on this disk.",
        hint=f"Did you mean {meant}?" if meant else "`lmchat models --local` lists what there is.",
    )


def best_model(models: Sequence[ModelFile], last: str = "") -> ModelFile | None:
    """Return the last used one, else the largest that leaves room, else the smallest; the demo model last."""
    if used := next((model for model in models if model.name == last), None):
        return used
    own = sorted((model for model in models if not model.is_demo), key=lambda model: model.size_bytes)
    available = available_bytes()
    if available is not None:
        fitting = [model for model in own if needed_bytes(model) <= available]
        swift = [model for model in fitting if needed_bytes(model) <= available * _SHARE_OF_MEMORY]
        own = swift[-1:] or fitting[:1]
    return next(iter(own[:1] or models[-1:]), None)


def _model_at(path: Path, models: Sequence[ModelFile]) -> ModelFile:
    if listed := next((model for model in models if model.path == path), None):
        return listed
    if not path.is_file():
        raise WrongUse(
            f"There is no file {path}.", hint="`lmchat models --local` lists the model files here."
        )
    found = look_at(path)
    if found is None:
        raise WrongUse(
            f"{path} is no whole GGUF file.",
            hint="Of a model in several files, name the first; all must be there.",
        )
    if not found.header.can_chat:
        kind = found.header.kind or found.header.architecture or "a vocabulary"
        raise WrongUse(f"{path} is no model that one can talk to, but {kind}.", hint="Name another file.")
    return found.model


def _home(environ: Mapping[str, str]) -> Path | None:
    named = environ.get("HOME", "")
    if named:
        return Path(named)
    try:
        return Path.home()
    except RuntimeError:
        return None
