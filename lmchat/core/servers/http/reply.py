"""Replies of servers that were read as a whole, and errors in all known shapes (R-24)."""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

from msgspec import Struct, field

from lmchat.base.json_values import (
    JsonObject,
    NotJsonError,
    count_or_none,
    decode,
    dict_or_empty,
    dicts_in,
    str_or_empty,
)
from lmchat.base.safe_text import safe_line, without_secret

MAX_REPLY_BYTES = 16 * 1024 * 1024
_SUCCESSES = range(200, 300)
MESSAGE_CHARS = 300
# cleaned before a text is shortened: a megabyte would take seconds
_READ_CHARS = 16 * MESSAGE_CHARS
_MAX_DEPTH = 8  # searched for words
_HTML = re.compile(rb"^(\xef\xbb\xbf)?\s*(<!doctype html|<html|<head|<\?xml)", re.IGNORECASE)
_TITLE = re.compile(r"<title[^<>]{0,99}>([^<]{1,300})", re.IGNORECASE)
_DATA = re.compile(r"^data: ?(.+)", re.MULTILINE)  # of an event stream
_FIELDS = (
    *("message", "msg", "status_msg", "error_description"),
    *("error", "errors", "detail", "base_resp"),
)
"""Fields with the words of an error: a sentence comes before a name such as "Bad Request"."""
# before the sentence: a piece of a template, a trace; the last one counts
_BEFORE_SENTENCE = re.compile(
    r"jinja exception:|^error:|^[\w.]{0,99}(?:error|exception):", re.MULTILINE | re.IGNORECASE
)
# of an object as Python writes it, such as in the words of an exception of the package openai
_QUOTED_MESSAGE = re.compile(r"""['"]message['"]: (['"])(.{1,4000}?)\1[,}]""", re.DOTALL)
_IS_TRACE = re.compile(r"while executing |traceback \(most recent|jinja exception:", re.IGNORECASE)
_TRACE_BEHIND = re.compile(r"\n\s*at [^\n]{1,200}:\d+")  # "\n    at _0x29 (x.js:7:2)"


