"""Choice of the server and model that answer the next turn.

`servers` are those of probes, best first. `model` is the name in flags, environment or
configuration, "" if they name none. `state` has the last used server and models.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum, auto

from msgspec import Struct

from lmchat.base.errors import (
    LMChatError,
    NoServerFound,
    RequestInvalid,
    ServerRejected,
    ServerUnavailable,
)
from lmchat.base.safe_text import shell_word
from lmchat.core.config.state import State
from lmchat.core.servers.discovery.status import Next, ServerState, ServerStatus, usable_of
from lmchat.core.servers.endpoint import Endpoint, is_address
from lmchat.core.servers.model import (
    BUILT_IN,
    OPENAI_COMPATIBLE,
    LoadState,
    ModelInfo,
    cannot_chat_error,
    find_model,
    has_other_name,
    models_meant,
    unknown_model_error,
)
from lmchat.core.servers.products import no_model_selected, product_named
from lmchat.core.servers.products.product import NOTHING_FOUND, step_sentence
from lmchat.core.servers.target import Target

_PREFERRED_STATES = (LoadState.LOADED, LoadState.ASLEEP, LoadState.LOADING, LoadState.UNKNOWN)
"""States of a model that is chosen without a question, best first."""
_NAME_A_SERVER = "Start a model server, or name one with --endpoint URL."
_NAME_A_MODEL = "If it only lacks a list of models, name a model with -m MODEL."
_OTHER_WAYS = "`lmchat doctor` shows what is missing; `lmchat --local` chats without a server."
_MAX_NAMES = 20  # that an error lists


class Named(StrEnum):
    """What the name of a model means at a server."""

    CHATS = auto()  # a model that it lists
    CANNOT_CHAT = auto()  # one that it lists
    UNCLEAR = auto()
    """Must not be sent: it can mean several listed models, or is similar to a remote one.

    The server may complete a name, or ignore case.
    """
    UNLISTED = auto()  # a model that it may have: a similar name, no list, a gateway or provider
    LACKING = auto()


class Choice(Struct, frozen=True, kw_only=True):
    """Server and model that were chosen for the next turn."""

    state: ServerState
    """READY or LOADING, or what the user has to give: NO_MODEL, NEEDS_KEY, AWAY for a server."""
    server: ServerStatus | None = None
    target: Target | None = None  # None if no server can be used

    @property
    def is_complete(self) -> bool:
        return self.state in (ServerState.READY, ServerState.LOADING)


def choose(
    servers: Sequence[ServerStatus],
    *,
    model: str,
    state: State,
    is_named: bool = False,
    can_ask: bool = True,
) -> Choice:
    """Choose the server and the model for the next turn, or find out what the user has to choose.

    A named model or the last used one may also be on a server that takes a name (`Next.NAME`).
    With `is_named`, only servers that the user has named count. Where no key can be asked for, a
    named model may be on a named server whose list needs one.
    """
    is_by_name = bool(model) and not can_ask
    if is_named:
        servers = [server for server in servers if server.is_configured]
    usable = [
        server
        for server in servers
        if server.state.is_usable
        or (server.action is Next.NAME and (model or _last_unlisted(server, state)))
        or (is_by_name and server.state is ServerState.NEEDS_KEY and server.has_named_address)
    ]
    if usable:
        best = min(usable, key=lambda server: _rank(server, state, model))
        return choose_on_server(best, model=model, state=state)
    for server in servers:
        if server.is_model_server:  # it needs a key, or blocks the name of its host
            return Choice(state=server.state, server=server)
    return Choice(state=ServerState.AWAY)


def _rank(server: ServerStatus, state: State, model: str) -> tuple[bool, ...]:
    """Return a sort key, of which the smallest is best."""
    # False is less than True
    lacks_model = refuses_name = is_remote = False
    if model:
        named, found = named_at(server, model)
        lacks_model = named is not Named.CHATS
        refuses_name = _configured_model(server, model) is None
        is_remote = not lacks_model and found.is_remote  # another server may run this model
    was_used_last = server.server_id == state.endpoint
    is_ready = server.state is ServerState.READY
    names = (lacks_model, refuses_name, is_remote)
    return (*names, not server.is_configured, not was_used_last, not is_ready)


def choose_on_server(server: ServerStatus, *, model: str, state: State) -> Choice:
    chosen = _configured_model(server, model) if model else _preferred_model(server, state)
    return _choice_of(server, chosen)


def _choice_of(server: ServerStatus, model: ModelInfo | None) -> Choice:
    """A server alone lacks a model, unless it loads one whose name is not known yet."""
    target = Target(
        endpoint=server.endpoint,
        product=model.product if model is not None else server.product,
        model=model,
    )
    state = ServerState.READY
    if model is None:
        is_loading = server.state is ServerState.LOADING
        state = ServerState.LOADING if is_loading else ServerState.NO_MODEL
    return Choice(state=state, server=server, target=target)


def named_at(server: ServerStatus, name: str) -> tuple[Named, ModelInfo]:
    """Return what a name means at a server, with the listed model, else one of this name."""
    listed = find_model(name, server.models) or find_model(name, server.chat_models)
    if listed is not None:
        return Named.CHATS if listed.can_chat else Named.CANNOT_CHAT, listed
    # without a list, the product is only expected
    is_known = server.state is not ServerState.AWAY
    product = product_named(server.product if is_known else OPENAI_COMPATIBLE)
    unlisted = product.unlisted_model(server.endpoint, name)
    similar = [
        model
        for model in server.models
        if any(not has_other_name(name, known) for known in model.names)
    ]
    if models_meant(name, server.models) or any(model.is_remote for model in similar):
        return Named.UNCLEAR, unlisted
    may_have = similar or not server.models or _may_be_provider(server)
    return Named.UNLISTED if may_have else Named.LACKING, unlisted


def _configured_model(server: ServerStatus, name: str) -> ModelInfo | None:
    """Return None if it must not be sent, or cannot chat, or the server lacks it."""
    named, model = named_at(server, name)
    # the list of a named server may be incomplete: its chat decides
    may_have = named is Named.LACKING and server.has_named_address
    return model if may_have or named in (Named.CHATS, Named.UNLISTED) else None


def _preferred_model(server: ServerStatus, state: State) -> ModelInfo | None:
    """Return the last used model, else one in memory: the one used last, if it has several.

    Without states, it is the first one, but not of a provider: its models may cost money. A remote
    model is returned only if the user has used it last.
    """
    models = server.chat_models
    if (unlisted := _last_unlisted(server, state)) is not None:
        return unlisted
    # not the engine's: if it has not loaded this model, the start with it has failed,
    # and would fail again
    if state.endpoint == server.server_id and server.product != BUILT_IN:
        last = find_model(state.model, models)
        # also unloaded, as Ollama leaves it: the first prompt loads it
        if last is not None and (state.is_remote or not last.is_remote):
            return last
    recent = [used.model for used in state.recent if used.endpoint == server.server_id]
    by_use = sorted(models, key=lambda one: [*recent, one.model_id].index(one.model_id))
    for load_state in _PREFERRED_STATES:  # which does not contain `NOT_LOADED`
        if load_state is LoadState.UNKNOWN and _may_be_provider(server):
            return None
        for candidate in by_use:
            if candidate.state is load_state:
                return candidate
    return None


def _last_unlisted(server: ServerStatus, state: State) -> ModelInfo | None:
    """Return the last used model of a server that lists none."""
    is_last = state.endpoint == server.server_id and bool(state.model)
    if not is_last or server.models or server.action is not Next.NAME:
        return None
    _, last = named_at(server, state.model)
    return last if state.is_remote or not last.is_remote else None


def _unloaded_model(server: ServerStatus, state: State) -> ModelInfo | None:
    """Return the last used model of a server, else its only one, but no remote one."""
    models = [model for model in server.chat_models if not model.is_remote]
    for used in state.recent:  # newest first; `state.model` may be on another server
        served = find_model(used.model, models)
        if served is not None and used.endpoint == server.server_id:
            return served
    return models[0] if len(models) == 1 else None


def _may_be_provider(server: ServerStatus) -> bool:
    """Cloud providers are outside the user's network."""
    return product_named(server.product).is_gateway or not server.endpoint.is_near


