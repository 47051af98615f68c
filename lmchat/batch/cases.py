"""Cases of `lmchat eval`: prompts from a TOML file, and the checks of their answers."""

from __future__ import annotations

import asyncio
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from lmchat.answers.json_schema import Schema, WantedValue, read_schema
from lmchat.attachments.attachment import read_attachment
from lmchat.chat.turn_starts import new_prompt
from lmchat.errors import AnswerUnfit, LMChatError, WrongUse
from lmchat.servers.sampling_options import checked_option
from lmchat.sessions.given_messages import messages_of
from lmchat.sessions.message import ChatMessage
from lmchat.sessions.session import MessagePath

_Text = Annotated[str, Meta(min_length=1)]
_Texts = list[_Text] | _Text  # value of a key that takes one text or several
_EXAMPLE = 'Example: case = [{ name = "sum", prompt = "What is 2 + 3?", expect = "5" }]'


class _Entry(Struct, kw_only=True, forbid_unknown_fields=True):
    """A `[[case]]` as it is in the file."""

    name: str = ""
    prompt: str = ""
    messages: list[Any] | None = None
    file: _Texts = []
    system: str | None = None
    expect: _Texts = []
    reject: _Texts = []
    regex: _Texts = []
    schema: dict[str, Any] | str | None = None
    set: dict[str, Any] = {}

    def __post_init__(self) -> None:
        """Raise `ValueError` for a case that asks or checks nothing, or asks in two ways."""
        has_messages = self.messages is not None
        has_prompt = bool(self.prompt or self.file)
        if not (has_prompt or has_messages):
            raise ValueError("The case has no prompt, messages or file")
        if has_messages and (has_prompt or self.system is not None):
            raise ValueError("messages takes the place of prompt, file and system")
        has_schema = self.schema is not None  # one of {} is refused with a sentence of its own
        if not (self.expect or self.reject or self.regex or has_schema):
            raise ValueError("The case checks nothing; checks: expect, reject, regex, schema")


class _File(Struct, forbid_unknown_fields=True):
    case: Annotated[list[dict[str, Any]], Meta(min_length=1)]


class Case(Struct, frozen=True, kw_only=True):
    """A prompt, and what its answer must be."""

    name: str
    messages: tuple[ChatMessage, ...]
    files: Mapping[str, bytes]  # content of the attached files by their digests
    options: Mapping[str, object]  # sampling options by name
    # the checks of the answer
    expected: list[str]  # texts that it must have, in capital or small letters
    rejected: list[str]  # texts that it must not have, in capital or small letters
    # by each regular expression that a part of it must match: a JSON schema with this `pattern`
    patterns: Mapping[str, Schema]
    wanted: WantedValue | None  # the JSON value that it must have; None if it need not have one

    def failures(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Return the names of the checks that an answer fails, each with the reason in words.

        `row` is the row of the answer (`TaskAnswer.row`). If the answer ended with an error, or is
        empty, it fails the check `answer` alone.
        """
        if "error" in row:
            return {"answer": row["error"]["message"]}
        text: str = row["reply"]
        if not text.strip() and self.wanted is not None:
            text = row["reasoning"]  # some servers report the JSON value there
        if not text.strip():
            return {"answer": "the answer is empty"}

        folded = text.casefold()
        violated = {  # for each check, the texts or patterns for which it fails
            "expect": [words for words in self.expected if words.casefold() not in folded],
            "reject": [words for words in self.rejected if words.casefold() in folded],
            # searched by the library of schemas: Python's `re` may search for hours (backtracking)
            "regex": [regex for regex, schema in self.patterns.items() if schema.misfit(text)],
        }
        failures = {
            check: f"{check} {', '.join(f'“{words}”' for words in texts)}"
            for check, texts in violated.items()
            if texts
        }
        if self.wanted is not None:
            try:
                self.wanted.value_in(text)
            except AnswerUnfit as error:
                failures["schema"] = error.message
        return failures


async def read_cases(path: Path, system_prompt: str) -> list[Case]:
    """Return the cases of a file; raises `WrongUse` for a wrong one.

    `system_prompt` is for cases that have neither messages nor a system prompt of their own; it may
    be empty.
    """
    try:
        data = await asyncio.to_thread(path.read_bytes)
        tables = msgspec.convert(tomllib.loads(data.decode("utf-8-sig")), _File).case
    except OSError as error:
        reason = f"cannot be read: {error.strerror or error}"
        raise WrongUse(f"{path} {reason}.", hint="Check the path.") from error
    except (ValueError, RecursionError) as error:  # no UTF-8 or TOML, or no list of tables
        raise WrongUse(f"{path} is not a file of cases: {error}.", hint=_EXAMPLE) from error

    cases: list[Case] = []
    for number, table in enumerate(tables, 1):
        name = table.get("name") or f"case {number}"
        try:
            entry = msgspec.convert(table, _Entry)
            cases.append(await _case(name, entry, path.parent, system_prompt))
        except (LMChatError, msgspec.ValidationError) as error:
            message = f"{path}: {name} cannot be used: {str(error).removesuffix('.')}."
            raise WrongUse(message, hint="Correct the file.") from error
    return cases


async def _case(name: str, entry: _Entry, folder: Path, system_prompt: str) -> Case:
    """Return the case of an entry, whose paths are relative to a folder; raises `LMChatError`."""
    files = [await read_attachment(folder / file) for file in _list(entry.file)]
    if entry.messages is None:
        system = system_prompt if entry.system is None else entry.system
        parts = [file.part for file in files]
        # as the first prompt of a new session
        messages = new_prompt(MessagePath(()), entry.prompt, parts, system_prompt=system).prompts
    else:
        messages = messages_of(entry.messages)
    wanted = None
    if isinstance(entry.schema, str):
        wanted = read_schema(folder / entry.schema)
    elif entry.schema is not None:
        wanted = WantedValue(entry.schema)
    return Case(
        name=name,
        messages=messages,
        files={file.part.digest: file.data for file in files},
        options={option: checked_option(option, value) for option, value in entry.set.items()},
        expected=_list(entry.expect),
        rejected=_list(entry.reject),
        # as patterns of a JSON schema: jsonschema-rs searches in bounded time, `re` does not
        patterns={pattern: Schema({"pattern": pattern}) for pattern in _list(entry.regex)},
        wanted=wanted,
    )


def _list(texts: str | list[str]) -> list[str]:
    """Return `_Texts` as a list."""
    return [texts] if isinstance(texts, str) else texts
