"""Rows of the doctor's report about servers, the chat that would start, and API keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from lmchat.app.leaves.doctor.finding import Finding, Grade, Group
from lmchat.base.safe_text import safe_line
from lmchat.core.servers.discovery.choose import Choice
from lmchat.core.servers.discovery.status import ServerState, ServerStatus

SERVERS = partial(Finding, Group.SERVERS, "servers", "Servers")
"""These names are for a row that says that the check failed.

Rows of the functions below have other names.
"""

_ANSWERS_BUT_REFUSES = (ServerState.NEEDS_KEY, ServerState.REFUSES)
_NAMES_CHARS = 200  # for the names of models in a row


def server_findings(
    servers: Sequence[ServerStatus], choice: Choice, how_to_start: Mapping[str, str]
) -> list[Finding]:
    """Return a row for each server address.

    `choice` is the server and model of the chat that would start now. `how_to_start` has the
    installed products, running or not.
    """
    # also without a model: the user then chooses one
    has_chat = choice.state.is_usable
    # a fault of one server is less grave if a chat can start with another
    fault_grade = Grade.WARNING if has_chat else Grade.FAULT
    warning_grade = Grade.ABSENT if has_chat else Grade.WARNING
    labels = [server.label for server in servers]
    rows: list[Finding] = []
    for server in servers:
        cause, step = _sentence_about(server), server.next_step
        # named by the user, or the built-in engine
        is_usual_address = server.endpoint.is_loopback and not server.is_configured
        name = server.label if is_usual_address or server.own_name else server.endpoint.netloc
        if labels.count(name) > 1:
            name = server.endpoint.netloc
        if server.state.is_usable:
            # it may be unready without a warning, unless it is to be used
            is_to_be_used = server.is_configured or choice.server is server
            is_unready = server.state is not ServerState.READY
            grade = Grade.WARNING if is_unready and is_to_be_used else Grade.OK
        elif server.is_configured or server.state in _ANSWERS_BUT_REFUSES:
            grade = fault_grade
        elif server.meaning.has_program:  # it serves no models
            grade = warning_grade
        elif server.product in how_to_start:  # nothing answers, but the product could be started
            grade = warning_grade
            cause = f"It is installed, but nothing answers at {server.endpoint.url}."
            step = how_to_start[server.product]
        else:
            grade = Grade.ABSENT
        rows.append(Finding(Group.SERVERS, "server", name, grade, cause, step))
    return rows


def chat_finding(
    servers: Sequence[ServerStatus],
    choice: Choice,
    how_to_start: Mapping[str, str],
    *,
    is_named: bool,
    engine_step: str,
) -> Finding:
    """Return the row about the chat that would start now, with the step most likely to help.

    With `is_named`, the user has named the one server to use. `engine_step` says how to chat
    without a server; "" if the engine is not installed. If no chat can start, the row is a fault,
    or a warning if the engine could be used.
    """
    row = partial(Finding, Group.SERVERS, "chat", "Chat")
    server = choice.server
    target = choice.target
    # a chosen server can be used, unless its key is missing
    if server is not None and choice.state.is_usable:
        model = safe_line(target.model_id, limit=_NAMES_CHARS) if target else ""
        if model and server.state is ServerState.READY:
            return row(Grade.OK, f"A chat would use {model} on {server.name}.")
        cause = f"A chat would use {model or 'a model, when one is ready,'} on {server.name}."
        return row(Grade.WARNING, cause, server.next_step or "Choose a model with /model or -m")

    if is_named:
        grade = Grade.FAULT
        cause = "The server you named cannot be used."
        steps = [result.next_step for result in servers if result.is_configured]
        steps.append("Correct its address")
    else:
        grade = Grade.WARNING if engine_step else Grade.FAULT
        cause = "No server is ready for a chat."
        # one that answers, or whose program runs, needs one step only, so it comes first
        steps = [
            f"{result.label}: {result.next_step}"
            for result in servers
            if result.state in _ANSWERS_BUT_REFUSES or result.reason == "server_off"
        ]
        steps += [
            engine_step,
            *how_to_start.values(),
            "Start a model server, or name one with --endpoint URL",
        ]
    return row(grade, cause, next(filter(None, steps)))  # some are ""


def _sentence_about(server: ServerStatus) -> str:
    cause = server.sentence(server.name)
    # else its models are not known or of no use
    if server.state not in (ServerState.READY, ServerState.NO_MODEL) or not server.models:
        return cause
    names = safe_line(", ".join(model.model_id for model in server.chat_models), limit=_NAMES_CHARS)
    models = f"models: {names}" if names else "none of its models can chat"
    return f"{cause.removesuffix('.')}; {models}."


def key_findings(
    servers: Sequence[ServerStatus],
    sources: Mapping[str, str],
    stored: Sequence[str],
    warning: str,
) -> list[Finding]:
    """Return a row for each server that accepts or rejects a key, and rows about stored keys.

    `sources` says where the key for a server comes from, by origin, such as http://localhost:1234;
    "" means that none is sent. `stored` are the origins with a stored key. `warning` says why
    stored keys could not be read, or is "".
    """
    row = partial(Finding, Group.KEYS, "key")
    rows: list[Finding] = []
    for server in servers:
        url = server.endpoint.url
        source = sources.get(server.endpoint.origin, "")
        if server.reason == "key_rejected":
            cause = f"{url} rejects the API key from {source}."
            rows.append(row(server.label, Grade.WARNING, cause, server.next_step))
        elif source and server.state.is_usable:
            cause = f"{url} accepts the API key from {source}."
            rows.append(row(server.label, Grade.OK, cause))
    if warning:
        rows.append(row("Keys", Grade.WARNING, warning))
    text = f"Stored for {', '.join(stored)}." if stored else "No API key is stored."
    return [*rows, row("Stored", Grade.OK, text)]
