"""Table of all kinds of errors: meaning, next step and retries."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct


class ErrorKind(Struct, frozen=True, kw_only=True):
    """One word for scripts, explained for people; each single error says more than its kind can."""

    what: str
    step: str
    exit_codes: tuple[int, ...] = (1,)
    """Exit codes of the command line; the later ones apply before anything is sent."""
    again: str = ""
    """When lmchat retries before the first token; empty: never."""


_CHECK_ADDRESS = "check the address; `lmchat detect` says what stands where"
_IN_LOG = "look at the server's log, then try again"

SERVER = {
    "no_server": ErrorKind(
        what="no model server was found on this machine",
        step="start one, or name one with `--endpoint URL`",
        exit_codes=(3, 2),
    ),
    "offline": ErrorKind(
        what="nothing answers at the address, or its name is not known",
        step="start the server there; `lmchat doctor` says how",
        again="in the own network once, after 0.3 s; elsewhere twice",
    ),
    "certificate": ErrorKind(
        what="https cannot be had: the server's certificate is not trusted, too old or for another name",
        step="the sentence names the way; `ca_file` or `SSL_CERT_FILE` name certificates of one's own",
    ),
    "timeout": ErrorKind(
        what="no answer came in the time for it",
        step="see whether the server is busy or hangs; `[timeouts]` sets how long is waited",
        again="where the server itself says so (408, 504) twice; where a far one takes no connection once",
    ),
    "dropped": ErrorKind(
        what="the server closed the connection before it answered",
        step=_IN_LOG,
        again="once, where an old connection was used anew",
    ),
    "not_allowed": ErrorKind(
        what="the address is none, or its host is not on the list of allowed hosts",
        step="allow it with `--allow-host HOST`, or in `allowed_hosts`",
        exit_codes=(1, 2),
    ),
    "insecure": ErrorKind(
        what="a provider was to be asked over http, where the key could be read on the way",
        step="write `https://` in its address",
        exit_codes=(2,),
    ),
    "wrong_path": ErrorKind(
        what="a server answers, and does not know this path", step="its address ends in `/v1`, or in nothing"
    ),
    "not_an_llm": ErrorKind(what="what answers is no model server", step=_CHECK_ADDRESS),
    "host_blocked": ErrorKind(
        what="the server does not accept the host name that it was called by",
        step="use `127.0.0.1`, or let the server trust the name",
    ),
    "auth": ErrorKind(
        what="the API key is missing, or was rejected",
        step="enter it on the screen, or set `LMCHAT_API_KEY`",
        exit_codes=(1, 2),
    ),
    "forbidden": ErrorKind(what="the server does not allow this", step="its sentence says why"),
    "billing": ErrorKind(
        what="the account with a provider has no credit left", step="check its plan and billing"
    ),
    "rate_limited": ErrorKind(
        what="too many requests, for the server or for lmchat's own limit",
        step="wait; the message names the time where it is known",
        again="twice, after the time that the server names, up to 60 s; a longer one is told",
    ),
    "busy": ErrorKind(
        what="the server has too much to do", step="wait a moment", again="twice, as with `rate_limited`"
    ),
    "upstream": ErrorKind(
        what="what stands behind the server does not answer",
        step="restart the model there",
        again="twice, as with `rate_limited`",
    ),
    "server_error": ErrorKind(
        what="the server failed, or refused in a way that nothing else here fits",
        step=_IN_LOG,
        again="a far server's 500 twice; in the own network never, the same work would fail again",
    ),
    "unsupported": ErrorKind(what="this server cannot do that", step="do it in the server's own program"),
}
MODEL = {
    "loading": ErrorKind(
        what="the server is still loading the model",
        step="wait until it is loaded",
        exit_codes=(1, 2),
        again="no try is counted: the model is waited for, and the request sent when it is there",
    ),
    "model_missing": ErrorKind(
        what="no model is chosen, or the server has none of this name",
        step="choose one with Ctrl+O; `lmchat models` lists them",
        exit_codes=(1, 2),
    ),
    "model_not_loaded": ErrorKind(
        what="no model is loaded, or it could not be", step="load it, or a smaller one if memory is short"
    ),
    "model_crashed": ErrorKind(
        what="the model ended while it worked, often out of memory",
        step="load a smaller model or a smaller context",
    ),
}
REQUEST = {
    "bad_request": ErrorKind(
        what="the request has a part that is not valid, or that the server does not take",
        step="change what the message names",
        exit_codes=(1, 2),
        again="once with another name of the field, or without it, where the server refuses the field "
        "itself; a far server's 409 twice",
    ),
    "context_overflow": ErrorKind(
        what="the conversation is longer than the model's context",
        step="shorten it, begin a new session, or load the model with a larger context",
        exit_codes=(1, 2),
        again="once, with more of the oldest messages left out, where `auto_truncate` allows it",
    ),
    "too_large": ErrorKind(
        what="the request is larger than allowed, here or by the server", step="shorten the conversation"
    ),
}
ANSWER = {
    "interrupted": ErrorKind(
        what="the answer broke off after it had begun, or was stopped; what came is kept",
        step="continue or regenerate it",
        exit_codes=(1, 130),
    ),
    "malformed_stream": ErrorKind(what="what came is no answer that can be read", step=_IN_LOG),
    "empty_answer": ErrorKind(
        what="the server ended the answer before it said anything",
        step="load the model with a larger context, or look at the server's log",
    ),
    "schema": ErrorKind(
        what="the answer holds no JSON value that fits the schema, or none at all",
        step="ask more plainly, or another model",
        again="asked once more, with what does not fit; not where the answer was cut short",
    ),
    "no_code": ErrorKind(
        what="`ask --code` found no fenced code in the answer",
        step="ask for code, or leave out `--code`",
    ),
}
ENGINE = {
    "engine": ErrorKind(what="the built-in engine cannot be had", step="`lmchat doctor` says why"),
    "not_installed": ErrorKind(
        what="the built-in engine is not installed", step="`pip install 'lmchat[local]'`"
    ),
    "processor": ErrorKind(
        what="the built-in engine does not run on this processor", step="start another model server"
    ),
    "memory": ErrorKind(what="the model does not fit into memory", step="choose a smaller model"),
    "model_file": ErrorKind(what="the model file cannot be used", step="choose another one"),
    "port": ErrorKind(what="another program took the port of the built-in engine", step="try again"),
    "crashed": ErrorKind(what="the built-in engine has crashed", step="its log stands in the details"),
    "fetch": ErrorKind(
        what="the demo model or the engine could not be fetched", step="see network and disk, then try again"
    ),
    "program": ErrorKind(
        what="a server that lmchat was to start did not start, or ended", step="its output says why"
    ),
}
FILES = {
    "config": ErrorKind(
        what="the configuration cannot be used", step="`lmchat config check`", exit_codes=(2,)
    ),
    "store": ErrorKind(
        what="sessions cannot be opened, read or written", step="see disk and permissions: `lmchat doctor`"
    ),
    "session_unreadable": ErrorKind(what="one session cannot be read; the others can", step="open another"),
    "session_not_found": ErrorKind(
        what="no session has this id, or more than one begins with it",
        step="`lmchat sessions` has the ids",
        exit_codes=(2,),
    ),
    "file": ErrorKind(
        what="a file would be overwritten, or cannot be read or written", step="another name, or `--force`"
    ),
}
LMCHAT = {
    "wrong_use": ErrorKind(
        what="the command was used wrongly", step="`lmchat --help`, or that of the command", exit_codes=(2,)
    ),
    "bug": ErrorKind(
        what="lmchat itself made a mistake", step="the log file has the details under the id that is shown"
    ),
    "error": ErrorKind(what="anything else", step="its sentence says what"),
}
KINDS: Mapping[str, ErrorKind] = SERVER | MODEL | REQUEST | ANSWER | ENGINE | FILES | LMCHAT
