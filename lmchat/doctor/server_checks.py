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
from lmchat.servers.discovery.probe_result import WANTS_KEY, ProbeResult, Verdict
from lmchat.servers.model import LoadState, ModelInfo

_ANSWERS_BUT_REFUSES = (
    Verdict.NEEDS_KEY,
    Verdict.KEY_REJECTED,
    Verdict.HOST_BLOCKED,
    Verdict.SERVER_ERROR,
)
_NAME_A_SERVER = "Start a model server, or name one with --endpoint URL"
_MAX_NAMES = 3  # models that a row names
_NAME_CHARS = 60


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

    @property
    def grade_of_problems(self) -> Grade:
        """Grade of a server that cannot be used: less bad where a chat can begin with another."""
        return Grade.WARNING if self.has_chat else Grade.FAULT

    def installed_as(self, probed: ProbeResult) -> Installed | None:
        """Return the installed program of a result's product.

        None if none was found, and for an address that the user named.
        """
        if probed.is_own:
            return None
        fitting = (one for one in self.installed if one.product == probed.product)
        return next(fitting, None)


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

    if not detected.has_chat:
        cause = f"{probed.name} needs a valid API key."
        return chat.graded(grade_without_chat, cause, _first_step(detected))

    target = detected.choice.target
    model = safe_line(target.model_id, limit=_NAME_CHARS) if target else ""
    if model and probed.verdict is Verdict.READY:
        return chat.ok(f"A chat would use {model} on {probed.name}.")
    cause = f"A chat would use {model or 'a model, when one is ready,'} on {probed.name}."
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

    Those of a usable server also name its models and its latency.
    """
    if probed.verdict is Verdict.REFUSED and is_installed:
        return f"It is installed, but nothing answers at {probed.endpoint.url}."
    if probed.is_forbidden:
        return f"It was not checked: {safe_line(probed.detail).rstrip('.')}."
    latency_ms = probed.latency_ms
    latency = "" if latency_ms is None else f" in {max(latency_ms, 1):.0f} ms"
    cause = probed.sentence(probed.name, latency=latency)
    if probed.verdict in (Verdict.READY, Verdict.NO_MODEL) and probed.models:
        return f"{cause.removesuffix('.')}; {_models(probed)}."
    return cause


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
        return detected.grade_of_problems
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
    names = [safe_line(model.model_id, limit=_NAME_CHARS) for model in models]
    listed = ", ".join(names[:_MAX_NAMES]) or "no model"
    more = len(names) - _MAX_NAMES
    return f"{listed} and {more} more" if more > 0 else listed


def _key_rows(detected: Detected) -> list[CheckResult]:
    """Return the rows about API keys.

    There is one for each server that needs or has a key, one for each warning about keys that could
    not be read, and one about the stored keys.
    """
    rows: list[CheckResult] = []
    for probed in detected.results:
        subject = Subject(Group.KEYS, "key", probed.product)
        source = detected.sources.get(probed.endpoint.origin, "")
        if probed.verdict in WANTS_KEY:
            verb = "needs an API key"  # the next step says if one was not sent, and why
            if probed.verdict is Verdict.KEY_REJECTED:
                verb = f"rejects the API key from {source}"
            cause = f"{probed.endpoint.url} {verb}."
            rows.append(subject.graded(detected.grade_of_problems, cause, probed.next_step))
        elif source and probed.verdict.is_usable:
            rows.append(subject.ok(f"{probed.endpoint.url} accepts the API key from {source}."))
    rows += [Subject(Group.KEYS, "key", "Keys").warning(words) for words in detected.warnings]
    cause = "No API key is stored."
    if detected.stored:
        cause = f"Stored for {', '.join(detected.stored)}."
    return [*rows, Subject(Group.KEYS, "key", "Stored").ok(cause)]
