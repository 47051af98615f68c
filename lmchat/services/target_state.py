"""States on the way to a server and a model for the next turn."""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum, auto

from lmchat.domain.server import Candidate, Target, Verdict

WANTS_KEY = (Verdict.NEEDS_KEY, Verdict.KEY_REJECTED)


class TargetState(Enum):
    """Steps from the start of lmchat to a model that answers."""

    SEARCHING = auto()  # the first search has not ended
    NOT_FOUND = auto()  # no server can be used; the search is repeated
    NEEDS_KEY = auto()  # the same, but a server answers that needs a key, or has rejected it
    NO_MODEL = auto()  # a server is in use, but none of its models
    LOADING = auto()  # the server loads the model
    READY = auto()

    @property
    def lacks_server(self) -> bool:
        """Whether a search has ended without a server that can be used."""
        return self in (TargetState.NOT_FOUND, TargetState.NEEDS_KEY)


def target_state(target: Target | None, candidates: Sequence[Candidate]) -> TargetState:
    """Return the state for the target in use; None means that no server is in use.

    `candidates` are the addresses that the last search has probed, with or without a server; they
    are empty until the first search has ended.
    """
    if target is not None and target.is_loading:
        return TargetState.LOADING
    if target is not None:
        return TargetState.READY if target.model_id else TargetState.NO_MODEL
    if any(candidate.verdict in WANTS_KEY for candidate in candidates):
        return TargetState.NEEDS_KEY
    return TargetState.NOT_FOUND if candidates else TargetState.SEARCHING
