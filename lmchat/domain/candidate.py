"""Choice of server and model, and findings about this machine."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from enum import Enum, StrEnum, auto
from itertools import takewhile
from pathlib import PurePath

from msgspec import Struct, field
from msgspec.structs import replace

from lmchat.domain.server import (
    Candidate,
    Endpoint,
    LoadState,
    ModelInfo,
    Product,
    Target,
    Verdict,
    is_address,
    is_other_model,
    server_id_of,
)
from lmchat.errors import (
    LMChatError,
    NoServerFound,
    RequestInvalid,
    ServerRejected,
    ServerUnavailable,
    WrongUse,
)
from lmchat.text import safe_line, shell_word, similar

_RECENT = 9  # one for each of the keys Alt+1 … Alt+9


class Remembered(Struct, frozen=True, kw_only=True):
    """Choices on the screen that the next run remembers."""

    endpoint: str = ""
    model: str = ""
    recent: tuple[
        tuple[str, str], ...
    ] = ()  # (endpoint URL, model id) of the last used models, newest first
    theme: str = ""
    has_sessions: bool = True
    has_telemetry: bool = True
    has_import_offer: bool = False  # whether the import of other programs' chats was offered
    allowed_tools: dict[str, str] = field(default_factory=dict)
    """Fingerprints of tools that run without a question, by `SERVER/TOOL`; empty for an older lmchat's."""

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Addresses that were used before, the last one first."""
        return tuple(
            map(Endpoint.parse, dict.fromkeys(url for url, _ in self.recent if is_address(url)))
        )

    def with_model(self, endpoint: str, model: str) -> Remembered:
        others = [pair for pair in self.recent if pair != (endpoint, model)]
        return replace(
            self, endpoint=endpoint, model=model, recent=((endpoint, model), *others)[:_RECENT]
        )

    def with_allowed(self, tool: str, fingerprint: str) -> Remembered:
        return replace(self, allowed_tools={**self.allowed_tools, tool: fingerprint})


NOTHING_FOUND = "No LMStudio server detected"
_NO_SERVER = (Verdict.REFUSED, Verdict.TIMED_OUT, Verdict.SERVER_OFF)
_KINDS = {
    Verdict.NEEDS_KEY: "auth",
    Verdict.KEY_REJECTED: "auth",
    Verdict.HOST_BLOCKED: "host_blocked",
    Verdict.NOT_AN_LLM: "not_an_llm",
    Verdict.SERVER_ERROR: "server_error",
}
_SENTENCES = {
    Verdict.NEEDS_KEY: "{product} at {url} needs an API key.",
    Verdict.KEY_REJECTED: "{product} at {url} rejected the API key.",
    Verdict.NOT_AN_LLM: "{url} is not a model server: {seen}.",
}
_NAME_A_SERVER = "Start a model server, or name one with --endpoint URL."
_WAYS_ON = "`lmchat doctor` shows what is missing; `lmchat --local` chats without a server."
_MOST_SUGGESTED = 3
_LISTS = "`lmchat models` lists the models."


class Need(Enum):
    """The thing that is missing before a chat can begin."""

    NOTHING = auto()
    MODEL = auto()
    KEY = auto()
    SERVER = auto()


class Arrival(Struct, frozen=True, kw_only=True):
    """The chosen server and model."""

    need: Need
    candidate: Candidate | None = None
    target: Target | None = None


def choose(
    candidates: Sequence[Candidate], *, model: str, remembered: Remembered, is_named: bool = False
) -> Arrival:
    """Choose the user's own server, else the last used, one of the environment, or the first ready one.

    `model` is the configured one. With `is_named`, only the user's own servers count.
    """
    if is_named:
        candidates = [candidate for candidate in candidates if candidate.is_own]
    usable = [candidate for candidate in candidates if candidate.verdict.is_usable]
    if usable:
        best = min(usable, key=lambda one: _rank(one, remembered, model))
        return arrive_at(best, model=model, remembered=remembered)
    for candidate in candidates:
        if candidate.verdict in (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED):
            return Arrival(need=Need.KEY, candidate=candidate)
    return Arrival(need=Need.SERVER)


def arrive_at(candidate: Candidate, *, model: str, remembered: Remembered) -> Arrival:
    """Choose the model on a given server."""
    info = choose_model(candidate, model=model, remembered=remembered)
    is_loading = info is None and candidate.verdict is Verdict.LOADING
    target = Target(
        endpoint=candidate.endpoint, product=candidate.product, model=info, is_loading=is_loading
    )
    need = Need.NOTHING if info is not None or is_loading else Need.MODEL
    return Arrival(need=need, candidate=candidate, target=target)


def has_model(candidate: Candidate) -> bool:
    """Whether a server has or is loading a model to chat with."""
    return candidate.verdict in (Verdict.READY, Verdict.LOADING) or bool(chat_models(candidate))


def chat_models(candidate: Candidate | None) -> list[ModelInfo]:
    """Return the models of a server that can chat."""
    return [info for info in candidate.models if info.can_chat] if candidate else []


def is_forbidden(candidate: Candidate) -> bool:
    """Whether the allow-list forbids requests to it."""
    return candidate.kind in ("not_allowed", "insecure")


def can_be_allowed(candidate: Candidate) -> bool:
    """Whether the user only has to allow requests to it."""
    return candidate.kind == "not_allowed"


def choose_model(candidate: Candidate, *, model: str, remembered: Remembered) -> ModelInfo | None:
    """Choose the configured model if it may exist; without one the last used one, else a loaded one."""
    if model:
        known = find_model(model, chat_models(candidate))
        is_mute = _mute_model(candidate, model) is not None
        if known is not None or is_mute or _lacks(candidate, model):
            return known
        return _named(model, candidate)
    server_id = server_id_of(candidate.endpoint, candidate.product)
    last = (
        find_model(remembered.model, chat_models(candidate))
        if remembered.endpoint == server_id
        else None
    )
    if last is not None and last.state is not LoadState.NOT_LOADED:
        return last
    talking = chat_models(candidate)
    wanted = (LoadState.LOADED, LoadState.ASLEEP, LoadState.LOADING, LoadState.UNKNOWN)
    return next((info for state in wanted for info in talking if info.state is state), None)


def find_model(name: str, models: Sequence[ModelInfo]) -> ModelInfo | None:
    """Return the model of this name, which may lack Ollama's `:latest`."""
    found = (one for full in (name, f"{name}:latest") for one in models if one.model_id == full)
    return next(found, None)