class Reply(Struct, frozen=True, kw_only=True, dict=True):
    """Whole reply; its status alone does not tell whether it is an error (R-1)."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    elapsed_ms: float  # from sending the request to the last byte

    @cached_property
    def value(self) -> Any:
        """None if the body is not JSON."""
        try:
            return decode(self.body)
        except NotJsonError:
            return None

    @property
    def text(self) -> str:
        return self.body.decode(errors="replace")

    @property
    def object(self) -> JsonObject:
        return dict_or_empty(self.value)

    @property
    def is_page(self) -> bool:
        kind = self.headers.get("content-type", "").lower()
        return "html" in kind or bool(_HTML.match(self.body[:512]))

    @property
    def is_good(self) -> bool:
        if self.status not in _SUCCESSES or self.value is None:
            return False
        # beside records of a list, an error may be none
        has_records = any(dicts_in(self.object.get(name)) for name in ("data", "models"))
        return has_records or not is_error(self.value)

    @property
    def is_bare_ok(self) -> bool:
        """Whether it says only that an order was carried out, as llama-swap does."""
        return self.status in _SUCCESSES and self.body.strip() in (b"", b"OK")

    @property
    def is_unknown_path(self) -> bool:
        """Whether the server does not have the path; LM Studio says so with status 200."""
        has_path_status = self.status in (404, 405, 501)
        return has_path_status or "Unexpected endpoint" in str(self.object.get("error", ""))


class ErrorBody(Struct, frozen=True, kw_only=True):
    """Facts of a refusal, whatever the shape of its body."""

    message: str = ""  # trimmed and safe on one line
    said: str = ""  # all that it says
    # the server's own words:
    code: str = ""  # may be a status, such as "503"
    type: str = ""
    param: str = ""  # the refused field
    error_object: Mapping[str, Any] = field(default_factory=dict)
    """Fields of the error and the objects around it; the inner ones win."""
    is_html: bool = False


def read_body(
    body: bytes,
    content_type: str = "",
    *,
    secrets: Sequence[str] = (),
    unquote: Callable[[str], str] = str,
) -> ErrorBody:
    """Cut the sent `secrets` out of the message.

    `unquote` cuts quotes of the request out of a text; what they hold is no error.
    Of a web page, `message` is its title.
    Of a body that is not JSON, the beginning is the message; of an event stream, its first data.
    """
    text = body[:_READ_CHARS].decode("utf-8", "replace")
    if "html" in content_type.lower() or _HTML.match(body[:512]):
        title = _TITLE.search(text)
        return ErrorBody(
            is_html=True,
            message=_clean(without_secret(html.unescape(title[1]) if title else "", *secrets)),
        )
    if text.startswith(("data:", "event:")) and (data := _DATA.search(text)):
        text = data[1]
        body = text.encode()
    try:
        value = decode(body)
    except NotJsonError:
        return _with_words(text, {}, secrets=secrets)
    error_body = read_value(value, secrets=secrets, unquote=unquote)
    if error_body.message or not value:
        return error_body
    return _with_words(text, error_body.error_object, secrets=secrets)


def read_value(
    value: object, *, secrets: Sequence[str], unquote: Callable[[str], str] = str
) -> ErrorBody:
    """Cut the sent `secrets` out of the message; for `unquote`, see `read_body`."""
    fields: JsonObject = {}
    return _with_words(_read(_with_choice(value), fields, 0, unquote), fields, secrets=secrets)


def _with_choice(value: object) -> object:
    """Return a chunk or answer with the error of its choice where other errors are."""
    choice = choice_of(value)
    if choice.get("error"):
        return choice
    if choice.get("finish_reason") == "error":  # the text is the failure
        text = dict_or_empty(choice.get("message") or choice.get("delta")).get("content")
        return {"message": text or choice.get("text"), **dict_or_empty(value)}
    return value


def _with_words(text: str, fields: Mapping[str, Any], *, secrets: Sequence[str]) -> ErrorBody:
    # before the message is shortened, which could leave half of a key
    text = without_secret(text, *secrets)[:_READ_CHARS]
    # servers without a `code` may have the status of HTTP in the body
    code = fields.get("code", fields.get("status"))
    return ErrorBody(
        message=_clean(_sentence(text)),
        said=safe_line(text),
        code=_clean(str(code)) if isinstance(code, str | int) else "",
        type=_clean(str_or_empty(fields.get("type"))),
        param=_clean(str_or_empty(fields.get("param"))),
        error_object=fields,
    )


def _read(value: object, fields: JsonObject, depth: int, unquote: Callable[[str], str]) -> str:
    """Return the first words of an error at any depth."""
    if depth > _MAX_DEPTH:
        return ""
    if isinstance(value, str):
        inside = _error_inside(value)
        is_quoted = bool(inside) and not _error_inside(unquote(value))
        words = "" if is_quoted else _read(inside, fields, depth + 1, unquote)
        # in front of the fault of a field, its tool may be named
        frame = value.partition("{")[0].rstrip("[ \n") if "path" in inside else ""
        return f"{frame} {words}".lstrip() if words else value
    if isinstance(value, list):
        words_of = (_read(one, fields, depth + 1, unquote) for one in value[:_MAX_DEPTH])
        return next(filter(None, words_of), "")
    reply = dict_or_empty(value)
    fields.update((name, one) for name, one in reply.items() if one is not None)
    # OpenRouter's message is only that a provider has failed
    raw = str_or_empty(dict_or_empty(reply.get("metadata")).get("raw")).strip()
    if raw and not raw.startswith("<"):  # else the web page of a gateway
        return _read(raw, fields, depth + 1, unquote)
    location = reply.get("loc") or reply.get("path")
    fault = str_or_empty(reply.get("msg") or reply.get("message"))
    if location and isinstance(location, list) and fault:
        # FastAPI has a list of faults: [{"msg": "Input should be …", "loc": ["body", "top_p"]}]
        steps = [str(step) for step in location[:_MAX_DEPTH]]
        if "function" in steps[1:2]:  # LM Studio's path to a field of a tool
            steps.insert(0, "tools")
        fields["param"] = steps[-1]
        return f"{fault} ({'.'.join(steps)})"
    parts = [reply[name] for name in _FIELDS if name in reply]
    # what is deeper inside says more
    for part in sorted(parts, key=lambda part: isinstance(part, str)):
        if words := _read(part, fields, depth + 1, unquote):
            return words
    return ""


def _error_inside(text: str) -> JsonObject:
    """Return an error inside a text, in JSON or as Python writes it; empty if there is none."""
    start, end = text.find("{"), text.rfind("}") + 1
    if 0 <= start < end <= _READ_CHARS:
        try:
            value = decode(f"[{text[start:end]}]".encode())[0]  # of several, the first
        except NotJsonError:
            quoted = _QUOTED_MESSAGE.search(text, start)
            return {"message": quoted[2]} if quoted else {}
        # other JSON is a part of the sentence, such as a schema
        if isinstance(value, dict) and value.keys() & set(_FIELDS):
            return value
    return {}


def _sentence(text: str) -> str:
    """Return the last sentence of a trace, else the text."""
    text = text.strip()
    if _IS_TRACE.search(text):
        *_, last = [0, *(gap.end() for gap in _BEFORE_SENTENCE.finditer(text))]
        text = text[last:].strip() or text
    return _TRACE_BEHIND.split(text, maxsplit=1)[0] or text


def choice_of(value: object) -> JsonObject:
    """Return the choice of a chunk or answer that counts, or an empty one.

    That is the one with index 0: no other was asked for. An index that is no number says nothing.
    """
    choices = dicts_in(dict_or_empty(value).get("choices"))
    return next((one for one in choices if not count_or_none(one.get("index"))), {})


def may_be_error(data: bytes) -> bool:
    """Whether JSON has one of the words of which an error has one."""
    return b"error" in data or b"base_resp" in data or b"success" in data or b"detail" in data


def is_error(value: object) -> bool:
    """Return whether a reply or chunk is an error, whatever the status is (R-1, R-26)."""
    if isinstance(value, list) and value:  # as in `read_value`
        value = value[0]
    if not isinstance(value, dict):
        return False
    # MiniMax has a status in each reply, and Baidu and FastChat have a code, 0 for success
    has_failed = dict_or_empty(value.get("base_resp")).get("status_code")
    if has_failed or any(value.get(name) for name in ("error", "error_message", "error_code")):
        return True
    if "error" in (value.get("object"), value.get("type")) or value.get("success") is False:
        return True
    if value.get("detail") and len(value) == 1:  # of FastAPI
        return True
    choice = choice_of(value)
    # an answer may end with an error, too
    return choice.get("finish_reason") == "error" or bool(choice.get("error"))


def is_failure(value: object) -> bool:
    """Return whether it is an error, and not beside an answer: there, an error may be none."""
    choices = dict_or_empty(value).get("choices")
    return is_error({"choices": choices} if choices else value)


def _clean(message: str) -> str:
    return safe_line(message[:_READ_CHARS], limit=MESSAGE_CHARS)
