"""Rows of the doctor's report about servers, the chat that would begin, and API keys.

A result is an address that was probed for a server; its verdict is the result. A finding is a
row of the report; its grade says how bad it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from msgspec import Struct, field

from lmchat.config.state import State
from lmchat.doctor.report import CheckResult, Grade, Group, Subject
from lmchat.safe_text import safe_line
from lmchat.servers.discovery.choose_model import Missing, TargetChoice, choose
from lmchat.servers.discovery.launcher import Installed
from lmchat.servers.discovery.probe_result import ProbeResult, Verdict
from lmchat.servers.model import LoadState, ModelInfo

_ANSWERS_BUT_REFUSES = (
    Verdict.NEEDS_KEY,
    Verdict.KEY_REJECTED,
    Verdict.HOST_BLOCKED,
    Verdict.SERVER_ERROR,
)
# the cause of a row by verdict; `_cause` fills in the placeholders
_CAUSES = {
    Verdict.READY: "It answers at {place}{latency}; {models}.",
    Verdict.LOADING: "It answers at {place}{latency} and loads a model.",
    Verdict.NO_MODEL: "It answers at {place}{latency}; no model is loaded, {models}.",
    Verdict.NEEDS_KEY: "It answers at {place} and needs an API key.",
    Verdict.KEY_REJECTED: "It answers at {place} and rejects the API key.",
    Verdict.HOST_BLOCKED: "It answers at {place} and does not accept the host name {host}.",
    Verdict.SERVER_OFF: "The program runs, but its server is off: nothing answers at {place}.",
    Verdict.SERVER_ERROR: "It answers at {place} with an error: {detail}.",
    Verdict.NOT_AN_LLM: "The program at {place} is not a model server{seen}.",
    Verdict.REFUSED: "Nothing answers at {place}.",
    Verdict.TIMED_OUT: "A program accepts connections at {place} but does not answer in time.",
}
_NAME_A_SERVER = "Start a model server, or name one with --endpoint URL"
_MAX_NAMES = 3  # models that a row names
_NAME_CHARS = 60
_DETAIL_CHARS = 200  # of an error message, or of the answer of a program that is no server


class Detected(Struct, frozen=True, kw_only=True):
    """Probed servers, and what else the report needs to know about them."""

    results: tuple[ProbeResult, ...]
    installed: tuple[Installed, ...] = ()
    model: str = ""  # model that the user named
    state: State = field(default_factory=State)
    is_named: bool = False  # whether the user named the one server to use
    engine_step: str = ""  # how to chat without any server; empty where the engine is not installed
    sources: Mapping[str, str] = field(default_factory=dict)
    """Where the API key for a server comes from, by origin, such as http://localhost:1234."""
    stored: Sequence[str] = ()  # origins that a key is stored for
    warnings: Sequence[str] = ()  # sentences about keys that could not be read

    @property
    def choice(self) -> TargetChoice:
        """The server and model that a chat would begin with, as `lmchat` chooses them."""
        return choose(
            self.results,
            model=self.model,
            state=self.state,
            is_named=self.is_named,
        )

    @property
    def has_chat(self) -> bool:
        """Whether a chat could begin with some server, perhaps after the choice of a model."""
        return self.choice.missing in (Missing.NOTHING, Missing.MODEL)

    def installed_as(self, probed: ProbeResult) -> Installed | None:
        """Return the installed program of a result's product.

        None if none was found, and for an address that the user named.
        """
        if probed.is_own:
            return None
        for installed in self.installed:
            if installed.product == probed.product:
                return installed
        return None


def server_findings(detected: Detected) -> list[CheckResult]:
    """Return the row about the chat, one row for each probed address, and the rows about keys."""
    servers = [_server_row(probed, detected) for probed in detected.results]
    return [_chat_row(detected), *servers, *_key_rows(detected)]


