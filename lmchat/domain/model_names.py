"""Names of models: how servers spell them, and which model is meant by a name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from lmchat.domain.server import ModelInfo
from lmchat.errors import WrongUse
from lmchat.text import closest_word, safe_line

# ending of a file: ".gguf", "-00001-of-00003.gguf"
_FILE_ENDING = r"(-\d{5}-of-\d{5})?\.gguf$"
# ":8b" of Ollama, ":2" of an instance in LM Studio, "@q4_k_m"
_TAG = r"[:@]([^:@]*)$"
# an ending that names a build, which is a quantization, format or date of a model:
# "-Q4_K_M", "-UD-IQ2_XXS", "-fp16", "-4bit", "-2024-07-18", ".gguf"
_BUILD = (
    r"[-.](latest|gguf|mlx|\d{4}-\d\d-\d\d|\d{8}|\d{4}"
    r"|(?:ud-)?i?q\d\w*|b?fp?(?:8|16|32)|mxfp4|\d+bit|awq|gptq)$"
)
_NO_BUILD = r"latest|gguf|mlx|\d{1,2}"
"""Endings that name no build; a number is that of an instance in LM Studio."""
_MAX_NAME_CHARS = 500  # removing the endings of longer names takes too long
_MAX_SUGGESTED = 3
_LIST_HINT = "`lmchat models` lists the models."


def find_model(name: str, models: Sequence[ModelInfo]) -> ModelInfo | None:
    """Return the model of this name, else that of the name with Ollama's `:latest`, else None."""
    # reversed: of two models with one name, the first one stays
    by_name = {model.model_id: model for model in reversed(models)}
    return by_name.get(name) or by_name.get(f"{name}:latest")


def unknown_model(name: str, models: Sequence[ModelInfo]) -> WrongUse:
    """Return the error for a model that no server lists.

    It suggests up to three names that contain the given one, else the most similar name.
    """
    known_names = tuple(dict.fromkeys(model.model_id for model in models))
    longer_names = [known for known in known_names if name.casefold() in known.casefold()]
    suggestion = " or ".join(longer_names[:_MAX_SUGGESTED]) or closest_word(name, known_names)
    ending = f"; did you mean {suggestion}?" if suggestion else "."
    sentence = safe_line(f"No server has a model {name}{ending}")
    return WrongUse(sentence, hint=_LIST_HINT, kind="model_missing")


def cannot_chat(model: ModelInfo) -> WrongUse:
    """Return the error for a model that makes embeddings or decisions, not answers.

    To a chat it is as if the server did not have it, so the kind is that of a missing model.
    """
    sentence = f"{safe_line(model.model_id)} makes {model.only_for} and cannot chat."
    return WrongUse(sentence, hint=_LIST_HINT, kind="model_missing")


def is_other_model(asked: str, served: str) -> bool:
    """Return whether two names are of different models.

    Folders, publishers, file endings and instances make no difference, and neither do builds if
    only one name has them. An empty name may be of any model.
    """
    if not asked.strip() or not served.strip():
        return False
    asked_name, asked_builds = _name_and_builds(asked)
    served_name, served_builds = _name_and_builds(served)
    if asked_name != served_name:
        return True
    return bool(asked_builds and served_builds and asked_builds != served_builds)


def _name_and_builds(full_name: str) -> tuple[str, set[str]]:
    """Return the name of a model without endings, and the builds that its endings name.

    The name also loses folders and capitals: `unsloth/Qwen3-8B-Q4_K_M.gguf` becomes `qwen3-8b` and
    `q4_k_m`. A name that is too long is returned as it is.
    """
    builds: set[str] = set()
    if len(full_name) > _MAX_NAME_CHARS:
        return full_name, builds

    path = full_name.strip().casefold().replace("\\", "/").rstrip("/")
    name = re.sub(_FILE_ENDING, "", path.rpartition("/")[2])
    # from the end: a name may have several endings
    ending = re.search(_TAG, name) or re.search(_BUILD, name)
    while ending is not None:
        name = name[: ending.start()]
        if not re.fullmatch(_NO_BUILD, ending[1]):
            builds.add(ending[1].removeprefix("ud-"))  # Unsloth's prefix, which others omit
        ending = re.search(_TAG, name) or re.search(_BUILD, name)
    return name, builds
