"""Cases of `lmchat eval`: prompts from a TOML file, and the checks of their answers."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from lmchat.attachments.attachment import Attachment, read_attachment
from lmchat.batch.tasks import Task, task_key
from lmchat.chat.sampling_layers import SamplingLayers
from lmchat.chat.starts import new_prompt
from lmchat.errors import AnswerUnfit, LMChatError, RequestInvalid, WrongUse
from lmchat.servers.model import ModelInfo
from lmchat.servers.options import checked_option
from lmchat.sessions.message import ChatMessage, messages_of
from lmchat.sessions.session import MessagePath
from lmchat.tools.json_schema import Schema, WantedValue
from lmchat.tools.json_text import UnfitError, strict_json

_Text = Annotated[str, Meta(min_length=1)]
_Texts = _Text | list[_Text]
_CORRECT = "Correct the file."
_EXAMPLE = 'Example: [[case]], name = "sum", prompt = "What is 2 + 3?", expect = "5"'


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
        """Raise `ValueError`, which msgspec reports with the place in the file."""
        has_prompt = bool(self.prompt or self.file)
        if not has_prompt and self.messages is None:
            raise ValueError("The case has no prompt, messages or file")
        if self.messages is not None and (has_prompt or self.system is not None):
            raise ValueError("messages takes the place of prompt, file and system")
        if not (self.expect or self.reject or self.regex) and self.schema is None:
            raise ValueError("The case checks nothing; checks: expect, reject, regex, schema")


class _File(Struct, forbid_unknown_fields=True):
    case: list[_Entry] = []


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
    """Return the cases of a file; raises `WrongUse` for a wrong one."""
    entries: list[_Entry] = []
    problem, hint = "", _CORRECT
    try:
        entries = msgspec.convert(tomllib.loads(_text_of(path)), _File).case
    except OSError as error:
        problem, hint = f"cannot be read: {error.strerror or error}", "Check the path."
    except RecursionError:
        problem = "is not valid TOML: nested too deeply"
    except msgspec.ValidationError as error:  # it names the key, as in `$.case[0].prompt`
        problem, hint = f"has a wrong case: {error}", _EXAMPLE
    except ValueError as error:  # no UTF-8, or no TOML
        problem = f"is not valid TOML: {error}"
    else:
        if not entries:
            problem, hint = "has no [[case]]", _EXAMPLE
    if problem:
        raise WrongUse(f"{path} {problem}.", hint=hint)

    cases: dict[str, Case] = {}
    for number, entry in enumerate(entries, 1):
        name = entry.name or f"case {number}"
        try:
            if name in cases:
                raise WrongUse("It has the name of another case.", hint=_CORRECT)
            cases[name] = await _case(name, entry, path.parent)
        except (LMChatError, OSError, ValueError, UnfitError) as error:
            message = f"{path}: {name} cannot be used: {str(error).rstrip('.')}."
            raise WrongUse(message, hint=_CORRECT) from error
    return list(cases.values())


async def _case(name: str, entry: _Entry, folder: Path) -> Case:
    """Return the case of an entry, whose paths are relative to a folder.

    Raises `LMChatError`, `OSError`, `ValueError` or `UnfitError`.
    """
    patterns = _list(entry.regex)
    for pattern in patterns:
        try:
            Schema({"pattern": pattern})
        except RequestInvalid as error:
            message = f"{pattern} is no regular expression that a JSON schema may have."
            raise WrongUse(message, hint=_CORRECT) from error
    schema: object = entry.schema
    if isinstance(schema, str):
        schema = strict_json(_text_of(folder / schema))
    return Case(
        name=name,
        prompt=entry.prompt,
        messages=() if entry.messages is None else messages_of(entry.messages),
        files=tuple([await read_attachment(folder / file) for file in _list(entry.file)]),
        system_prompt=entry.system,
        options={option: checked_option(option, value) for option, value in entry.set.items()},
        expected=_list(entry.expect),
        rejected=_list(entry.reject),
        patterns=patterns,
        schema=None if entry.schema is None else WantedValue(schema),
    )


def _text_of(path: Path) -> str:
    return path.read_bytes().decode("utf-8-sig")


def _list(texts: str | list[str]) -> list[str]:
    return [texts] if isinstance(texts, str) else texts
