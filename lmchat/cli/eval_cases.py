"""Cases of `lmchat eval`: prompts from a TOML file, and the checks of their answers."""

from __future__ import annotations

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

from msgspec import Struct, field

from lmchat.attachments.attachment import Attachment, read_attachment
from lmchat.chat.once import SingleAnswer
from lmchat.config.file import KeyPath, key_of, line_of
from lmchat.errors import AnswerUnfit, LMChatError, RequestInvalid, WrongUse
from lmchat.servers.options import checked_option
from lmchat.sessions.message import ChatMessage, messages_of
from lmchat.tools.json_schema import Schema, WantedValue
from lmchat.tools.json_text import UnfitError, strict_json

_TEXTS = (str, list)  # one text, or several
_KEYS: Mapping[str, tuple[type, ...]] = {
    "name": (str,),
    "prompt": (str,),
    "messages": (list,),
    "file": _TEXTS,
    "system": (str,),
    "expect": _TEXTS,
    "reject": _TEXTS,
    "regex": _TEXTS,
    "schema": (dict, str),
    "set": (dict,),
}
"""Keys of a case, with the types of their values in TOML."""
_CHECKS = ("expect", "reject", "regex", "schema")
_EXAMPLE = 'Example: [[case]], name = "sum", prompt = "What is 2 + 3?", expect = "5"'


class Case(Struct, frozen=True, kw_only=True):
    """A prompt, and what its answer must be."""

    name: str
    prompt: str = ""
    messages: tuple[ChatMessage, ...] = ()  # in place of a prompt
    files: tuple[Attachment, ...] = ()
    system_prompt: str | None = None  # None: that of the configuration
    options: Mapping[str, object] = field(default_factory=dict)  # for sampling
    # the checks: what the answer has to be
    expected: tuple[str, ...] = ()  # texts that it has, in capital or small letters
    rejected: tuple[str, ...] = ()  # texts that it does not have, in capital or small letters
    patterns: tuple[str, ...] = ()  # regular expressions, each with a match in it
    schema: WantedValue | None = None  # of the JSON value that it has

    async def failures(self, answer: SingleAnswer) -> dict[str, str]:
        """Return the checks that an answer fails, each with the reason in words.

        An answer that ended with an error, or that is empty, fails the check `answer` alone.
        """
        if answer.error is not None:
            return {"answer": answer.error.message}
        text = answer.reply
        if not text.strip() and self.schema is not None:
            text = answer.reasoning  # some servers report the JSON value there
        if not text.strip():
            return {"answer": "the answer is empty"}

        folded = text.casefold()
        texts = {
            "expect": [text for text in self.expected if text.casefold() not in folded],
            "reject": [text for text in self.rejected if text.casefold() in folded],
        }
        failures = {
            check: f"{check} {', '.join(map(_quoted, missed))}"
            for check, missed in texts.items()
            if missed
        }
        # searched as patterns of a JSON schema: such a search ends in time, whatever the pattern
        misfits = [one for one in self.patterns if Schema({"pattern": one}).misfit(text)]
        if misfits:
            failures["regex"] = f"regex {', '.join(map(_quoted, misfits))}"
        if self.schema is not None:
            try:
                self.schema.value_in(
                    answer.reply,
                    thought=answer.reasoning,
                    finish_reason=answer.stats.finish_reason,
                    is_refusal=answer.is_refusal,
                )
            except AnswerUnfit:
                failures["schema"] = "schema"  # it fails as a whole
        return failures


