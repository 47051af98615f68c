"""Models of servers, and the ways in which servers spell the names of models."""

from __future__ import annotations

import re
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from lmchat.base.errors import WrongUse
from lmchat.base.matching import closest_word
from lmchat.base.safe_text import SafeText, safe_line
from lmchat.core.servers.endpoint import Endpoint

BUILT_IN = "built-in"  # product of the built-in engine
OPENAI_COMPATIBLE = "OpenAI-compatible"  # an unknown product
_MOST_HOST = 80  # characters in a sentence


class LoadState(StrEnum):
    """Whether a model is in memory."""

    LOADED = "loaded"
    ASLEEP = "asleep"
    """Taken out of memory; the next request loads it again."""
    LOADING = "loading"
    NOT_LOADED = "not loaded"
    UNKNOWN = "unknown"
    REMOTE = "remote"
    """It does not run where its server runs."""


def server_id_of(endpoint: Endpoint, product: str) -> str:
    """Return the address, or the product for the built-in engine, whose port changes."""
    return product if product == BUILT_IN else endpoint.url


def server_name_of(endpoint: Endpoint, product: str) -> str:
    """Return the product; of an unknown one, the address."""
    return endpoint.netloc if product == OPENAI_COMPATIBLE else product


def name_and_address(product: str, address: str) -> str:
    """Such as "Jan localhost:1337"; of an unknown product, the address alone."""
    return address if product in (OPENAI_COMPATIBLE, address) else f"{product} {address}".strip()


class ModelInfo(Struct, frozen=True, kw_only=True):
    """A model of a server."""

    model_id: str
    endpoint: Endpoint
    product: str
    state: LoadState = LoadState.UNKNOWN
    load_failure: str = ""  # why the last attempt to load it failed; empty: it did not
    load_fraction: float | None = None  # part that is loaded, 0 to 1; only while lmchat loads it
    kind: str = ""
    """What it is for, if it cannot chat, such as "embedding"; else, and if not known, empty."""
    params: str = ""
    """Number of parameters, such as "8B"; empty: not known."""
    quantization: str = ""  # such as "Q4_K_M"; empty: not known
    context_loaded: int | None = None
    """Tokens of the window with which it is loaded, or would be by a request; None: not known."""
    context_max: int | None = None  # tokens of the largest window; None: not known
    has_own_window: bool = False  # whether its own file sets the window, and not the server
    size_bytes: int | None = None  # None: not known
    can_remove: bool = True  # False: its server says that it does not delete it
    # what it can, as its server says; None: the server does not say
    tools: bool | None = None
    images: bool | None = None
    reasoning: bool | None = None
    opens_thoughts: bool | None = None
    """Whether the chat template may open the thought; None: the server does not show it."""
    keeps_thoughts: bool = False
    """Whether the chat template shows the model the thoughts of all its answers."""
    efforts: tuple[str, ...] = ()
    """Values of `reasoning_effort` that the server names for this model; none if it names none."""
    slots: int | None = None
    """How many requests are answered at once; None if the server does not say."""
    has_own_slots: bool = False
    """Whether the slots are those of this model only, as behind a router."""
    aliases: tuple[str, ...] = ()  # other names by which its server takes it
    checkpoint: str = ""  # shared by the models of Lemonade that are one; empty: not told
    created: int | None = None  # seconds since 1970; None: not known
    owned_by: str = ""  # as the server says it
    runs_at: str = ""
    """Host or provider of a remote model, as its server names it; empty: not known, or not remote.
    """

    @property
    def names(self) -> tuple[str, ...]:
        return (self.model_id, *self.aliases)

    @property
    def is_remote(self) -> bool:
        """Whether it does not run where its server runs.

        A remote model is used only if the user has named or chosen it, as prompts to it leave the
        machine of the server.
        """
        return self.state is LoadState.REMOTE

    @property
    def state_word(self) -> str:
        return "failed" if self.load_failure else self.state.value

    @property
    def remote_note(self) -> str:
        """Sentence for the user before the first prompt to a remote model."""
        place = f" ({safe_line(self.runs_at, limit=_MOST_HOST)})" if self.runs_at else ""
        name = safe_line(self.model_id)
        return f"{name} does not run on this machine: the prompt leaves it{place}."

    @property
    def server_id(self) -> str:
        return server_id_of(self.endpoint, self.product)

    @property
    def can_chat(self) -> bool:
        return not self.kind

    @property
    def capabilities(self) -> tuple[str, ...]:
        abilities = {"tools": self.tools, "vision": self.images, "reasoning": self.reasoning}
        return tuple(name for name, is_able in abilities.items() if is_able)