def require_model(name: str, chosen: ServerStatus | None, servers: Sequence[ServerStatus]) -> None:
    """Raise `WrongUse` if the chosen server lacks the model of this name.

    The error suggests similar models, or says which server needs a key: it may have the model.
    """
    if chosen is None or named_at(chosen, name)[0] not in (Named.UNCLEAR, Named.LACKING):
        return
    listed = [model for server in servers for model in server.chat_models]
    error = unknown_model_error(name, listed)
    for server in servers:
        if server.state is ServerState.NEEDS_KEY:
            error.next_step = f"{server.sentence(server.name)} {step_sentence(server.next_step)}"
            break
    raise error


def choose_without_asking(servers: Sequence[ServerStatus], *, model: str, state: State) -> Choice:
    """Choose where there is no user to ask; only a model may be missing.

    Raises `WrongUse` for a configured model that cannot chat, and for a name that is unclear, and
    `no_server_error`.
    """
    choice = choose(servers, model=model, state=state, can_ask=False)
    server = choice.server
    target = choice.target
    if server is None or target is None:
        raise no_server_error(servers, is_for_chat=True)
    if not model:
        is_loaded = choice.state is not ServerState.NO_MODEL
        return choice if is_loaded else _choice_of(server, _unloaded_model(server, state))
    named, found = named_at(server, model)
    if named is Named.CANNOT_CHAT:
        raise cannot_chat_error(found)
    if named is Named.UNCLEAR:
        raise unknown_model_error(model, server.chat_models)
    return _choice_of(server, found)