def unknown_model(name: str, models: Sequence[ModelInfo]) -> WrongUse:
    """Return the error for a model that no server lists."""
    names = tuple(dict.fromkeys(one.model_id for one in models))
    near = [one for one in names if name.casefold() in one.casefold()][:_MOST_SUGGESTED]
    meant = " or ".join(near) or similar(name, names)
    words = f"No server has a model {name}" + (f"; did you mean {meant}?" if meant else ".")
    return WrongUse(safe_line(words), hint=_LISTS, kind="model_missing")


def cannot_chat(model: ModelInfo) -> WrongUse:
    """Return the error for a model that makes something else than answers."""
    words = f"{safe_line(model.model_id)} makes {model.only_for} and cannot chat."
    return WrongUse(words, hint=_LISTS, kind="model_missing")


def _mute_model(candidate: Candidate, name: str) -> ModelInfo | None:
    """Return the model of this name if it cannot chat."""
    model = find_model(name, candidate.models)
    return None if model is None or model.can_chat else model


def _named(name: str, server: Candidate | Target) -> ModelInfo:
    return ModelInfo(model_id=name, endpoint=server.endpoint, product=server.product)


def require_model(name: str, chosen: Candidate | None, candidates: Sequence[Candidate]) -> None:
    """Raise `WrongUse` if the chosen server lacks the model of this name, or it cannot chat."""
    if chosen is None:
        return
    if (mute := _mute_model(chosen, name)) is not None:
        raise cannot_chat(mute)
    if not _lacks(chosen, name):
        return
    raise unknown_model(name, [model for one in candidates for model in chat_models(one)])


def _lacks(candidate: Candidate, name: str) -> bool:
    """Whether a server lists its models, and `name` is none of them.

    LiteLLM and cloud providers take aliases and routes that they do not list.
    """
    listed = (chat_models(candidate) or candidate.models) if candidate.endpoint.is_near else ()
    is_missing = bool(listed) and all(is_other_model(name, one.model_id) for one in listed)
    return is_missing and candidate.product is not Product.LITELLM


def arrive(candidates: Sequence[Candidate], *, model: str, remembered: Remembered) -> Arrival:
    """Choose without asking: also a model that is not loaded, if it was used last or is the only one.

    Raises `NoServerFound`, or `ServerRejected` for an unusable server.
    """
    arrival = choose(candidates, model=model, remembered=remembered)
    if arrival.need in (Need.SERVER, Need.KEY):
        raise why_unusable(candidates)
    mute = _mute_model(arrival.candidate, model) if arrival.candidate else None
    if mute is not None:
        raise cannot_chat(mute)
    target, talking = arrival.target, chat_models(arrival.candidate)
    if arrival.need is not Need.MODEL or target is None:
        return arrival
    used = (find_model(name, talking) for url, name in remembered.recent if url == target.server_id)
    chosen = next(filter(None, used), talking[0] if len(talking) == 1 else None)
    chosen = _named(model, target) if model else chosen  # `require_model` or the server refuses it
    need = Need.NOTHING if chosen else Need.MODEL
    return replace(arrival, need=need, target=replace(target, model=chosen))


