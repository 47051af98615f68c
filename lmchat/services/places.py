"""The places that were looked at, each with what can be done there; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum, auto

from msgspec import Struct

from lmchat.domain.arrival import is_forbidden
from lmchat.domain.engine import DemoOffer, ModelFile
from lmchat.domain.machine import Installed
from lmchat.domain.server import Candidate, Product, Verdict
from lmchat.domain.start import ServerStart
from lmchat.other_programs import is_runnable
from lmchat.services.starts import Run, is_startable, start_of

WHERE_TO_GET: Mapping[Product, str] = {
    Product.LM_STUDIO: "Get it at lmstudio.ai",
    Product.JAN: "Get it at jan.ai",
    Product.LLAMA_CPP: "Get it at github.com/ggml-org/llama.cpp",
    Product.OLLAMA: "Get it at ollama.com",
    Product.VLLM: "pip install vllm",
    Product.SGLANG: "pip install sglang",
    Product.LITELLM: "pip install 'litellm[proxy]'",
}
"""For what is not installed."""


class Step(Enum):
    """What Enter does at a place."""

    NOTHING = auto()
    """Nothing: the next step is not lmchat's to do."""
    CHOOSE = auto()
    """Goes on with the server, or asks for what it wants."""
    START = auto()
    """Asks, then starts it."""
    START_WITH_FILE = auto()
    """Asks for a model file first."""
    END = auto()
    """Asks, then ends what was started and does not answer yet."""


class Place(Struct, frozen=True, kw_only=True):
    """One place as the page shows it."""

    candidate: Candidate
    """What was looked at."""
    found: str
    """What was found, in a word or two."""
    next_step: str
    """The one step that helps; it may hold anything."""
    step: Step = Step.NOTHING
    """What Enter does."""
    start: ServerStart | None = None
    """What is started."""
    program: str = ""
    """Path of the program that wants a model file."""
    is_starting: bool = False
    """Whether it was started and does not answer yet."""
    is_here: bool = True
    """Whether the product is known to be on this machine; a place where nobody knows counts as such."""


class Here(Struct, frozen=True, kw_only=True):
    """What is known of this machine beside what answers."""

    installed: tuple[Installed, ...] | None = None
    """What is installed; None where nobody has looked."""
    running: tuple[Run, ...] = ()
    """What was started and has not ended."""
    files: tuple[ModelFile, ...] = ()
    """The model files of this disk."""
    offer: DemoOffer | None = None
    """The demo model of the built-in engine; None where the engine cannot be used, or nobody has looked."""
    engine_command: str = ""
    """What installs the built-in engine; empty where it is installed, or nobody has looked."""


def places(candidates: Sequence[Candidate], here: Here) -> tuple[Place, ...]:
    """Return the places, those where something can be done before those where nothing is installed."""
    found = [_place(one, here) for one in candidates]
    return tuple(sorted(found, key=_rank))


def first_step(found: Sequence[Place]) -> Place | None:
    """Return the place that lacks only one thing, which can be given on the page; None where none does."""
    helped = (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED, Verdict.SERVER_OFF, Verdict.READY, Verdict.LOADING)
    near = (one for one in found if one.candidate.verdict in helped and one.step is not Step.NOTHING)
    return next(near, None)


def _rank(place: Place) -> int:
    """Sort key; the sort is stable, so the order of the candidates decides among equals."""
    verdict = place.candidate.verdict
    if verdict.is_server or verdict in (Verdict.SERVER_OFF, Verdict.SERVER_ERROR):
        return 0
    return 1 if place.is_here else 2


def _place(candidate: Candidate, here: Here) -> Place:
    run = next((one for one in here.running if one.start.endpoint == candidate.endpoint), None)
    if run is not None and not candidate.verdict.is_server:
        return Place(
            candidate=candidate,
            found="starting",
            next_step=f"{run.start.short} runs (process {run.program.pid})",
            step=Step.END,
            start=run.start,
            is_starting=True,
        )
    if candidate.verdict.is_server:
        return _as_found(candidate, Step.CHOOSE)
    if here.installed is None or candidate.is_own or not is_startable(candidate):
        return _as_found(candidate, Step.NOTHING)
    installed = next((one for one in here.installed if one.product is candidate.product), None)
    return _not_running(candidate, installed, has_files=bool(here.files))


def _as_found(candidate: Candidate, step: Step) -> Place:
    found = "not allowed" if is_forbidden(candidate) else candidate.verdict.value
    return Place(candidate=candidate, found=found, next_step=candidate.next_step, step=step)


def _not_running(candidate: Candidate, installed: Installed | None, *, has_files: bool) -> Place:
    is_off = candidate.verdict is Verdict.SERVER_OFF
    if installed is None:
        words = candidate.next_step if is_off else WHERE_TO_GET.get(candidate.product, candidate.next_step)
        return Place(candidate=candidate, found=candidate.verdict.value, next_step=words, is_here=is_off)
    found = candidate.verdict.value if is_off else "not running"
    start = start_of(candidate, installed)
    if start is not None:
        return Place(candidate=candidate, found=found, next_step=start.short, step=Step.START, start=start)
    if candidate.product is Product.LLAMA_CPP and is_runnable(installed.program) and has_files:
        return Place(
            candidate=candidate,
            found=found,
            next_step="llama-server with a model file",
            step=Step.START_WITH_FILE,
            program=installed.program,
        )
    words = candidate.next_step if is_off else installed.start_words or candidate.next_step
    return Place(candidate=candidate, found=found, next_step=words)
