"""Cases of `lmchat eval`: prompts from a TOML file, and the checks of their answers."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec
from msgspec import Meta, Struct

from lmchat.attachments.attachment import Attachment, read_attachment
from lmchat.batch.tasks import Task, task_key
from lmchat.chat.sampling_layers import SamplingLayers
from lmchat.chat.starts import new_prompt
from lmchat.config.file import KeyPath, key_of, line_of
from lmchat.errors import AnswerUnfit, LMChatError, RequestInvalid, WrongUse
from lmchat.servers.model import ModelInfo
from lmchat.servers.options import checked_option
from lmchat.sessions.message import ChatMessage, messages_of
from lmchat.sessions.session import MessagePath
from lmchat.tools.json_schema import Schema, WantedValue
from lmchat.tools.json_text import UnfitError, strict_json

_Text = Annotated[str, Meta(min_length=1)]
_Texts = _Text | list[_Text]
_CHECKS = ("expect", "reject", "regex", "schema")
_EXAMPLE = 'Example: [[case]], name = "sum", prompt = "What is 2 + 3?", expect = "5"'

T = TypeVar("T")


class _Entry(Struct, kw_only=True):
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


class Case(Struct, frozen=True, kw_only=True):
    """A prompt, and what its answer must be."""

    name: str
    prompt: str
    messages: tuple[ChatMessage, ...]  # in place of a prompt
    files: tuple[Attachment, ...]
    system_prompt: str | None  # None: that of the configuration
    options: Mapping[str, object]  # for sampling
    # the checks: what the answer has to be
    expected: list[str]  # texts that it has, in capital or small letters
    rejected: list[str]  # texts that it does not have, in capital or small letters
    patterns: list[str]  # regular expressions, each with a match in it
    schema: WantedValue | None  # of the JSON value that it has

    def task(
        self, index: int, model: ModelInfo, run: int, layers: SamplingLayers, system_prompt: str
    ) -> Task:
        """Return the task that asks a model this case; `system_prompt` is the configured one.

        It has the messages of the case, or else the system prompt, the prompt and the files with
        which a new session would begin.
        """
        messages = self.messages
        if not messages:
            system = system_prompt if self.system_prompt is None else self.system_prompt
            parts = [file.part for file in self.files]
            start = new_prompt(MessagePath(()), self.prompt, parts, system_prompt=system)
            messages = start.prompts
        options = layers.values(self.options, model.model_id)
        output = self.schema.output if self.schema else None
        files = {file.part.digest: file.data for file in self.files}
        key = task_key(messages, model, options, output, [*files])
        return Task(
            head={"index": index, "id": self.name, "key": key, "run": run},
            model=model,
            messages=messages,
            options=options,
            output=output,
            files=files,
        )

    def failures(self, row: Mapping[str, Any]) -> dict[str, str]:
        """Return the checks that the answer in a row fails, each with the reason in words.

        An answer that ended with an error, or that is empty, fails the check `answer` alone.
        """
        if "error" in row:
            return {"answer": row["error"]["message"]}
        text: str = row["reply"]
        if not text.strip() and self.schema is not None:
            text = row["reasoning"]  # some servers report the JSON value there
        if not text.strip():
            return {"answer": "the answer is empty"}

        folded = text.casefold()
        missed = {
            "expect": [text for text in self.expected if text.casefold() not in folded],
            "reject": [text for text in self.rejected if text.casefold() in folded],
            # searched as patterns of a JSON schema: such a search ends in time
            "regex": [one for one in self.patterns if Schema({"pattern": one}).misfit(text)],
        }
        failures = {
            check: f"{check} {', '.join(f'“{text}”' for text in texts)}"
            for check, texts in missed.items()
            if texts
        }
        if self.schema is not None:
            try:
                self.schema.value_in(text)
            except AnswerUnfit:
                failures["schema"] = "schema"  # it fails as a whole
        return failures


async def read_cases(path: Path) -> list[Case]:
    """Return the cases of a file; raises `WrongUse`, with the line, for a wrong one."""
    try:
        text = _text_of(path)
        table = tomllib.loads(text)
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror or error}."
        raise WrongUse(message, hint="Check the path.") from error
    except RecursionError:
        message = f"{path} is not valid TOML: nested too deeply."
        raise WrongUse(message, hint="Correct it.") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WrongUse(f"{path} is not valid TOML: {error}.", hint="Correct it.") from error
    return await _CaseFile(path, text).cases(table)


def _text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig")


class _CaseFile:
    """Reader of one file; its methods raise `WrongUse` with the line of what is wrong."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    async def cases(self, table: Mapping[str, Any]) -> list[Case]:
        """Return the cases in `table`, which is the parsed content of the file."""
        for key in table:
            if key != "case":
                self._refuse((key,), "is unknown: a file has [[case]] tables only")
        entries = table.get("case")
        if not isinstance(entries, list) or not entries:
            raise WrongUse(f"{self._path} has no [[case]].", hint=_EXAMPLE)
        cases = [await self._case(index, entry) for index, entry in enumerate(entries)]
        names = [case.name for case in cases]
        for index, name in enumerate(names):
            if name in names[:index]:
                self._refuse(("case", index, "name"), "is the name of another case, too")
        return cases

    async def _case(self, index: int, table: object) -> Case:
        """Return the case in a table of the file; `index` is that of the table, from 0."""
        entry = self._entry(index, table)

        def use(key: str, read: Callable[[], T]) -> T:
            """Return what `read` makes of the value of a key."""
            try:
                return read()
            except (LMChatError, OSError, ValueError, UnfitError) as error:
                self._refuse(("case", index, key), f"cannot be used: {str(error).rstrip('.')}")

        files: list[Attachment] = []
        try:  # paths are relative to the file of cases
            for name in _list(entry.file):
                files.append(await read_attachment(self._path.parent / name))  # noqa: PERF401
        except LMChatError as error:
            self._refuse(("case", index, "file"), f"cannot be used: {error.message.rstrip('.')}")
        return Case(
            name=entry.name or f"case {index + 1}",
            prompt=entry.prompt,
            messages=use(
                "messages",
                lambda: () if entry.messages is None else messages_of(entry.messages),
            ),
            files=tuple(files),
            system_prompt=entry.system,
            options=use("set", lambda: {n: checked_option(n, v) for n, v in entry.set.items()}),
            expected=_list(entry.expect),
            rejected=_list(entry.reject),
            patterns=use("regex", lambda: _checked_patterns(_list(entry.regex))),
            schema=use("schema", lambda: self._schema(entry.schema)),
        )

    def _entry(self, index: int, table: object) -> _Entry:
        """Return a table if it has a prompt, a check, and only keys and values that fit."""
        if not isinstance(table, dict):
            self._refuse(("case", index), "is not a table: write [[case]]")
        for key, value in table.items():
            if key not in _Entry.__struct_fields__:
                names = ", ".join(_Entry.__struct_fields__)
                self._refuse(("case", index, key), f"is unknown; keys: {names}")
            try:
                msgspec.convert({key: value}, _Entry)
            except msgspec.ValidationError:
                self._refuse(("case", index, key), "has a value of the wrong type")
        if not {"prompt", "messages", "file"} & table.keys():
            self._refuse(("case", index), "has no prompt, messages or file")
        if "messages" in table and {"prompt", "file", "system"} & table.keys():
            self._refuse(("case", index, "messages"), "takes the place of prompt, file and system")
        if not set(_CHECKS) & table.keys():
            self._refuse(("case", index), f"checks nothing; checks: {', '.join(_CHECKS)}")
        return msgspec.convert(table, _Entry)

    def _schema(self, value: dict[str, Any] | str | None) -> WantedValue | None:
        """Return the schema in a case, or in the file that the case names; None without one."""
        if isinstance(value, str):
            return WantedValue(strict_json(_text_of(self._path.parent / value)))
        return None if value is None else WantedValue(value)

    def _refuse(self, key_path: KeyPath, reason: str) -> NoReturn:
        """Raise `WrongUse` about a key, such as `("case", 0, "regex")`, and its line.

        `reason` continues a sentence that begins with the key, as in "has no value".
        """
        line = line_of(self._text, key_path)
        place = f"{self._path}, line {line}" if line else str(self._path)
        raise WrongUse(f"{place}: {key_of(key_path)} {reason}.", hint="Correct the file.")


def _list(texts: str | list[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else texts


def _checked_patterns(patterns: list[str]) -> list[str]:
    """Return the patterns; raises `WrongUse` for no regular expression."""
    for pattern in patterns:
        try:
            Schema({"pattern": pattern})
        except RequestInvalid as error:
            message = f"{pattern} is no regular expression that a JSON schema may have."
            raise WrongUse(message, hint="Correct the file.") from error
    return patterns
