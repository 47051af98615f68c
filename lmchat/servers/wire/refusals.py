"""Refusals of servers as errors: from status and body to kind, sentence and next step (R-24).

`refusal` and `refusal_in_stream` take the first rule that fits.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus

from msgspec import Struct
from msgspec.structs import replace

from lmchat.errors import ServerRejected
from lmchat.safe_text import safe_line, shell_word, without_secret
from lmchat.servers.http.json_values import (
    count_or_none,
    dicts_in,
    positive_or_none,
    str_or_empty,
)
from lmchat.servers.http.reply import ErrorBody, read_body, read_value
from lmchat.servers.wire.quotes import texts_of, unquoted

_OLLAMA = "Ollama"


class Refusal(Struct, frozen=True):
    """Row of the table of refusals; the first that fits gives kind and words."""

    kind: str
    statuses: tuple[int, ...] = ()  # empty: all; 0: an error inside a stream without a status
    pattern: str = ""  # searched in status and words in lower case
    message: str = "{said}"  # of a reply without words; `_error_by_rule` has all such names
    hint: str = ""
    """One that the product has for this kind replaces it."""
    product: str = ""  # the only one in which it has this meaning
    needs: str = ""  # of the request: "tools" or "images"
    has_own_step: bool = False  # `hint` stays, whatever the product has


# Words of engines, since their errors pass through gateways. The texts that they stand for are in
# `tests/servers/refusals/`, each with its source.
_OVERFLOW = (
    r"exceed_context_size|context_length_exceeded|context_window_exceeded"
    r"|maximum (context|prompt|sequence|input) length|maximum allowed (input )?length"
    r"|exceeds? the available context|tokens to keep from the initial prompt"
    r"|trying to keep the first|n_keep.{0,20}n_ctx|context size has been exceeded"
    r"|reached context length|context (length|window|limit|size).{0,80}exceed"
    r"|exceed.{0,80}context (length|window|limit|size)"
    r"|(longer|greater|larger) than the (model'?s? )?(maximum )?(context|max_|input length)"
    r"|is greater than (max_seq_len|cache size)|should not exceed max_(num_tokens|seq_len)"
    r"|(prompt|input)( \(\d+ tokens\))?( is)? too long|too large for model with"
    # the prompt of an encoder is an image
    r"|(?<!encoder )prompt \((total )?length \d+\) is (longer|too long)"
    r"|prompt sequence length is greater|range of input length should be"
    r"|(input|prompt)( token count| tokens| length).{0,60}exceed|exceeded model token limit"
    r"|(input|prompt)\w*\b.{0,30} exceeds? (the )?(model )?max(imum)?[ _](length|tokens)"
    r"|reduce the length of the (messages|input|prompt)|must have less than \d+ tokens"
    r"|max_(completion_)?tokens (must be at least 1, got -|\(-)"
    r"|`inputs` tokens \+ `max_new_tokens`|pages \(only \d+ available|context shift is disabled"
)
_TOO_MANY_TOKENS = "too many tokens(?!, please wait)|token limit exceeded"
_LIMIT = (
    r"max[_ ](completion_|new_|output_)?tokens\b.{0,60}(too (large|high|big)|cannot be greater"
    r"|must be (less than|<=)|valid range|should be \[|exceeds (the maximum|limit)|> \d)"
    r"|at most \d+ completion tokens|equal to \d+ \(body\.max_(completion_)?tokens"
)
_MODEL_MISSING = (
    r"model_not_found|model '[^']*' not found|model .{0,200}not found"
    r"|model name is missing|invalid model identifier|model .{0,200}does not exist|no such model"
    r"|unknown model|invalid model(:| name\b)|not a valid model"
    r"|no router for requested model|repository not found|cached snapshot folder"
    r"|models/\S+ is not found|not_found_error.{0,99}model: \S+|invalid model name passed in"
    r"|<404>.*<model>"
)
_NO_KEY = (
    "invalid_api_key|authentication_error|invalid api key|api token is required|api key not valid"
    "|no_db_connection|missing or invalid authorization header|not authenticated"
    r"|(missing|no) api key\b"
)
_KEY_MISSING = (  # in place of `_KEY_REJECTED`
    "The server needs an API key, but none was sent; it belongs under [[endpoints]] in config.toml."
)
_OVERFLOW_HINT = (
    "Shorten the prompt, start a new session, or load the model with a larger context window."
)
_ONE_PROMPT_TOO_LONG = "Shorten the prompt, or load the model with a larger context window."
_KEY_REJECTED = "The API key was rejected; check it."
_NO_CREDIT = (
    r"insufficient_quota|exceeded your current quota|credit_balance|out of credits?\b|billing"
    "|credits?_exhausted|insufficient (balance|credit)"
)
_MEMORY = (
    r"requires more (system |gpu |video )?(memory|vram)|insufficient (system )?(resources|memory)"
    r"|not enough (free |gpu |system |video )*(memory|vram|ram)\b|out ?of ?memory|malloc failed"
    r"|attempting to allocate|(failed|unable) to allocate|cannot allocate memory"
    r"|\[metal::malloc\]|no available memory for the cache blocks|insufficient v?ram\b|oomkill"
    r"|due to resource limitations|memory layout cannot be allocated|outof(device|host)memory"
    r"|device memory allocation|bad_alloc"
)
_CRASHED = (
    r"model (has )?crashed|exit (code|status)|has terminated|no longer running|exited prematurely"
    r"|sigkill|sigabrt|signal: (killed|aborted|segmentation)|enginedeaderror"
    r"|(engine|worker|process).{0,20} (died|dead)\b|running the model: unexpected eof"
    r"|post \"http://<address>\": |background loop has errored|segmentation fault"
)
_TEMPLATE = (
    r"(?<!-)jinja|render(ing)? (the )?(prompt|template)|chat template|roles must alternate"
    r"|prompt template is not set|templateerror|template: ?:\d+|parser for this template"
    r"|while executing \w+ at line|at row \d+, column \d+"
    r"|unexpected role|expected last role|last message (must|is)\b|must use the user role"
    r"|no user query found|or more assistant messages|tool call ids? (was|should be)\b"
)
_LOADING_FAILED = (
    r"(failed|unable|could not|cannot) (to )?load (the )?model|error loading model"
    r"|model_load_failed"
)
_NOT_LOADED = (
    r"no models? (is |are )?(currently )?loaded|no (currently )?loaded models?\b"
    r"|model\b.{0,200}(\bnot |n't |\bun)(currently |yet )?loaded\b"
    r"|no running session"
    r"|no models are available|no (active model|model (is )?(active|running|selected))"
    r"|(must|need to|have to|please) (first )?(load|select) a model\b|load a model first"
)
_TOOLS = (
    r"(does(n't| not)|cannot|can't|not) (support|use|accept|allow)(ed)?\b.{0,30}"
    r"\b(tool|function)s?\b"
    r"|unsupported.{0,30}\btools?\b|\btools?\b.{0,40}(not |un)(support|enabled|allowed|available)"
    r"|that support tool|tool[ _]choice|tool.call.parser|function.calling|--jinja"
    r"|failed to initialize samplers"
    # not "error parsing tool call" of Ollama, which is about what the model has written
    r"|(parse|invalid|compile|convert).{0,30}(grammar|tool|schema)|grammar.{0,30}(error|fail|invalid)"
)
_IMAGE_UNFIT = (
    r"too many images|at most [1-9]\d* (image|multimodal)"
    r"|image.{0,60}(too (large|big|many)|exceed|decod|corrupt|invalid|cannot identify"
    r"|could not be (read|processed)|resolution)"
    r"|(fail|invalid|decod|could not process).{0,40}(image|base64)|unsupported image\b(?! input)"
)
_NO_VISION = (
    r"image|multi-?modal|\bvision\b|mmproj|content.{0,3}(part|type)|unsupported content"
    r"|content must be a string|should be a valid string|expected (a )?string|concatenate str"
    r"|item type in content|'list( object'|' object) has no attribute"
)
_FILTERED = (
    r"content[_ ]?(filter|management|policy)|responsibleaipolicy|was flagged|requires moderation"
)
_NO_PATH = (
    r"<empty>|^(404 |file |page |path |url |route |endpoint |resource )*not found(: /\S*|\W*)$"
    r"|\broute .{0,99}not found|no route matched|invalid url \("
    r"|^the requested url .{0,99}not found|method not allowed|endpoint.{0,20}does not exist"
    r"|cannot (get|post) /|no such (path|route)"
)
_BUSY = (
    r"<529>|overloaded|service.{0,12}unavailable|unavailable_error|currently unavailable"
    r"|busy|maximum pending|another request"
)
_PER_TIME = r"rate.?limit|too.many.requests|tokens? per (min|hour|day)"
_IN_CODE = r"\A[^\n]*({})"  # the first line: `_fits`
_NO_CREDIT_HINT = "Check the account's plan and billing; retrying does not help."
_ADDRESS_HINT = "{address}"  # by the path of the address: `_address_step`
_PAGE = "This is not a model server: a web page answered."
_PAGE_HINT = "Check the port and the path of the address."
_BUSY_HINT = "The server is busy at the moment. Try again later."
_MODEL_HINT = "Choose another model with /model or -m; `lmchat models` lists them."
_LOG_HINT = "Check the server's log, then try again."
_FOR_CHATS = (0, 400, 404, 413, 415, 422, 500, 501)  # no key, no limit and no gateway
_AT_503 = ("context_overflow", "model_not_loaded", "upstream", "server_error")
"""Kinds of rules without statuses that fit there; the reason may be any, and passes."""
_BAD_REQUEST = Refusal("bad_request", (400, 409, 422), hint="{check}")

REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        "wrong_path",
        pattern="unexpected endpoint or method",
        hint=_ADDRESS_HINT,
    ),
    Refusal(
        "wrong_path",
        (400, 426),
        r"http request (was sent )?to (an )?https (server|port)",
        hint="Write https:// in front of its address.",
    ),
    Refusal(
        "timeout",
        (504, 524),
        "<web page>",
        message="A gateway waited too long for the model server: {said}",
        hint="Try again; the model server behind the gateway took too long.",
    ),
    Refusal(
        "upstream",
        pattern=r"<(0|5\d\d)> <web page>",
        message="A web page answered in place of the model server: {said}",
        hint="The model server behind the gateway is slow or away: check it, then try again.",
        has_own_step=True,
    ),
    Refusal(
        "no_space",
        pattern="no space left on device|not enough (disk )?space|disk quota exceeded",
        hint="Free some space on the disk of the server, then try again.",
    ),
    Refusal(
        "model_missing",
        pattern="pull model manifest: file does not exist|^invalid model name$",
        hint="Check the name; ollama.com/search lists the models.",
        has_own_step=True,
    ),
    Refusal(
        "fetch",
        pattern="pull model manifest|max retries exceeded|digest mismatch",
        hint="Check the network of the server, then try again: what it has is kept.",
    ),
    Refusal(  # of Go's HTTP client, as in Ollama: the model runs elsewhere
        "upstream",
        pattern=r"post \"https://[^\"]{1,300}\": ",
        hint="The server does not reach the host where the model runs: check its network, "
        "then try again.",
        has_own_step=True,
    ),
    Refusal(
        "billing", (402, 429), "usage limit|weekly limit", hint="Check the plan of your account."
    ),
    Refusal(
        "rate_limited",
        (413, 429),
        _PER_TIME,
        hint="Wait a moment; the server limits requests.",
    ),
    Refusal(
        "answer_limit",
        pattern=_LIMIT,
        hint="Lower max_tokens.",
    ),
    Refusal(
        "context_overflow",
        pattern=_OVERFLOW,
        hint=_OVERFLOW_HINT,
    ),
    Refusal(
        "context_overflow",
        (0, 400, 413, 422, 500),
        _TOO_MANY_TOKENS,
        hint=_OVERFLOW_HINT,
    ),
    Refusal(
        "billing",
        (402, 429),
        _NO_CREDIT,
        hint=_NO_CREDIT_HINT,
    ),
    Refusal("billing", pattern=_IN_CODE.format(_NO_CREDIT), hint=_NO_CREDIT_HINT),
    Refusal("billing", (402,), hint="Check the account's plan and billing."),
    Refusal(
        "memory",
        pattern=_MEMORY,
        hint="Choose a smaller model, or a smaller context window.",
    ),
    Refusal(
        "loading",
        (503,),
        r"loading model|model_loading|(model|server|engine)\b.{0,200} is (still |currently )?"
        r"(loading\b|being loaded|warming up|initiali[sz]ing|starting\b)",
        hint="Wait until it is loaded.",
    ),
    Refusal(
        "model_crashed",
        pattern=_CRASHED,
        hint="It may have run out of memory: load a smaller model or use a smaller context window.",
    ),
    Refusal(
        "model_not_loaded",
        pattern=_LOADING_FAILED,
        hint="Choose another model or another build of it; the server's log says why.",
        has_own_step=True,
    ),
    Refusal("model_not_loaded", pattern=_NOT_LOADED, hint="Load a model."),
    Refusal(
        "bad_request",
        _FOR_CHATS,
        _IMAGE_UNFIT,
        hint="Send fewer or smaller images, as PNG or JPEG.",
        needs="images",
    ),
    Refusal(
        "no_vision",
        _FOR_CHATS,
        _NO_VISION,
        hint="Choose a model with vision, or remove the image.",
        needs="images",
    ),
    Refusal("bad_request", _FOR_CHATS, _TOOLS, hint="{check}", needs="tools"),
    Refusal(
        "template",
        _FOR_CHATS,
        _TEMPLATE,
        hint="The model's chat template refuses this: "
        "use another build of the model, or its newest template.",
    ),
    Refusal("model_missing", (0, 400, 404, 422), _MODEL_MISSING, hint=_MODEL_HINT),
    Refusal(
        "unsupported",
        (400, 404, 422, 500, 501),
        r"does not support (chat|generate|completions)\b|not a chat model|is an embedding model",
        hint=_MODEL_HINT,
    ),
    Refusal(
        "auth",
        (401,),
        "<sign-in>",
        hint="Sign in with: ollama signin",
        has_own_step=True,
    ),
    Refusal(
        "bad_request",
        (0, 400, 403, 422),
        _FILTERED,
        hint="Change the prompt: a content filter has refused it.",
        has_own_step=True,
    ),
    Refusal("auth", (401,), hint=_KEY_REJECTED),
    Refusal("auth", (403,), _NO_KEY, hint=_KEY_REJECTED),
    Refusal("auth", pattern=_IN_CODE.format(_NO_KEY), hint=_KEY_REJECTED),
    Refusal(
        "host_blocked",
        (400, 403, 421),
        r"host header|host not (allowed|permitted)|(invalid|blocked|untrusted) host\b"
        "|disallowedhost",
    ),
    Refusal(
        "host_blocked",
        (403,),
        "<empty>",
        product=_OLLAMA,
    ),
    Refusal(
        "forbidden",
        (403,),
        "cloud is disabled",
        hint="Switch cloud models on in Ollama's settings.",
    ),
    Refusal(
        "forbidden",
        (403,),
        "<empty>",
        hint="Check the API key, and the host name: "
        "Ollama refuses one that it does not know in this way.",
        product="OpenAI-compatible",
    ),
    Refusal("forbidden", (403,), hint="Check the rights of your account or API key."),
    Refusal("wrong_path", (404, 405), "<web page>", message=_PAGE, hint=_PAGE_HINT),
    Refusal("wrong_path", (404, 405), _NO_PATH, hint=_ADDRESS_HINT),
    Refusal(
        "wrong_path",
        (301, 302, 303, 307, 308),
        message="{product} redirects to {location}.",
        hint="lmchat does not follow the redirect to {location}; use the address of that server.",
    ),
    Refusal(
        "timeout",
        (408, 504),
        message="Request timeout: {said}",
        hint="Try again; the server took too long.",
    ),
    Refusal("too_large", (413,), hint="Shorten the prompt, or start a new session."),
    _BAD_REQUEST,
    Refusal(
        "rate_limited",
        (0, 429),
        rf"<429>|{_PER_TIME}",
        hint="Wait a moment; the server limits requests.",
    ),
    Refusal("busy", (0, 503, 529), _BUSY, hint=_BUSY_HINT),
    Refusal("unsupported", (501,), hint="Use another server for this."),
    Refusal(
        "upstream",
        (502,),
        hint="The program behind the server does not answer; restart the model.",
    ),
    Refusal("upstream", (503,), hint="Try again later, or restart the model."),
    Refusal("not_an_llm", (200,), "<web page>", message=_PAGE, hint=_PAGE_HINT),
    Refusal("server_error", hint=_LOG_HINT),
)
_IN_STREAMS = tuple(rule for rule in REFUSALS if rule.kind != "loading")

_DURATION = re.compile(r"\s*(?:(\d{1,6})m(?!s))?(?:(\d{1,12}(?:\.\d{1,12})?)(ms|s?))?\s*", re.ASCII)
""""3", "0.5", "12s" as Gemini writes it, and "6m0s" as OpenAI does."""
_TRY_AGAIN_IN = re.compile(r"try again in (\d[\d.]*(?:ms|m[\d.]*s|s|m)\b)", re.IGNORECASE)
_MINUTES_FROM_S = 120  # longer waits are told in minutes
_COMMAS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")  # of "131,072"
_NUMBER = r"(\d{1,15})\b"
_NEAR = rf"(?:(?!exceed| by )\D){{0,25}}{_NUMBER}"
# the surest pattern first
_PROMPT_TOKENS = (
    rf"{_NUMBER} (?:tokens )?(?:in the messages|in your prompt|from the input|input tokens)",
    rf"{_NUMBER} (?:`inputs`|of text input)",
    rf"context limit: {_NUMBER} \+ \d",
    rf"(?:n_keep|first|contains|resulted in|requested:?){_NEAR}(?! output| completion)",
    rf"(?:input|request|prompt) \((?:total )?(?:length )?{_NUMBER}",
    rf"prompt has {_NUMBER} tokens",
    rf"too long\W{{1,3}}{_NUMBER}",
    rf"(?<!maximum )(?:input|prompt)s? (?:token count|tokens|length)(?! should be){_NEAR}",
)
_WINDOW_TOKENS = (
    rf"context limit: \d+ \+ \d+ > {_NUMBER}",
    rf"(?:> |with ){_NUMBER} maximum",
    rf"(?:must be <=|must have less than|tokens, max|limit of) {_NUMBER}",
    rf"maximum (?:context|model|sequence){_NEAR}",
    rf"(?:context (?:size|length|window)|cache size|n_ctx|token limit|length limit){_NEAR}",
    rf"maximum (?:prompt|input|allowed|number of tokens){_NEAR}",
    rf"(?:input length should be \[1,|sequence length is greater than) {_NUMBER}",
    rf"max length{_NEAR}",
    rf"(?:max_num_tokens|max_seq_len|max_model_len|total cache .{{0,30}}=){_NEAR}",
)
_ANSWER_TOKENS = (
    rf"{_NUMBER} (?:(?:in|tokens for) the (?:completion|output)|output tokens|`?max_new_tokens)",
    rf"max_(?:completion_)?tokens\W{{1,3}}(?:is (?:too large: )?)?{_NUMBER}",
    rf"context limit: \d+ \+ {_NUMBER}",
)
_MOST_ANSWER_TOKENS = (
    rf"at most {_NUMBER} completion tokens",
    rf"max_tokens: \d+ > {_NUMBER}",
    rf"max[_ ](?:new_)?tokens.{{0,40}}(?:or equal to|<=|exceeds limit|maximum allowed) `?{_NUMBER}",
    rf"max_tokens.{{0,20}} (?:valid range .{{0,30}}|should be )\[1, {_NUMBER}",
    rf"equal to {_NUMBER} \(body\.max",
)
_TEMPORARY = frozenset({"rate_limited", "busy", "upstream", "loading", "timeout"})
"""After these kinds, the hint tells how long to wait, if the server names a time."""
_STATUS_DIGITS = 3
_NAME_CHARS = 3  # a shorter name of a model may be a part of any word
_DATE_CHARS = 60
_ADDRESS = re.compile(r"(?<=://)[^\s\"'<>]+")


class RefusalContext(Struct, frozen=True, kw_only=True):
    """Facts of a request that an error about its refusal needs."""

    product: str
    subject: str  # what a sentence calls a server of this product
    hints: Mapping[str, str]  # next steps by the kind of the refusal
    key: str = ""
    model: str = ""
    host: str = ""
    path: str = "/v1"
    sent: bytes = b""  # the body of the request
    fields: Sequence[str] = ()  # of the body that it can do without
    options: Sequence[str] = ()  # set by the user
    tools: Sequence[str] = ()  # offered to the model
    has_images: bool = False
    has_one_prompt: bool = False  # and no results of calls: nothing can be left out
    is_remote: bool = False

    def __repr__(self) -> str:
        """Leave out the key: a traceback or a log may show it."""
        return f"<{type(self).__name__} {self.product}>"

    def unquoted(self, said: str) -> str:
        return unquoted(said, texts_of(self.sent))

    def has(self, needed: str) -> bool:
        return not needed or (self.has_images if needed == "images" else bool(self.tools))

    def what_to_check(self, words: str) -> str:
        """Return the step after a refusal whose words no rule knows."""
        words = words.lower()
        named = [name for name in self.options if name in words] or self.options
        steps = [f"Check the options that you set: {', '.join(named)}."] if named else []
        if self.tools:
            tool = next((name for name in self.tools if name.lower() in words), "")
            about = f"Check the tool {tool}, or try it" if tool else "Try it"
            steps.append(f"{about} without tools: /tools switches them off, ask needs no --tools.")
        if self.has_images:
            steps.append("Check the file and the format of the image.")
        return " ".join(steps) or _LOG_HINT


def refusal(
    status: int, headers: Mapping[str, str], body: bytes, context: RefusalContext
) -> ServerRejected:
    """Return the error; the caller knows that it is a refusal.

    `read_body` removes the key from the server's words.
    """
    error_body = read_body(
        body, headers.get("content-type", ""), key=context.key, unquote=context.unquoted
    )
    is_told_inside = status < HTTPStatus.MULTIPLE_CHOICES and not error_body.is_html
    error = _error_by_rule(
        _code_as_status(error_body) if is_told_inside else status, headers, error_body, context
    )
    error.status = status
    return error


def not_an_llm_error(reason: str, details: str = "") -> ServerRejected:
    message = f"This is not a model server: {reason}"
    return ServerRejected(message, kind="not_an_llm", hint=_PAGE_HINT, details=details)


def refusal_in_stream(value: object, context: RefusalContext) -> ServerRejected:
    """Return the error for a decoded object, or for bytes that are no data.

    Rules use a code that looks like a status, such as 503, as one. `status` stays None, which says
    that the error came inside a stream.
    """
    if isinstance(value, bytes):
        error_body = read_body(value, key=context.key, unquote=context.unquoted)
    else:
        error_body = read_value(value, key=context.key, unquote=context.unquoted)
    error = _error_by_rule(_code_as_status(error_body), {}, error_body, context, _IN_STREAMS)
    error.status = None
    return error


def _code_as_status(body: ErrorBody) -> int:
    """Return 0 if it is none."""
    is_status = body.code.isdecimal() and len(body.code) == _STATUS_DIGITS
    return int(body.code) if is_status else 0


def overflow_error(needed: int, room: int, context: RefusalContext) -> ServerRejected:
    """Return the error for a prompt that was taken, although the window is smaller."""
    fields = {"code": "context_length_exceeded", "n_prompt_tokens": needed, "n_ctx": room}
    return refusal_in_stream(fields, context)


def _error_by_rule(
    status: int,
    headers: Mapping[str, str],
    body: ErrorBody,
    context: RefusalContext,
    rules: Sequence[Refusal] = REFUSALS,
) -> ServerRejected:
    """Return the error by the first rule that fits; the last fits all.

    `status` is 0 for an error inside a stream that names none.
    """
    said = f"{context.subject} {_what_it_did(status, body)}"  # the message, as it came
    # in both, since a quote would begin before the name: "model": "jinja-7b"
    models = (context.model, context.model.rpartition("/")[2])
    words = _without_names(body.words or body.message, models, "<model>")
    sent = (_without_names(text, models, "<model>") for text in texts_of(context.sent))
    words = _ADDRESS.sub("<address>", unquoted(words, sent))
    words = _without_names(words, [context.host], "<address>")
    body = replace(body, words=_without_names(words, context.tools, "<tool>"))
    rule = next(rule for rule in rules if _fits(rule, status, body, context))
    counts = _TokenCounts()
    if rule.kind in ("context_overflow", "answer_limit"):
        rule, counts = _with_counts(rule, body)
    elif status in _BAD_REQUEST.statuses and _names_field(body, context):
        rule = _BAD_REQUEST

    # without user, password and query, which may be secret
    location = re.sub("//[^/]*@", "//", headers.get("location", "")).partition("?")[0]
    location = without_secret(safe_line(location, limit=200), context.key) or "another address"
    message = rule.message.format(product=context.subject, said=said, location=location)
    if counted := counts.message(rule.kind, context, has_words=bool(body.message)):
        message = f"{counted} {said}" if body.message else counted
    is_param_named = body.param.lower() in message.lower()  # also true if there is no parameter
    if rule.kind == "bad_request" and not is_param_named:
        message = f"{message} ({body.param})"

    wait_s = retry_after_s(headers, body)
    # R-32; a wait of less than a second is not told
    if rule.kind in _TEMPORARY and wait_s is not None and wait_s >= 1:
        is_long = math.ceil(wait_s) > _MINUTES_FROM_S
        wait = f"{math.ceil(wait_s / 60)} min" if is_long else f"{math.ceil(wait_s)} s"
        hint = f"Wait {wait}, as the server asks, then try again."
    else:
        hint = _hint_of(rule, context).format(
            model=shell_word(context.model or "MODEL"),  # the hint may hold a command
            host=shell_word(context.host),
            location=location,
            check=context.what_to_check(f"{body.type} {body.code} {body.param} {words}"),
            address=_address_step(context.path),
        )

    details = f"HTTP {status or HTTPStatus.OK}: {body.type} {body.code} {body.message}".strip()
    sign_in = safe_line(str_or_empty(body.error_object.get("signin_url")), limit=500)
    error = ServerRejected(
        without_secret(message, context.key),
        kind=rule.kind,
        status=status,
        hint=hint,
        details=without_secret(f"{details} {sign_in}".strip(), context.key),
        retry_after_s=wait_s,
    )
    error.param = without_secret(body.param, context.key)
    said_words = f"{body.type} {body.code} {body.words} {body.param}"
    error.words = without_secret(said_words, context.key)
    error.needed_tokens, error.room_tokens = counts.needed, counts.room
    return error


class _TokenCounts(Struct, frozen=True, kw_only=True):
    """Tokens that a server names when it refuses a prompt or the limit of an answer."""

    needed: int | None = None  # by the prompt
    is_minimum: bool = False  # vLLM stops counting behind the window
    room: int | None = None  # in the window
    left: int | None = None  # for the answer

    def message(self, kind: str, context: RefusalContext, *, has_words: bool) -> str:
        """Return "" if the words of the server say as much."""
        sent = "prompt" if context.has_one_prompt else "session"
        if kind == "context_overflow" and self.needed and self.room:
            needed = f"at least {self.needed}" if self.is_minimum else self.needed
            return f"The {sent} needs {needed} tokens; the context window has {self.room}."
        if kind == "context_overflow" and not has_words:
            return f"The {sent} is longer than the model's context window."
        if kind == "answer_limit" and self.left:
            return f"The answer may have at most {self.left} tokens here."
        return ""


def _with_counts(rule: Refusal, body: ErrorBody) -> tuple[Refusal, _TokenCounts]:
    """Return the counts, and the rule that they make of an overflow or an answer limit.

    If the server counts both against the window, they tell which of the two is too long.
    """
    said = _COMMAS.sub("", body.words.lower())
    needed = _token_count(body, "n_prompt_tokens", said, _PROMPT_TOKENS)
    room = _token_count(body, "n_ctx", said, _WINDOW_TOKENS)
    left = _token_count(body, "", said, _MOST_ANSWER_TOKENS)
    is_limit_named = rule.kind == "answer_limit" or _token_count(body, "", said, _ANSWER_TOKENS)
    if needed and room and is_limit_named:
        left = room - needed if needed < room else None
        kind = "context_overflow" if left is None else "answer_limit"
        rule = next(rule for rule in REFUSALS if rule.kind == kind)
    is_minimum = f"at least {needed}" in said
    return rule, _TokenCounts(needed=needed, is_minimum=is_minimum, room=room, left=left)


def _what_it_did(status: int, body: ErrorBody) -> str:
    if body.is_html and body.message and status:
        return f"answered {status_words(status)}: {body.message}"
    if body.message:
        return f"says: {body.message}"
    if status < HTTPStatus.MULTIPLE_CHOICES:
        return "sent an error without a message."
    return f"answered {status_words(status)}."


def _hint_of(rule: Refusal, context: RefusalContext) -> str:
    """Return the next step, which may have names in braces."""
    if rule.has_own_step:
        return rule.hint
    if hint := context.hints.get(rule.kind):
        return hint
    if rule.kind == "auth" and not context.key:
        return _KEY_MISSING
    if rule.kind == "context_overflow" and context.has_one_prompt:
        return _ONE_PROMPT_TOO_LONG
    return rule.hint


def _address_step(path: str) -> str:
    if path == "/v1":  # also if none was typed
        return "Some servers have a path in front of /v1, such as /engines/v1: check the address."
    if path.endswith("/v1"):
        return "Check the path of the address, or leave it out: most servers have none."
    return "The server address should end in /v1 or have no path."


def _without_names(words: str, names: Iterable[str], mark: str) -> str:
    """Put `mark` in the place of names, which may hold any words."""
    for name in sorted(names, key=len, reverse=True):
        if len(name) >= _NAME_CHARS and name.lower() not in mark:
            pattern = rf"(?<![\w<]){re.escape(name)}(?!\w)"
            words = re.sub(pattern, mark, words, flags=re.IGNORECASE)
    return words


def _names_field(body: ErrorBody, context: RefusalContext) -> bool:
    return any(
        name == body.param or re.search(rf"(?<!\w){re.escape(name)}(?!\w)", body.words)
        for name in (*context.options, *context.fields)
    )


def _fits(rule: Refusal, status: int, body: ErrorBody, context: RefusalContext) -> bool:
    """Search in a text whose first line has tags, such as the status, and type and code.

    Each of the server's words has a line of its own, its message the last one.
    """
    said = (body.type, body.code, body.param, body.words)
    tags = [f"<{status}>"]
    if body.is_html:
        tags.append("<web page>")
    elif not any(said):
        tags.append("<empty>")
    is_refused_cloud = status == HTTPStatus.UNAUTHORIZED and context.is_remote
    if body.error_object.get("signin_url") or (is_refused_cloud and context.product == _OLLAMA):
        tags.append("<sign-in>")
    words = "\n".join((" ".join((*tags, body.type, body.code)), *filter(None, said))).lower()
    is_unavailable = status == HTTPStatus.SERVICE_UNAVAILABLE
    return (
        (status in rule.statuses if rule.statuses else not is_unavailable or rule.kind in _AT_503)
        and rule.product in ("", context.product)
        and context.has(rule.needs)
        and bool(re.search(rule.pattern, words, re.DOTALL | re.MULTILINE))
    )


def retry_after_s(headers: Mapping[str, str], body: ErrorBody) -> float | None:
    """Return the time that a header or the body names; 0 if it has passed (R-32).

    A header has seconds, milliseconds or a date (RFC 9110, 10.2.3). Gemini has a field in the body,
    as Hugging Face does for a model that loads, and OpenAI a sentence.
    """
    # LiteLLM's name for that of the server behind it
    passed_on = next((name for name in headers if name.lower().endswith("retry-after")), "")
    delay = headers.get("retry-after", "") or headers.get(passed_on, "")
    if milliseconds := headers.get("retry-after-ms", ""):
        delay = f"{milliseconds}ms"
    for detail in dicts_in(body.error_object.get("details")):
        delay = delay or str_or_empty(detail.get("retryDelay"))
    for name in ("retry_after", "estimated_time"):
        seconds = positive_or_none(body.error_object.get(name))
        delay = delay or (f"{seconds:.3f}" if seconds else "")
    if match := _TRY_AGAIN_IN.search(body.words):
        delay = delay or match[1]
    match = _DURATION.fullmatch(delay)
    if match and (match[1] or match[2]):
        seconds = float(match[2] or 0) / (1000 if match[3] == "ms" else 1)
        return seconds + 60 * float(match[1] or 0)
    try:
        date = parsedate_to_datetime(delay[:_DATE_CHARS])
    except ValueError:
        return None
    if date.tzinfo is None:  # "-0000" says nothing of the zone
        date = date.replace(tzinfo=UTC)
    return max(date.timestamp() - time.time(), 0.0)


def _token_count(body: ErrorBody, field: str, said: str, patterns: Sequence[str]) -> int | None:
    """Return a number from a field, or else from `said`, in lower case without commas; not 0."""
    count = count_or_none(body.error_object.get(field))
    if count is None:
        matches = (re.search(pattern, said) for pattern in patterns)
        count = next((int(match[1]) for match in matches if match), None)
    return count or None


def status_words(status: int) -> str:
    """Return "502 Bad Gateway", or "with status 799"; both fit behind "answered"."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"with status {status}"