def can_pull(server: ServerStatus) -> bool:
    """Whether it downloads models on request, as far as lmchat knows."""
    return server.state.is_usable and product_named(server.product).can_pull(server.models)


def server_for_pull(servers: Sequence[ServerStatus], used: Endpoint | None) -> ServerStatus:
    """Return the used server, else the best that can download a model.

    If none can, return the best: its error says what else to do. Raises `no_server_error`.
    """
    usable = usable_of(servers)
    if not usable:
        raise no_server_error(servers)
    able = [server for server in usable if can_pull(server)]
    return next((server for server in able if server.endpoint == used), (able or usable)[0])


def unlisted_model(
    name: str, servers: Sequence[ServerStatus], state: State, *, is_named: bool = False
) -> ModelInfo | None:
    """Return a model that no server lists, on the best server that may have it all the same.

    None for a part of a listed name, and for several words, which may be a prompt.
    """
    listed = [model for server in servers for model in server.models]
    if len(name.split()) != 1 or any(
        name.casefold() in model.model_id.casefold() for model in listed
    ):
        return None
    target = choose(servers, model=name, state=state, is_named=is_named, can_ask=False).target
    return None if target is None else target.model


def no_server_error(servers: Sequence[ServerStatus], *, is_for_chat: bool = False) -> LMChatError:
    """With `is_for_chat`, the next step says if a chat could start with the name of a model."""
    is_only = len(servers) == 1
    for server in servers:
        is_asked_for = server.is_configured or is_only
        if not (server.is_model_server or (is_asked_for and server.meaning.error_kind)):
            continue
        next_step = step_sentence(server.next_step)
        if is_for_chat and server.action is Next.NAME:
            next_step = f"{next_step} {_NAME_A_MODEL}".lstrip()
        message = server.sentence(server.name)
        kind = server.meaning.error_kind or "server_error"
        if kind == "certificate":  # lmchat has ended the connection: nothing was refused
            return ServerUnavailable(server.detail, kind=kind, next_step=next_step)
        return ServerRejected(message, kind=kind, next_step=next_step, details=server.detail)
    if is_only:
        (server,) = servers
        step = step_sentence(server.next_step) or _NAME_A_SERVER
        message = server.detail or server.sentence(server.name)
        return NoServerFound(message, next_step=f"{step} {_OTHER_WAYS}")
    places = [server.endpoint.netloc for server in servers if server.reason == "far_offline"]
    where = " or at ".join(["on this machine", *places])
    return NoServerFound(
        f"{NOTHING_FOUND}: no model server answers {where}.",
        next_step=f"{_NAME_A_SERVER} {_OTHER_WAYS}",
    )


def no_model_error(server: ServerStatus | None) -> RequestInvalid:
    message = no_model_selected(server.product if server else "")
    models = server.models if server else ()
    names = [
        f"{shell_word(model.model_id)}{' (remote)' if model.is_remote else ''}"
        for model in models
        if model.can_chat
    ]
    if names:
        more = " …" if len(names) > _MAX_NAMES else ""
        next_step = f"Choose one with -m MODEL: {', '.join(names[:_MAX_NAMES])}{more}."
    elif models:
        next_step = "The models of this server cannot chat. Load another one there."
    else:
        message = f"{message}: the server lists no model."
        next_step = (
            "Download one there, or name one with -m MODEL: it may have models that it hides."
        )
    return RequestInvalid(message, next_step=next_step, kind="model_missing")


def endpoints_of(state: State) -> tuple[Endpoint, ...]:
    """Return those of the last used models, newest first, without the engine's."""
    servers = (used.endpoint for used in state.recent if used.endpoint != BUILT_IN)
    return tuple(dict.fromkeys(Endpoint.parse(server) for server in servers if is_address(server)))