def _quoted(text: str) -> str:
    return f"“{text}”"


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

    async def _case(self, index: int, entry: object) -> Case:
        """Return the case in an entry of the file; `index` is that of the entry, from 0."""
        table = self._checked_table(index, entry)

        def value_of(key: str, read: Callable[[Any], Any], default: Any = ()) -> Any:
            """Return what `read` makes of the value of a key; the default without this key."""
            if key not in table:
                return default
            try:
                return read(table[key])
            except LMChatError as error:
                self._refuse(("case", index, key), f"cannot be used: {error.message.rstrip('.')}")

        return Case(
            name=table.get("name", f"case {index + 1}"),
            prompt=table.get("prompt", ""),
            messages=value_of("messages", _messages_of),
            files=await self._files(index, table),
            system_prompt=table.get("system"),
            options=value_of("set", _options_of, {}),
            expected=value_of("expect", _texts_of),
            rejected=value_of("reject", _texts_of),
            patterns=value_of("regex", _patterns_of),
            schema=await self._schema(index, table),
        )

    def _checked_table(self, index: int, entry: object) -> Mapping[str, Any]:
        """Return an entry if it is a table with a prompt, a check, and only keys that fit."""
        if not isinstance(entry, dict):
            self._refuse(("case", index), "is not a table: write [[case]]")
        for key, value in entry.items():
            if key not in _KEYS:
                self._refuse(("case", index, key), f"is unknown; keys: {', '.join(_KEYS)}")
            if not isinstance(value, _KEYS[key]):
                self._refuse(("case", index, key), "has a value of the wrong type")
        if not {"prompt", "messages", "file"} & entry.keys():
            self._refuse(("case", index), "has no prompt, messages or file")
        if "messages" in entry and {"prompt", "file", "system"} & entry.keys():
            self._refuse(("case", index, "messages"), "takes the place of prompt, file and system")
        if not set(_CHECKS) & entry.keys():
            self._refuse(("case", index), f"checks nothing; checks: {', '.join(_CHECKS)}")
        return entry

    async def _files(self, index: int, entry: Mapping[str, Any]) -> tuple[Attachment, ...]:
        """Return the files that a case names; their paths are relative to the file of cases."""
        files: list[Attachment] = []
        try:
            for name in _texts_of(entry.get("file", [])):
                files.append(await read_attachment(self._path.parent / name))  # noqa: PERF401
        except LMChatError as error:
            self._refuse(("case", index, "file"), f"cannot be used: {error.message.rstrip('.')}")
        return tuple(files)

    async def _schema(self, index: int, entry: Mapping[str, Any]) -> WantedValue | None:
        """Return the schema in a case, or in the file that the case names; None without one."""
        value = entry.get("schema")
        if value is None:
            return None
        try:
            if isinstance(value, str):
                value = strict_json(_text_of(self._path.parent / value))
            schema = WantedValue(value)
        except (LMChatError, OSError, ValueError, UnfitError) as error:
            self._refuse(("case", index, "schema"), f"cannot be used: {error}".rstrip("."))
        return schema

    def _refuse(self, key_path: KeyPath, reason: str) -> NoReturn:
        """Raise `WrongUse` about a key, such as `("case", 0, "regex")`, and its line.

        `reason` continues a sentence that begins with the key, as in "has no value".
        """
        line = line_of(self._text, key_path)
        place = f"{self._path}, line {line}" if line else str(self._path)
        raise WrongUse(f"{place}: {key_of(key_path)} {reason}.", hint="Correct the file.")


def _texts_of(value: object) -> tuple[str, ...]:
    """Return one text, or the texts of a list; raises `WrongUse` for other items."""
    texts = [value] if isinstance(value, str) else value
    if not isinstance(texts, list) or not all(isinstance(text, str) and text for text in texts):
        raise WrongUse("write a text, or a list of texts.", hint="Correct the file.")
    return tuple(texts)


def _patterns_of(value: object) -> tuple[str, ...]:
    """Return one pattern, or those of a list; raises `WrongUse` for no regular expression."""
    patterns = _texts_of(value)
    for pattern in patterns:
        try:
            Schema({"pattern": pattern})
        except RequestInvalid as error:
            message = f"{pattern} is no regular expression that a JSON schema may have."
            raise WrongUse(message, hint="Correct the file.") from error
    return patterns


def _options_of(value: Mapping[str, object]) -> dict[str, object]:
    return {name: checked_option(name, item) for name, item in value.items()}


def _messages_of(entries: list[object]) -> tuple[ChatMessage, ...]:
    return messages_of(entries)  # type: ignore[arg-type]  # it checks what it gets