def why_unusable(candidates: Sequence[Candidate]) -> LMChatError:
    """Return why none of these servers can be used."""
    there = [one for one in candidates if one.verdict not in _NO_SERVER]
    named = [one for one in candidates if one.is_own]
    best = next((one for one in there if one.verdict.is_server or one in named), None)
    best = best or next(iter(there if len(candidates) == 1 else ()), None)
    if best is not None and best.kind == "certificate":
        return ServerUnavailable(best.detail, kind=best.kind, hint=_sentence(best.next_step))
    if best is not None:
        return ServerRejected(
            _SENTENCES.get(best.verdict, "{product} at {url}: {finding}.").format(
                product=best.product,
                url=best.endpoint.url,
                finding=best.finding,
                seen=best.seen or "unknown reply",
            ),
            kind=_KINDS.get(best.verdict, "server_error"),
            hint=_sentence(best.next_step),
            details=best.detail,
        )
    if len(candidates) == 1:
        only = candidates[0]
        words = only.detail or f"{only.endpoint.url}: {only.finding}."
        return NoServerFound(
            words, hint=f"{_sentence(only.next_step) or _NAME_A_SERVER} {_WAYS_ON}"
        )
    words = f"{NOTHING_FOUND}: no model server answers on this machine."
    return NoServerFound(words, hint=f"{_NAME_A_SERVER} {_WAYS_ON}")


def _sentence(step: str) -> str:
    """Return a next step as a sentence; a command starts the server."""
    is_command = step[:1].islower() and not step.startswith("lmchat ")
    return f"Start the server: {step}." if is_command else f"{step.rstrip('.')}." if step else ""


def why_no_model(arrival: Arrival) -> RequestInvalid:
    """Return the error for a server without a model."""
    names = ", ".join(shell_word(model.model_id) for model in chat_models(arrival.candidate))
    hint = (
        f"Choose one with -m MODEL: {names}."
        if names
        else "The server has no models. Download one there."
    )
    if not names and arrival.candidate is not None and arrival.candidate.models:
        hint = "The models of this server cannot chat. Load another one there."
    product = arrival.candidate.product if arrival.candidate else Product.LM_STUDIO
    return RequestInvalid(
        product.in_text("No LM Studio model selected"), hint=hint, kind="model_missing"
    )


def _rank(candidate: Candidate, remembered: Remembered, model: str) -> tuple[bool, ...]:
    return (
        bool(model) and find_model(model, chat_models(candidate)) is None,
        not candidate.is_own,
        server_id_of(candidate.endpoint, candidate.product) != remembered.endpoint,
        not candidate.is_hinted,
        candidate.verdict is not Verdict.READY,
    )


class Grade(StrEnum):
    """Grade of a finding."""

    OK = "ok"
    WARNING = "warning"
    FAULT = "fault"
    ABSENT = "absent"
    NOT_TRIED = "not tried"

    @property
    def label(self) -> str:
        """Word for people; the value belongs to the JSON form."""
        return "problem" if self is Grade.FAULT else self.value


class Group(StrEnum):
    """Heading of the report of the doctor, in its order."""

    SERVERS = "Servers"
    NETWORK = "Network"
    KEYS = "API keys"
    FILES = "Files"
    TERMINAL = "Terminal"
    CLIPBOARD = "Clipboard"
    ENGINE = "Built-in engine"
    TOOLS = "Tools"
    PROGRAM = "lmchat"


class Finding(Struct, frozen=True):
    """One row of the report of the doctor."""

    group: Group
    check: str  # name for scripts, as `store.whole`
    name: str
    grade: Grade
    cause: str
    next_step: str = ""
    facts: Mapping[str, object] = {}


class Lifetime(Enum):
    """Whether a start command is the server, and ends with lmchat."""

    BRIEF = auto()  # the command ends and the server continues
    FREE = auto()  # the command is the server and continues
    TIED = auto()  # the command is the server and ends with lmchat


class ServerStart(Struct, frozen=True, kw_only=True):
    """A command line that starts a server; run without a shell."""

    product: Product
    argv: tuple[str, ...]
    endpoint: Endpoint
    lifetime: Lifetime

    @property
    def command(self) -> str:
        return shlex.join(self.argv)

    @property
    def short(self) -> str:
        """Program and verbs, without folder and options."""
        verbs = takewhile(lambda word: not word.startswith("-"), self.argv[1:])
        return " ".join((PurePath(self.argv[0]).name, *verbs))


class PortHolder(Struct, frozen=True, kw_only=True):
    """Program that listens at a port."""

    program: str
    pid: int
    user: str


class Installed(Struct, frozen=True, kw_only=True):
    """A model server that is installed on this machine."""

    product: Product
    program: str = ""
    start: tuple[str, ...] = ()
    start_words: str = ""