class ModelList(Struct, frozen=True, kw_only=True):
    """Models of one or more servers."""

    models: tuple[ModelInfo, ...] = ()
    age_s: float = 0.0  # age of the oldest list among them


# ending of a file: ".gguf", "-00001-of-00003.gguf"
_FILE_ENDING = r"(-\d{5}-of-\d{5})?\.gguf$"
_INSTANCE = r":\d$"  # of a model that LM Studio has loaded several times
_NO_BUILD = r"-(latest|gguf|mlx|ud)(?=-|$)"  # they make no difference
# endings that name a build, a quantization, format or date:
# "-Q4_K_M", "-fp16", "-4bit", "-2024-07-18"
_BUILDS = r"([-.](\d{4}-\d\d-\d\d|\d{8}|\d{4}|i?q\d\w*|b?fp?(8|16|32)|mxfp4|\d+bit|awq|gptq))*"
_DATES = r"([-.](\d{4}-\d\d-\d\d|\d{8}|\d{4}))*"  # those of `_BUILDS`
_MAX_SUGGESTED = 3
_KINDS = {
    "embedding": "makes embeddings",
    "reranking": "sorts documents",
    "image": "makes images",
    "speech": "speaks or listens",
}
_LIST_STEP = "`lmchat models` lists the models."


def find_model(name: str, models: Sequence[ModelInfo]) -> ModelInfo | None:
    """Return the only model that a name can mean."""
    possible = models_meant(name, models)
    return possible[0] if len(possible) == 1 else None


def models_meant(name: str, models: Sequence[ModelInfo]) -> list[ModelInfo]:
    """Return the models that a name can mean, each id once.

    If none has exactly this name or alias, publisher or registry, Ollama's `:latest` and case make
    no difference. A remote model is meant only by its whole name, and behind the others.
    """
    local = [model for model in models if not model.is_remote]
    remote = [model for model in models if model.is_remote]
    for wanted, among in ((name, (*local, *remote)), (f"{name}:latest", local)):
        for model in among:
            if model.model_id == wanted:
                return [model]
        for model in among:
            if wanted in model.aliases:
                return [model]
    possible: dict[str, ModelInfo] = {}
    for model in local:
        if any(_is_same_name(name, known) for known in model.names):
            possible.setdefault(model.model_id, model)
    return list(possible.values())


def _is_same_name(name: str, known: str) -> bool:
    """Ignore publisher, `:latest` and case."""
    shorter, longer = sorted(
        (text.casefold().replace("\\", "/").removesuffix(":latest") for text in (name, known)),
        key=len,
    )
    return bool(shorter) and (longer == shorter or longer.endswith(f"/{shorter}"))


def find_by_part(name: str, models: Sequence[ModelInfo]) -> ModelInfo | None:
    """Return the model of this name, else the first with the only name that contains it.

    A part means no remote one.
    """
    if found := find_model(name, models):
        return found
    matches = {
        model.model_id: model
        for model in reversed(models)
        if not model.is_remote and name.casefold() in model.model_id.casefold()
    }
    # it is a part of every name
    return matches.popitem()[1] if name and len(matches) == 1 else None