def _chat_row(detected: Detected) -> CheckResult:
    """Return the row about the chat that would begin now, or why no chat can begin.

    It is a fault if no chat can begin, or a warning if the built-in engine could be used instead.
    """
    chat = Subject(Group.SERVERS, "chat", "Chat")
    can_use_engine = bool(detected.engine_step) and not detected.is_named
    grade_without_chat = Grade.WARNING if can_use_engine else Grade.FAULT

    probed = detected.choice.probed
    if probed is None:
        cause = "No server is ready for a chat."
        if detected.is_named:
            cause = "The server you named cannot be used."
        return chat.graded(grade_without_chat, cause, _first_step(detected))

    place = f"{probed.product} at {probed.endpoint.url}"
    if not detected.has_chat:
        cause = f"{place} needs a valid API key."
        return chat.graded(grade_without_chat, cause, _first_step(detected))

    target = detected.choice.target
    model = "" if target is None else _short(target.model_id)
    if model and probed.verdict is Verdict.READY:
        return chat.ok(f"A chat would use {model} on {place}.")
    cause = f"A chat would use {model or 'a model, when one is ready,'} on {place}."
    step = probed.next_step or "Choose a model with Ctrl+O or -m"
    return chat.warning(cause, step)


def _first_step(detected: Detected) -> str:
    """Return the step after which a chat is most likely to begin.

    If the user has named a server that was not probed, its address has to be corrected. Otherwise
    it is the first of these that exists: the step of the chosen server, that of another server
    which answers or runs, the use of the built-in engine, the start of an installed server, the
    start of any server.
    """
    one_step_away = [probed for probed in detected.results if _is_one_step_away(probed, detected)]
    if detected.is_named and not one_step_away:
        return "Correct its address"
    if detected.choice.probed is not None:
        return _step_with_product(detected.choice.probed)
    if one_step_away:
        return _step_with_product(one_step_away[0])
    if detected.engine_step:
        return detected.engine_step
    return detected.installed[0].start_words if detected.installed else _NAME_A_SERVER


def _is_one_step_away(probed: ProbeResult, detected: Detected) -> bool:
    """Whether the next step of a result would probably lead to a chat.

    If the user has named the server to use, only that one counts, whatever its state is.
    """
    if detected.is_named:
        return probed.is_own
    return probed.verdict in (*_ANSWERS_BUT_REFUSES, Verdict.SERVER_OFF)


def _step_with_product(probed: ProbeResult) -> str:
    """Return the next step for a server, or a general one if it has none.

    Before a sentence that does not name the product, its name is put: "Jan: Load a model". A
    command, such as "ollama serve", stays as it is.
    """
    step = probed.next_step or _NAME_A_SERVER
    is_sentence = step[:1].isupper()
    return f"{probed.product}: {step}" if is_sentence and probed.product not in step else step


def _server_row(probed: ProbeResult, detected: Detected) -> CheckResult:
    """Return the row about one probed address.

    The row has the name of the product. If the user named the address, or if it is on another
    machine, the row has the host and port instead.
    """
    endpoint = probed.endpoint
    installed = detected.installed_as(probed)

    step = probed.next_step
    if probed.verdict is Verdict.REFUSED and installed is not None:
        step = installed.start_words
    is_usual_address = endpoint.is_loopback and not probed.is_own
    name = probed.product if is_usual_address else endpoint.netloc
    server = Subject(Group.SERVERS, "server", name)
    grade = _grade(probed, detected, is_installed=installed is not None)
    cause = _cause(probed, is_installed=installed is not None)
    return server.graded(grade, cause, step)


def _cause(probed: ProbeResult, *, is_installed: bool) -> str:
    """Return the sentences about what answers at an address.

    They are the text of `_CAUSES` for the verdict, except for an installed server that does not
    run, a certificate, and an address that may not be asked.
    """
    url = probed.endpoint.url
    detail = _short(probed.detail, _DETAIL_CHARS)
    if probed.verdict is Verdict.REFUSED and is_installed:
        return f"It is installed, but nothing answers at {url}."
    if probed.kind == "certificate":
        return detail
    if probed.is_forbidden:
        return f"It was not checked: {detail}."

    latency_ms = probed.latency_ms
    return _CAUSES[probed.verdict].format(
        place=url,
        latency="" if latency_ms is None else f" in {max(latency_ms, 1):.0f} ms",
        models=_models(probed),
        host=probed.endpoint.host,
        detail=detail.rstrip(".") or "no message",
        seen=f": {_short(probed.seen, _DETAIL_CHARS)}" if probed.seen else "",
    )


