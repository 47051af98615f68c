"""What `lmchat ask` prints in place of an answer: its code, or its JSON value."""

from __future__ import annotations

from typing import Any

from lmchat.cli.options import ParsedOptions
from lmchat.errors import AnswerUnfit, LMChatError
from lmchat.files.disk import expanded_path
from lmchat.markdown.commonmark import code_blocks
from lmchat.safe_text import safe_text
from lmchat.servers.request import AnyText, WantedOutput
from lmchat.sessions.message import AnswerState, ChatMessage
from lmchat.terminal.output import to_json
from lmchat.tools.json_schema import WantedValue, read_schema


class Extract:
    """The JSON value of an answer, or its code blocks."""

    def __init__(self, wanted: WantedValue | None) -> None:
        """Create an extract, whose value is not read yet; None for the code blocks."""
        self._wanted = wanted
        self.name = "value" if wanted else "code"  # in JSON
        self.output: WantedOutput = wanted.output if wanted else AnyText()  # for the request
        self.value: Any = None
        self.text = ""  # the value as it is printed; empty as long as there is none

    def read(self, answer: ChatMessage) -> LMChatError | None:
        """Keep the value of an answer; return an error if a complete answer has none.

        Of an incomplete answer, code is kept.
        """
        is_complete = answer.state is AnswerState.COMPLETE
        if self._wanted is None:
            fences = [
                block.content.rstrip("\n") for block in code_blocks(answer.text) if block.markup
            ]
            self.value = "\n\n".join(filter(str.strip, fences)) or None
            self.text = safe_text(self.value or "")
            if self.value is None and is_complete:
                hint = "Ask for code in the prompt, or leave out --code to see the answer."
                return LMChatError("The answer has no code block.", kind="no_code", hint=hint)
        elif is_complete:
            try:
                self.value = self._wanted.value_in(
                    answer.text,
                    thought=answer.reasoning,
                    finish_reason=answer.stats.finish_reason if answer.stats else "",
                    is_refusal=bool(answer.refusal),
                )
            except AnswerUnfit as error:
                return error
            self.text = to_json(self.value, indent=2)
        return None


def extract_of(options: ParsedOptions) -> Extract | None:
    """Return the extract that `--schema` or `--code` asks for; raises `WrongUse`."""
    wanted = wanted_value(options)
    return Extract(wanted) if wanted is not None or options.code else None


def wanted_value(options: ParsedOptions) -> WantedValue | None:
    """Return the value that `--schema` asks for; raises `WrongUse` for a wrong file."""
    return None if options.schema is None else read_schema(expanded_path(options.schema))