def model_meant(
    name: str,
    models: Sequence[ModelInfo],
    *,
    used: Endpoint | None = None,
    is_exact: bool = False,
    is_for_chat: bool = True,
) -> ModelInfo:
    """Return the model of this name, else, unless `is_exact`, the only one that contains it.

    Of several servers with such a model, it is at the `used` one. Raises `WrongUse`, also for a
    model that cannot chat, if it `is_for_chat`.
    """
    find = find_model if is_exact else find_by_part
    models = sorted(models, key=lambda model: model.endpoint != used)
    possible = [model for model in models if model.can_chat or not is_for_chat]
    if found := find(name, possible):
        return found
    without_chat = find(name, models)
    raise cannot_chat_error(without_chat) if without_chat else unknown_model_error(name, possible)


def unknown_model_error(name: str, models: Sequence[ModelInfo]) -> WrongUse:
    suggestion = similar_names(name, models)
    ending = f"; did you mean {suggestion}?" if suggestion else "."
    return WrongUse(
        safe_line(f"No server has a model {name}{ending}"),
        next_step=_LIST_STEP,
        kind="model_missing",
    )


def similar_names(name: str, models: Sequence[ModelInfo]) -> str:
    """Return up to three names that it can mean, or that contain it, as "A or B".

    Else the most similar one; "" if none is similar.
    """
    known_names = tuple(dict.fromkeys(model.model_id for model in models))
    longer_names = [model.model_id for model in models_meant(name, models)] or [
        known for known in known_names if name.casefold() in known.casefold()
    ]
    return " or ".join(longer_names[:_MAX_SUGGESTED]) or closest_word(name, known_names)


def cannot_chat_error(model: ModelInfo) -> WrongUse:
    """Its kind is that of a missing model, which it is for a chat."""
    makes = _KINDS.get(model.kind, "makes no text")
    return WrongUse(
        f"{safe_line(model.model_id)} {makes} and cannot chat.",
        next_step=_LIST_STEP,
        kind="model_missing",
    )


def is_other_model(asked: str, served: str, listed: Sequence[ModelInfo]) -> bool:
    """Return whether a server answers with another model of its list.

    A `served` name that it does not list is its own name of the model, such as the path of a file;
    a dated one is a version of it.
    """
    exact = [model for model in listed if served == model.model_id]
    found = find_model(served, exact if _is_path(served) else listed)
    if found is None or not asked:
        return False
    meant = find_model(asked, listed)
    names = (meant.model_id if meant else asked, found.model_id)
    shorter, longer = sorted((name.removesuffix("-latest") for name in names), key=len)
    return re.fullmatch(re.escape(shorter) + _DATES, longer) is None


def _is_path(name: str) -> bool:
    return name.startswith(("/", "\\", "~")) or name[1:2] == ":"


def name_to_show(name: str) -> SafeText:
    """Return only the end of a path, which some servers have for a name."""
    return safe_line(re.split(r"[/\\]", name.rstrip("/\\"))[-1] if _is_path(name) else name)


def has_other_name(asked: str, served: str) -> bool:
    """Return whether two names are of different models.

    Folder, publisher, ending of a file and number of an instance (`:2`) make no difference, nor
    does a build (`-q4_k_m`) that only one of them has. An empty name may be of any model.
    """
    shorter, longer = sorted((_short_name(asked), _short_name(served)), key=len)
    if not longer.startswith(shorter):
        return True
    return bool(shorter) and re.fullmatch(_BUILDS, longer.removeprefix(shorter)) is None


def _short_name(name: str) -> str:
    """Return "qwen3-8b-q4_k_m" for "Publisher/Qwen3-8B-Q4_K_M.gguf"."""
    path = name.strip().casefold().replace("\\", "/").rstrip("/")
    name = re.sub(_FILE_ENDING, "", path.rpartition("/")[2])
    name = re.sub(_INSTANCE, "", name)
    name = re.sub("[:@]", "-", name)  # "qwen3:8b" of Ollama, "qwen3-8b@q4_k_m" of LM Studio
    return re.sub(_NO_BUILD, "", name)