def _grade(probed: ProbeResult, detected: Detected, *, is_installed: bool) -> Grade:
    """Return the grade of the row about an address.

    - Ready: ok.
    - Usable, not ready: a warning if the user has named it or a chat would use it, else ok.
    - Not usable, but named by the user, or a server that refuses requests: a fault if no chat can
      begin, else a warning.
    - Any other address: a warning if no chat can begin and a program runs there or is installed,
      else absent.
    """
    verdict = probed.verdict
    if verdict is Verdict.READY:
        return Grade.OK
    if verdict.is_usable:
        is_to_be_used = probed.is_own or detected.choice.probed is probed
        return Grade.WARNING if is_to_be_used else Grade.OK
    if probed.is_own or verdict in _ANSWERS_BUT_REFUSES:
        return Grade.WARNING if detected.has_chat else Grade.FAULT
    is_present = verdict is not Verdict.REFUSED or is_installed
    return Grade.WARNING if is_present and not detected.has_chat else Grade.ABSENT


def _models(probed: ProbeResult) -> str:
    """Return words about the models of a server that can chat.

    They name the loaded ones; if none exist, those that are asleep; else all of them.
    """
    chat_models = probed.chat_models
    for state in (LoadState.LOADED, LoadState.ASLEEP):
        in_state = [model for model in chat_models if model.state is state]
        if in_state:
            verb = "are" if len(in_state) > 1 else "is"
            return f"{_names(in_state)} {verb} {state}"
    if probed.models and not chat_models:
        return f"it has no model that can chat, only {_names(probed.models)}"
    return f"it has {_names(chat_models)}"


def _names(models: Sequence[ModelInfo]) -> str:
    """Return the names of the first 3 models, and how many more there are; "no model" for none."""
    names = [_short(model.model_id) for model in models]
    listed = ", ".join(names[:_MAX_NAMES]) or "no model"
    more = len(names) - _MAX_NAMES
    return f"{listed} and {more} more" if more > 0 else listed


def _short(text: str, limit: int = _NAME_CHARS) -> str:
    """Return a text of a server as one safe line of at most `limit` characters."""
    return safe_line(text, limit=limit)


def _key_rows(detected: Detected) -> list[CheckResult]:
    """Return the rows about API keys.

    There is one for each server that needs or has a key, one for each warning about keys that could
    not be read, and one about the stored keys.
    """
    rows: list[CheckResult] = []
    for probed in detected.results:
        row = _key_row(probed, detected)
        if row is not None:
            rows.append(row)
    keys = Subject(Group.KEYS, "key", "Keys")
    rows += [keys.warning(words) for words in detected.warnings]

    cause = "No API key is stored."
    if detected.stored:
        cause = f"Stored for {', '.join(detected.stored)}."
    rows.append(Subject(Group.KEYS, "key", "Stored").ok(cause))
    return rows


def _key_row(probed: ProbeResult, detected: Detected) -> CheckResult | None:
    """Return the row about the key of a server, in one of these states.

    - Rejected or missing: the server cannot be used without another key.
    - Works: it can be used, and has got a key.

    None for any other server: it cannot be used for another reason, or no key is set for it.
    """
    url = probed.endpoint.url
    source = detected.sources.get(probed.endpoint.origin, "")
    grade_if_unusable = Grade.WARNING if detected.has_chat else Grade.FAULT

    subject = Subject(Group.KEYS, "key", probed.product)
    if probed.verdict is Verdict.KEY_REJECTED:
        cause = f"{url} rejects the API key from {source}."
        return subject.graded(grade_if_unusable, cause, probed.next_step)
    if probed.verdict is Verdict.NEEDS_KEY:
        cause = f"{url} needs an API key."  # the next step says if one was not sent, and why
        return subject.graded(grade_if_unusable, cause, probed.next_step)
    if not probed.verdict.is_usable:
        return None
    if source:
        return subject.graded(Grade.OK, f"{url} accepts the API key from {source}.")
    return None
