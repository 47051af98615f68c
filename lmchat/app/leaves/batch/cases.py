"""Cases of `lmchat eval`: prompts from a TOML file, and the checks of their answers."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from lmchat.api import (
    Schema,
    SchemaOutput,
    checked_options,
    read_attachment,
    read_schema,
    stored_options,
)
from lmchat.app.leaves.batch.jobs import Record, prompt_messages
from lmchat.base.errors import AnswerUnfit, LMChatError, WrongUse
from lmchat.base.files.disk import unreadable
from lmchat.base.matching import did_you_mean
from lmchat.base.processes.background import run_abandonable
from lmchat.base.safe_text import safe_line
from lmchat.core.config.toml import TomlError, fault_of, read_toml
from lmchat.core.sessions.given_messages import messages_of
from lmchat.core.sessions.message import ChatMessage

_Text = Annotated[str, Meta(min_length=1)]
_Texts = list[_Text] | _Text  # one text or several
_MOST_BYTES = 100_000_000
_EXAMPLE = 'Example: case = [{ name = "sum", prompt = "What is 2 + 3?", expect = "5" }]'


class _Entry(Struct, kw_only=True, forbid_unknown_fields=True):
    """A `[[case]]` as it is in the file."""

    name: str
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
        has_schema = self.schema is not None  # {} is refused with another sentence
        if not (self.expect or self.reject or self.regex or has_schema):
            raise ValueError("The case checks nothing; checks: expect, reject, regex, schema")


class _File(Struct, forbid_unknown_fields=True):
    case: list[dict[str, Any]] = []


class Case(Struct, frozen=True, kw_only=True):
    """A prompt, and what its answer must be."""

    entry: _Entry
    messages: tuple[ChatMessage, ...]
    files: Mapping[str, bytes]  # by digest
    wanted: SchemaOutput | None  # None if no JSON value is needed
    # The JSON schema with each regular expression as `pattern`: jsonschema-rs searches in bounded
    # time, Python's `re` may search for hours (backtracking).
    patterns: Mapping[str, Schema]

    @property
    def name(self) -> str:
        return self.entry.name

    def failures(self, record: Record) -> dict[str, str]:
        """Return the failed checks, each with its reason.

        An answer that ended with an error, or is empty, fails `answer` alone.
        """
        if "error" in record:
            return {"answer": record["error"]["message"]}
        text: str = record["reply"]
        if not text.strip() and self.wanted is not None:
            text = record["reasoning"]  # some servers report the JSON value there
        if not text.strip():
            return {"answer": "the answer is empty"}

        folded = text.casefold()
        expected, rejected = _list(self.entry.expect), _list(self.entry.reject)
        violated = {  # by check, the phrases or patterns for which it fails
            "expect": [phrase for phrase in expected if phrase.casefold() not in folded],
            "reject": [phrase for phrase in rejected if phrase.casefold() in folded],
            "regex": [regex for regex, schema in self.patterns.items() if schema.misfit(text)],
        }
        failures = {
            check: f"{check} {', '.join(f'“{phrase}”' for phrase in phrases)}"
            for check, phrases in violated.items()
            if phrases
        }
        if self.wanted is not None:
            try:
                self.wanted.value_in(text)
            except AnswerUnfit as error:
                failures["schema"] = error.message
        return failures


async def read_cases(path: Path, system_prompt: str) -> list[Case]:
    """Raises `FileRefused`, `WrongUse`.

    `system_prompt` is for cases with neither messages nor their own; it may be "".
    """
    try:
        values, _ = await run_abandonable(
            lambda: read_toml(path, dict[str, Any], may_stream=True, max_bytes=_MOST_BYTES)
        )
        tables = msgspec.convert(values, _File).case
    except OSError as error:
        raise unreadable(path, error, max_bytes=_MOST_BYTES) from error
    except TomlError as error:
        line = "" if error.line is None else f", line {error.line},"
        raise WrongUse(f"{path}{line} {error.reason}.", next_step=_EXAMPLE) from error
    except msgspec.ValidationError as error:
        raise WrongUse(
            f"{path} is not a file of cases: {fault_of(error)}.", next_step=_EXAMPLE
        ) from error
    if not tables:
        raise WrongUse(f"{path} has no case.", next_step=_EXAMPLE)

    cases: list[Case] = []
    for number, table in enumerate(tables, 1):
        name = table.get("name") or f"case {number}"
        for key in table.keys() - {*_Entry.__struct_fields__}:
            ending = did_you_mean(key, _Entry.__struct_fields__)
            raise WrongUse(
                f"{path}: {name} cannot be used: {safe_line(key)} is no part of a case{ending}",
                next_step="Correct the file.",
            )
        try:
            entry = msgspec.convert({**table, "name": name}, _Entry)
            cases.append(await _case(entry, path.parent, system_prompt))
        except (LMChatError, msgspec.ValidationError) as error:
            text = str(error) if isinstance(error, LMChatError) else f"{fault_of(error)}."
            raise WrongUse(
                f"{path}: {name} cannot be used: {text}", next_step="Correct the file."
            ) from error
    return cases


async def _case(entry: _Entry, folder: Path, system_prompt: str) -> Case:
    """Paths are relative to `folder`; raises `LMChatError`."""
    files = [await read_attachment(folder / file) for file in _list(entry.file)]
    if entry.messages is None:
        system = system_prompt if entry.system is None else entry.system
        messages = prompt_messages(entry.prompt, system, [file.part for file in files])
    else:
        messages = messages_of(entry.messages)
    entry.set = stored_options(checked_options({"more": entry.set}))
    wanted = None
    if isinstance(entry.schema, str):
        wanted = read_schema(folder / entry.schema)
    elif entry.schema is not None:
        wanted = SchemaOutput(entry.schema)
    return Case(
        entry=entry,
        messages=messages,
        files={file.part.digest: file.data for file in files},
        wanted=wanted,
        patterns={pattern: Schema({"pattern": pattern}) for pattern in _list(entry.regex)},
    )


def _list(texts: _Texts) -> list[str]:
    return [texts] if isinstance(texts, str) else texts
