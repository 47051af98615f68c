"""Tree of lmchat's errors, and the log of unexpected ones."""

from __future__ import annotations

import os


def new_error_id() -> str:
    """Short, since the user may have to type it."""
    return os.urandom(2).hex()


def log_bug(error: BaseException) -> str:
    """Log an error that is a fault of lmchat itself; return its id."""
    import logging  # noqa: PLC0415 - another one may be in its place (`pythonpath_hint`)

    error_id = new_error_id()
    logging.getLogger(__name__).error("unexpected error, id %s", error_id, exc_info=error)
    return error_id


def pythonpath_hint() -> str:
    """Return what to try after a failed import or a bug, as another library may have been taken."""
    if not os.environ.get("PYTHONPATH"):
        return ""
    return "PYTHONPATH is set, and may bring another version of a library: try PYTHONPATH= lmchat"


def with_next_step(message: str, next_step: str) -> str:
    """Messages of servers often lack the full stop."""
    if next_step and message[-1:] not in set(".!?…"):
        return f"{message}. {next_step}"
    return f"{message} {next_step}".rstrip()


class LMChatError(Exception):
    """Base class of lmchat's errors; `str(error)` is one sentence, which may quote a server."""

    kind = "error"  # one word for scripts, as in the `error` field of the JSON form
    exit_code = 1

    def __init__(
        self, message: str, *, next_step: str = "", details: str = "", kind: str | None = None
    ) -> None:
        super().__init__(message)
        self.message = message  # one sentence: what happened
        self.next_step = next_step  # one sentence: the next step, or empty
        self.details = details  # shown on request only; never a key, never the text of a chat
        if kind is not None:
            self.kind = kind

    @property
    def message_with_next_step(self) -> str:
        return with_next_step(self.message, self.next_step)


class ConfigError(LMChatError):
    """The configuration cannot be used."""

    kind = "config"
    exit_code = 2


class WrongUse(LMChatError):
    """The command or call is not valid."""

    kind = "wrong_use"
    exit_code = 2


class RequestInvalid(LMChatError):
    """Part of a request is not valid; nothing was sent."""

    kind = "bad_request"
    exit_code = 2


class StillAnswering(RequestInvalid):
    """A session cannot start a turn while another turn runs."""

    def __init__(self) -> None:
        super().__init__("The answer has not ended yet.", next_step="Stop it, or wait.")


class EndpointNotAllowed(LMChatError):
    """An address is invalid, or its host is not allowed."""

    kind = "not_allowed"
    exit_code = 2


class BodyTooLarge(LMChatError):
    """A request is larger than the limit; nothing was sent."""

    kind = "too_large"
    exit_code = 2


class TooManyRequests(LMChatError):
    """The limit of requests per minute is reached."""

    kind = "rate_limited"

    def __init__(self, message: str, *, wait_s: float, next_step: str = "") -> None:
        super().__init__(message, next_step=next_step)
        self.wait_s = wait_s  # seconds until there is room again


class NoServerFound(LMChatError):
    """No model server was found, or nothing answered when the given address was checked."""

    kind = "no_server"
    exit_code = 3


class ServerUnavailable(LMChatError):
    """Nothing answers at an address, or it does not answer in time."""

    kind = "offline"


class NothingAnswers(ServerUnavailable):
    """No program takes the connection: it is refused (kind `offline`) or unanswered (`timeout`)."""


class ServerRejected(LMChatError):
    """The server answered with an error; its kinds are listed in the table of errors."""

    kind = "server_error"

    def __init__(
        self,
        message: str,
        *,
        kind: str,
        status: int | None = None,
        next_step: str = "",
        details: str = "",
        retry_after_s: float | None = None,
        said: str = "",
        room_tokens: int | None = None,
    ) -> None:
        super().__init__(message, next_step=next_step, details=details, kind=kind)
        self.status = status  # HTTP status; None if the error came inside a stream
        self.retry_after_s = retry_after_s  # time that the server asks to wait, None if it does not
        self.said = said  # by the server, without what it quotes of the request
        self.room_tokens = room_tokens  # size of the window, if a field names it


class StreamInterrupted(LMChatError):
    """An answer broke off after it had started."""

    kind = "interrupted"


class AnswerUnfit(LMChatError):
    """The answer contains no JSON value that matches the schema."""

    kind = "schema"

    def __init__(
        self, message: str, *, next_step: str = "", retry_prompt: str = "", kind: str | None = None
    ) -> None:
        super().__init__(message, next_step=next_step, kind=kind)
        self.retry_prompt = retry_prompt  # asks for a second answer; empty if that would not help


class EngineUnavailable(LMChatError):
    """The built-in engine, or a model for it, is not available."""

    kind = "engine"


class StoreUnavailable(LMChatError):
    """The store cannot be opened, read or written."""

    kind = "store"


class StoreDamaged(StoreUnavailable):
    """The file of sessions is damaged; the user decides what takes its place."""


class SessionUnreadable(LMChatError):
    """One session cannot be read; the others can."""

    kind = "session_unreadable"


class SessionNotFound(LMChatError):
    """No id of a session starts with the given text, or more than one does."""

    kind = "session_not_found"
    exit_code = 2


class SessionOpen(LMChatError):
    """Another lmchat has a session open."""

    kind = "session_open"


class FileRefused(LMChatError):
    """A file would be overwritten, or cannot be read or written."""

    kind = "file"


class FileExists(FileRefused):
    """A file would be overwritten; the user can force this."""


class FormatUnknown(FileRefused):
    """A file holds no chat in a format that lmchat knows."""
