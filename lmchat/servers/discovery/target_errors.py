"""Errors that say why no server, or no model on a server, can be chosen for the next turn."""

from __future__ import annotations

from collections.abc import Sequence

from lmchat.errors import (
    LMChatError,
    NoServerFound,
    RequestInvalid,
    ServerRejected,
    ServerUnavailable,
)
from lmchat.safe_text import shell_word
from lmchat.servers.discovery.status import VERDICTS, ServerStatus, Verdict
from lmchat.servers.products import no_model_selected
from lmchat.servers.products.product import NOTHING_FOUND, step_sentence

_NAME_A_SERVER = "Start a model server, or name one with --endpoint URL."
_NAME_A_MODEL = "If it only lacks a list of models, name a model with -m MODEL."
_OTHER_WAYS = "`lmchat doctor` shows what is missing; `lmchat --local` chats without a server."
_MAX_NAMES = 20  # most models that an error lists


def no_server_error(results: Sequence[ServerStatus], *, is_for_chat: bool = False) -> LMChatError:
    """Return the error that says why none of these servers can be used.

    With `is_for_chat`, its hint says if a chat could begin with the name of a model.

    The error is the first of these that applies:

    - why the first model server that answers cannot be used; at an address that the user has named,
      or at the only one that was tried, any other program that answers counts, too
    - why the only address failed
    - that no model server answers on this machine
    """
    is_only = len(results) == 1
    for server in results:
        is_asked_for = server.is_configured or is_only
        is_other_program = server.verdict in (Verdict.SERVER_ERROR, Verdict.NOT_AN_LLM)
        is_reported = server.verdict.is_server or (is_asked_for and is_other_program)
        if not is_reported:
            continue
        hint = step_sentence(server.next_step)
        if is_for_chat and server.may_answer:
            hint = f"{hint} {_NAME_A_MODEL}".lstrip()
        if server.kind == "certificate":
            # lmchat itself has ended the connection. Its message says so, and names the address;
            # `sentence` would say that the server answers with an error
            return ServerUnavailable(server.detail, kind=server.kind, hint=hint)
        kind = VERDICTS[server.verdict].error_kind
        message = server.sentence(server.name)
        return ServerRejected(message, kind=kind, hint=hint, details=server.detail)
    if is_only:
        (server,) = results
        step = step_sentence(server.next_step) or _NAME_A_SERVER
        message = server.detail or server.sentence(server.name)
        return NoServerFound(message, hint=f"{step} {_OTHER_WAYS}")
    message = f"{NOTHING_FOUND}: no model server answers on this machine."
    return NoServerFound(message, hint=f"{_NAME_A_SERVER} {_OTHER_WAYS}")


def no_model_error(server: ServerStatus | None) -> RequestInvalid:
    """Return the error for a server on which no model could be chosen.

    Its hint lists the models that can chat, or says that the server has none.
    """
    message = no_model_selected(server.product if server else "")
    models = server.models if server else ()
    names = [
        f"{shell_word(model.model_id)}{' (remote)' if model.is_remote else ''}"
        for model in models
        if model.can_chat
    ]
    if names:
        more = " …" if len(names) > _MAX_NAMES else ""
        hint = f"Choose one with -m MODEL: {', '.join(names[:_MAX_NAMES])}{more}."
    elif models:
        hint = "The models of this server cannot chat. Load another one there."
    else:
        message = f"{message}: the server lists no model"
        hint = "Download one there, or name one with -m MODEL: it may have models that it hides."
    return RequestInvalid(message, hint=hint, kind="model_missing")
