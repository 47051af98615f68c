"""Choice of the server and model that answer the next turn, and the errors where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from msgspec import Struct
from msgspec.structs import replace

from lmchat.domain.model_names import cannot_chat, find_model, is_other_model, unknown_model
from lmchat.domain.product import Product
from lmchat.domain.remembered import Remembered
from lmchat.domain.server import Candidate, LoadState, ModelInfo, Target, Verdict
from lmchat.errors import (
    LMChatError,
    NoServerFound,
    RequestInvalid,
    ServerRejected,
    ServerUnavailable,
)
from lmchat.text import shell_word

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
_OTHER_WAYS = "`lmchat doctor` shows what is missing; `lmchat --local` chats without a server."
_PREFERRED_STATES = (LoadState.LOADED, LoadState.ASLEEP, LoadState.LOADING, LoadState.UNKNOWN)
"""States of a model that is chosen without a question, best first."""


class Missing(Enum):
    """The thing that is missing before a chat can begin."""

    NOTHING = auto()
    MODEL = auto()
    KEY = auto()
    SERVER = auto()


class TargetChoice(Struct, frozen=True, kw_only=True):
    """The chosen server and model, and what is missing."""

    missing: Missing
    candidate: Candidate | None = None
    target: Target | None = None

    @property
    def awaits_model(self) -> bool:
        """Whether the server is loading its model, whose name is not known yet."""
        if self.target is None or self.missing is Missing.MODEL:
            return False
        return self.target.model is None

    @property
    def chat_models(self) -> tuple[ModelInfo, ...]:
        return self.candidate.chat_models if self.candidate else ()


def choose(
    candidates: Sequence[Candidate],
    *,
    model: str,
    remembered: Remembered,
    is_named: bool = False,
) -> TargetChoice:
    """Choose the user's own server, else the last used, one of the environment, or a ready one.

    `model` is the configured one. With `is_named`, only the user's own servers count.
    """
    if is_named:
        candidates = [candidate for candidate in candidates if candidate.is_own]
    usable = [candidate for candidate in candidates if candidate.verdict.is_usable]
    if usable:
        best = min(usable, key=lambda candidate: _rank(candidate, remembered, model))
        return choose_on_server(best, model=model, remembered=remembered)
    for candidate in candidates:
        if candidate.verdict in (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED):
            return TargetChoice(missing=Missing.KEY, candidate=candidate)
    return TargetChoice(missing=Missing.SERVER)


def _rank(candidate: Candidate, remembered: Remembered, model: str) -> tuple[bool, ...]:
    """Return the sort key of a candidate, whose smallest value is best."""
    lacks_model = bool(model) and find_model(model, candidate.chat_models) is None
    return (
        lacks_model,
        not candidate.is_own,
        candidate.server_id != remembered.endpoint,
        not candidate.is_hinted,
        candidate.verdict is not Verdict.READY,
    )


def choose_on_server(candidate: Candidate, *, model: str, remembered: Remembered) -> TargetChoice:
    """Choose the model on a given server."""
    info = choose_model(candidate, model=model, remembered=remembered)
    is_loading = info is None and candidate.verdict is Verdict.LOADING
    target = Target(
        endpoint=candidate.endpoint,
        product=candidate.product,
        model=info,
        is_loading=is_loading,
    )
    missing = Missing.MODEL if info is None and not is_loading else Missing.NOTHING
    return TargetChoice(missing=missing, candidate=candidate, target=target)


def choose_model(candidate: Candidate, *, model: str, remembered: Remembered) -> ModelInfo | None:
    """Choose the configured model if it may exist, else the last used one, else a loaded one."""
    models = candidate.chat_models
    if model:
        known = find_model(model, models)
        may_exist = not (_mute_model(candidate, model) or _lacks(candidate, model))
        return _unlisted_model(model, candidate) if known is None and may_exist else known

    if remembered.endpoint == candidate.server_id:
        last = find_model(remembered.model, models)
        if last is not None and last.state is not LoadState.NOT_LOADED:
            return last
    for state in _PREFERRED_STATES:
        for info in models:
            if info.state is state:
                return info
    return None


def _unlisted_model(name: str, server: Candidate | Target) -> ModelInfo:
    return ModelInfo(model_id=name, endpoint=server.endpoint, product=server.product)


def _mute_model(candidate: Candidate, name: str) -> ModelInfo | None:
    """Return the model of this name if it cannot chat."""
    model = find_model(name, candidate.models)
    return None if model is None or model.can_chat else model


def _lacks(candidate: Candidate, name: str) -> bool:
    """Whether a server lists its models without this one.

    Gateways and cloud providers take aliases and routes that they do not list.
    """
    if candidate.product.facts.is_gateway or not candidate.endpoint.is_near:
        return False
    listed = candidate.chat_models or candidate.models
    return bool(listed) and all(is_other_model(name, model.model_id) for model in listed)


def require_model(name: str, chosen: Candidate | None, candidates: Sequence[Candidate]) -> None:
    """Raise `WrongUse` if the chosen server lacks the model of this name, or it cannot chat."""
    if chosen is None:
        return
    if (mute := _mute_model(chosen, name)) is not None:
        raise cannot_chat(mute)
    if _lacks(chosen, name):
        listed = [model for candidate in candidates for model in candidate.chat_models]
        raise unknown_model(name, listed)


def choose_without_asking(
    candidates: Sequence[Candidate], *, model: str, remembered: Remembered
) -> TargetChoice:
    """Choose without asking: also an unloaded model, if it was used last or is the only one.

    Raises `NoServerFound`, or `ServerRejected` for an unusable server.
    """
    choice = choose(candidates, model=model, remembered=remembered)
    if choice.candidate is None or choice.missing in (Missing.SERVER, Missing.KEY):
        raise why_unusable(candidates)
    if (mute := _mute_model(choice.candidate, model)) is not None:
        raise cannot_chat(mute)
    if choice.missing is not Missing.MODEL or choice.target is None:
        return choice

    if model:  # `require_model` or the server refuses it
        chosen: ModelInfo | None = _unlisted_model(model, choice.target)
    else:
        chosen = _last_used_or_only(choice.target, choice.chat_models, remembered)
    missing = Missing.NOTHING if chosen else Missing.MODEL
    return replace(choice, missing=missing, target=replace(choice.target, model=chosen))


def _last_used_or_only(
    target: Target, models: Sequence[ModelInfo], remembered: Remembered
) -> ModelInfo | None:
    for url, name in remembered.recent:
        used = find_model(name, models) if url == target.server_id else None
        if used is not None:
            return used
    return models[0] if len(models) == 1 else None


def why_unusable(candidates: Sequence[Candidate]) -> LMChatError:
    """Return why none of these servers can be used."""
    best = _nearest_to_usable(candidates)
    if best is not None and best.kind == "certificate":
        return ServerUnavailable(best.detail, kind=best.kind, hint=_sentence(best.next_step))
    if best is not None:
        sentence = _SENTENCES.get(best.verdict, "{product} at {url}: {finding}.")
        return ServerRejected(
            sentence.format(
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
        message = only.detail or f"{only.endpoint.url}: {only.finding}."
        step = _sentence(only.next_step) or _NAME_A_SERVER
        return NoServerFound(message, hint=f"{step} {_OTHER_WAYS}")
    message = f"{NOTHING_FOUND}: no model server answers on this machine."
    return NoServerFound(message, hint=f"{_NAME_A_SERVER} {_OTHER_WAYS}")


def _nearest_to_usable(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the server that the error is about: a model server, else one that the user named."""
    answering = [candidate for candidate in candidates if candidate.verdict not in _NO_SERVER]
    for candidate in answering:
        if candidate.verdict.is_server or candidate.is_own:
            return candidate
    return answering[0] if answering and len(candidates) == 1 else None


def _sentence(step: str) -> str:
    """Return a next step as a sentence; a command starts the server."""
    if not step:
        return ""
    is_command = step[0].islower() and not step.startswith("lmchat ")
    return f"Start the server: {step}." if is_command else f"{step.rstrip('.')}."


def why_no_model(choice: TargetChoice) -> RequestInvalid:
    """Return the error for a server without a model."""
    names = ", ".join(shell_word(model.model_id) for model in choice.chat_models)
    if names:
        hint = f"Choose one with -m MODEL: {names}."
    elif choice.candidate is not None and choice.candidate.models:
        hint = "The models of this server cannot chat. Load another one there."
    else:
        hint = "The server has no models. Download one there."
    product = choice.candidate.product if choice.candidate else Product.LM_STUDIO
    sentence = product.in_text("No LM Studio model selected")
    return RequestInvalid(sentence, hint=hint, kind="model_missing")
