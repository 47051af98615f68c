"""`lmchat --plain`: the chat as lines of text, for screen readers, Emacs shells, slow links and pipes.

A line is read while no event loop runs, since `readline` needs the main thread; then the loop runs until the
line is done. Ctrl+C is a `KeyboardInterrupt` at the prompt, and cancels what runs. Answers go to stdout, all
else goes to stderr.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import AsyncExitStack, aclosing, suppress
from importlib import import_module
from pathlib import Path

from msgspec.structs import replace

from lmchat.cli.ask import Printer, preset_prompt
from lmchat.cli.context import Context
from lmchat.cli.export import export_from
from lmchat.cli.line_reader import LineReader
from lmchat.cli.output import SHORT_ID, minute
from lmchat.cli.questions import can_ask
from lmchat.cli.sessions import rename_in, search_in
from lmchat.cli.target import find_target, own_endpoints
from lmchat.cli.tools import decide, make_toolbox
from lmchat.cli.wiring import Runtime, open_runtime
from lmchat.domain.event import ModelLoading, ReasoningDelta
from lmchat.domain.message import AnswerState, ChatMessage, Role
from lmchat.domain.server import LoadState, ModelInfo, Target
from lmchat.domain.session import SessionHeader
from lmchat.errors import LMChatError, NoServerFound, ServerRejected, WrongUse
from lmchat.files import path_of
from lmchat.machine.scratch import sweep_scratch_folders
from lmchat.machine.system import interrupt_at_end
from lmchat.services.answer_stream import TurnSettings
from lmchat.services.attachments import Attachment, files_outside, read_attachment
from lmchat.services.catalogue import Catalogue, matching_model
from lmchat.services.conversation import AnswerBegun, Conversation, ConversationEvent
from lmchat.services.library import Library
from lmchat.services.open_sessions import OpenSessions
from lmchat.services.tool_loop import ApprovalAsked
from lmchat.services.turn_options import LEVELS, NO_PROFILE
from lmchat.storage import remembered_file
from lmchat.terminal.terminal_output import drop_typed
from lmchat.text import safe_line
from lmchat.tui.commands import COMMANDS, is_command, parse_slash
from lmchat.tui.message_needs import NOTHING_YET, has_words, is_resumable

_LOOK_EVERY_S = 2.0
_TELL_EVERY_S = 3.0  # between two figures of one progress
_LISTED = 30  # sessions
_QUOTES = '"""'  # around a prompt of several lines, as in Ollama
_MODELS = "/model lists the models; /model N chooses one."
_HINTS = {
    "interrupted": "Type /continue for the rest of the answer, or /retry.",
    "model_missing": _MODELS,
    "model_not_loaded": _MODELS,
}
"""Next steps by the kind of the error, where others name keys of the screen."""
_COMMANDS = {
    "/doctor": "doctor:doctor",
    "/stats": "stats:stats",
    "/tools": "tools:list_tools",
}
"""Slash commands that are commands of the command line; the others are methods of `PlainChat`."""


def run_plain(context: Context) -> int:
    """Chat until the input ends; return 0, on a pipe the exit code of the first failure, or 128 + signal."""
    reader = LineReader(term=os.environ.get("TERM", ""))
    os.environ["TERM"] = "dumb"  # for readline, and for programs that are started
    if sys.stdin is not None:
        sys.stdin.reconfigure(errors="replace")  # type: ignore[union-attr]
    ended = interrupt_at_end()
    stack = AsyncExitStack()
    with asyncio.Runner() as runner:
        try:
            chat = runner.run(_open(context, stack, reader))
            chat.talk(runner, ended)
        except KeyboardInterrupt:
            if not ended:
                raise
            return 128 + ended[0]
        else:
            return chat.exit_code
        finally:
            reader.close()
            runner.run(stack.aclose())


async def _open(context: Context, stack: AsyncExitStack, reader: LineReader) -> PlainChat:
    """Open store, servers and session; `stack` closes them."""
    await asyncio.to_thread(sweep_scratch_folders)
    runtime = await stack.enter_async_context(open_runtime(context))
    if context.is_local:
        from lmchat.cli.local import serve

        runtime = replace(runtime, settings=await serve(context, runtime))
    chat, profile = runtime.settings.chat, context.options.profile or ""
    sessions = OpenSessions(
        chat=chat, backend=runtime.backend, store=runtime.store, profile_name=profile
    )
    if context.has_tools:
        sessions.next_turn.toolbox = make_toolbox(context, runtime.settings, runtime.remembered)
        stack.push_async_callback(sessions.next_turn.toolbox.host.aclose)
    stack.push_async_callback(sessions.save_all)
    if context.options.resume is not None:
        sessions.show(await sessions.load(await runtime.store.find(context.options.resume)))
    return PlainChat(context, runtime, sessions, reader)


class PlainChat:
    """The chat: prompts, and slash commands, which are the methods `do_…`."""

    def __init__(
        self, context: Context, runtime: Runtime, sessions: OpenSessions, reader: LineReader
    ) -> None:
        self.exit_code = 0
        self._context, self._runtime, self._sessions = context, runtime, sessions
        self._output, self._tell = context.output, context.output.note
        self._reader = reader
        self._is_terminal = reader.is_terminal
        self._begun = ""  # text that the next line begins with
        self._draft_id: str | None = None  # of the draft that was offered
        self._files: list[Attachment] = []  # for the next prompt
        self._listed: Sequence[SessionHeader] = ()
        self._is_leaving = False
        self._progress_s = 0.0

    def talk(self, runner: asyncio.Runner, ended: Sequence[int]) -> None:
        """Do one line after the other; signals that end the program are in `ended`."""
        is_begun = not self._is_terminal
        while not self._is_leaving:
            is_reading = is_begun
            try:
                work = self._take(self._read()) if is_begun else self._begin()
                is_begun, is_reading = True, False
                runner.run(work)
            except KeyboardInterrupt:
                if ended or not self._is_terminal:
                    raise
                self._tell("\nCtrl+D quits." if is_reading else f"Stopped.{self._still_running}")
            except LMChatError as error:
                error.hint = _HINTS.get(error.kind, error.hint)
                self._output.failure(error)
                if not self._is_terminal:
                    self.exit_code = self.exit_code or error.exit_code
                    self._is_leaving = isinstance(error, NoServerFound)

    async def _begin(self) -> None:
        store = self._runtime.store
        if notice := await store.open():
            self._tell(f"lmchat: {notice}")
        self._reader.begin(await store.prompt_history())
        await self._show_session()
        await self._connect()
        if self._context.options.temporary:
            self._tell("Temporary: this chat is in memory only.")
        self._tell("/help lists the commands.")

    def _read(self) -> str | None:
        """Return the next line, or what was pasted; None at the end of the input."""
        begun, self._begun = self._begun, ""
        if begun and not self._reader.can_edit:
            self._tell(begun)
        try:
            text = self._reader.read("You:\n" if self._is_terminal else "", begun=begun)
            if text.startswith(_QUOTES):
                text = self._block(text.removeprefix(_QUOTES))
        except (EOFError, RuntimeError):  # the latter where stdin is closed
            return None
        self._reader.remember(text)
        return text

    def _block(self, text: str) -> str:
        """Return the lines up to one that ends with three quotes, or to the end of the input."""
        with suppress(EOFError):
            while not text.rstrip().endswith(_QUOTES):
                text += "\n" + self._reader.read("... " if self._is_terminal else "")
        return text.rstrip().removesuffix(_QUOTES).strip("\n")

    @property
    def _still_running(self) -> str:
        """What goes on after a stop, behind a blank; empty if nothing does."""
        messages = self._conversation.messages
        last = messages[-1] if messages else None
        if last is None or last.state is not AnswerState.STOPPED or not last.tool_result:
            return ""
        return f" {last.tool_result}"

    async def _take(self, text: str | None) -> None:
        if text is None:
            self._is_leaving = True
            self._label("")
        elif is_command(text) or text.startswith("/edit "):  # a prompt may have several lines
            await self._command(text)
        elif text.strip():
            await self._ask(text)

    async def _command(self, line: str) -> None:
        found = parse_slash(line)
        if found is None:
            words = f"Unknown command: {safe_line(line.partition(' ')[0], limit=40)}."
            hint = "/help lists the commands. Begin with a space to send it as a message."
            raise WrongUse(words, hint=hint)
        name, argument = found.command.name, found.argument
        method = getattr(self, f"do_{name[1:]}", None)
        if method is None and name not in _COMMANDS:
            hint = found.command.plain_hint or "Start lmchat without --plain."
            raise WrongUse(f"{name} needs the screen.", hint=hint)
        if not argument and name in ("/effort", "/p", "/profile"):
            self._output.text(self._values(name))
            return
        if not argument and (found.command.needs_argument or name == "/search"):
            raise WrongUse(f"{name} needs a value.", hint="/help shows its form.")
        if method is not None:
            await method(argument)
            return
        module, _, function = _COMMANDS[name].partition(":")
        await getattr(import_module(f"lmchat.cli.{module}"), function)(self._context)

    def _values(self, name: str) -> str:
        """Return what may follow a command, one a line, and which of it is in use."""
        settings, sessions = self._runtime.settings, self._sessions
        if name == "/p":
            return "\n".join(settings.prompts) or "No presets: add [prompts.NAME] to config.toml."
        current, words = (
            sessions.next_turn.options.profile_name or NO_PROFILE,
            (*settings.profiles, NO_PROFILE),
        )
        if name == "/effort":
            current, words = sessions.next_turn.options.chat.reasoning_effort or LEVELS[-1], LEVELS
        return "\n".join(
            f"{word}, in use" if word == current else word for word in dict.fromkeys(words)
        )

    # Prompts and answers

    async def _ask(self, text: str, edited_id: str = "") -> None:
        how, conversation = await self._turn_settings(), self._conversation
        is_auto = self._sessions.next_turn.options.chat.auto_compact and not edited_id
        if is_auto and self._sessions.next_turn.can_compact(self._conversation, text):
            await self.do_compact("")
        files, self._files = self._files, []
        if self._draft_id is not None:
            self._sessions.drafts.note(self._draft_id, "")
            self._draft_id = None
            with suppress(LMChatError):
                await self._sessions.drafts.write()
        if edited_id:
            await self._turn(conversation.edit(edited_id, text, how, files or None))
        else:
            await self._turn(conversation.send(text, how, files))

    async def _turn(self, turn: AsyncGenerator[ConversationEvent, None]) -> None:
        """Print an answer while it arrives; raises the error that it ends with."""
        printer, conversation = Printer(self._output), self._conversation
        is_named = has_thought = False
        try:
            async with aclosing(turn) as events:
                async for event in events:
                    match event:
                        case AnswerBegun(message=message) if not is_named:
                            is_named = True
                            self._label(f"{message.model}:")
                        case ReasoningDelta() if not has_thought:
                            has_thought = True
                            self._tell("Thinking…")
                        case ApprovalAsked():
                            await decide(event, self._context, self._choice)
                        case ModelLoading(fraction=fraction):
                            self._tell_loading(fraction)
                            continue
                        case _:
                            pass
                    printer.show(event)
        finally:  # also of one that is stopped
            printer.end_text()
        answer = conversation.messages[-1]
        error = conversation.error or self._sessions.save_queue.warning
        if answer.failure is not None and error is None:
            error = LMChatError(
                answer.failure.message, hint=answer.failure.hint, kind=answer.failure.kind
            )
        printer.end(answer, None, error)
        if error is not None:
            raise error

    async def _choice(self) -> bytes:
        """Return the answer to a question about a tool call; Ctrl+C stops the turn."""
        before = signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            await asyncio.sleep(0)  # a Ctrl+C that came before has cancelled this task
            return f"{self._reader.read()}\n".encode()  # nothing else runs until it is answered
        except EOFError:
            return b""
        finally:
            signal.signal(signal.SIGINT, before)

    def _tell_loading(self, fraction: float | None = None) -> None:
        """Say that a model is loading: at once, and then every few seconds."""
        now_s = time.monotonic()
        if now_s - self._progress_s > _TELL_EVERY_S:
            self._progress_s = now_s
            self._tell(
                "Loading model…" if fraction is None else f"Loading model, {100 * fraction:.0f} %"
            )

    async def _turn_settings(self) -> TurnSettings:
        await self._connect()
        return self._sessions.next_turn.settings()

    async def _connect(self) -> None:
        """Choose server and model unless they are; at a terminal, wait for a server."""
        runtime, sessions, is_told = self._runtime, self._sessions, False
        while sessions.next_turn.target is None:
            try:
                target = await find_target(
                    runtime.backend, runtime.settings, runtime.remembered, self._tell
                )
            except NoServerFound as error:
                if not self._is_terminal:
                    raise
                if not is_told:
                    self._output.failure(error)
                    self._tell("Waiting for a server. Press Ctrl+C to stop waiting.")
                is_told = True
                await asyncio.sleep(_LOOK_EVERY_S)
            else:
                sessions.next_turn.target = target
                self._label(f"Model: {_model_words(target)}.")

    async def do_p(self, typed: str) -> None:
        name, _, text = typed.partition(" ")
        await self._ask(await preset_prompt(self._context, name, text.strip()))

    async def do_compact(self, _: str) -> None:
        how, prompt = await self._turn_settings(), self._sessions.next_turn.options.compact_prompt
        await self._turn(self._conversation.compact(prompt, how))
        self._tell(
            "This summary takes the place of the older messages; /undo on the screen brings them back."
        )

    async def do_retry(self, _: str) -> None:
        how, last = await self._turn_settings(), self._last_answer()
        await self._turn(self._conversation.regenerate(last.message_id, how))

    async def do_continue(self, _: str) -> None:
        how, last = await self._turn_settings(), self._last_answer()
        if not is_resumable(last):
            raise WrongUse("The last answer is complete.", hint="/retry asks again.")
        begin = self._conversation.resume if has_words(last) else self._conversation.regenerate
        await self._turn(begin(last.message_id, how))

    async def do_edit(self, text: str) -> None:
        await self._conversation.fill()
        prompts = [one for one in self._conversation.messages if one.role is Role.USER]
        if not prompts:
            raise WrongUse(NOTHING_YET)
        if text:
            await self._ask(text, prompts[-1].message_id)
        else:
            self._begun = f"/edit {prompts[-1].text}"
            self._tell(
                "The last prompt is on the next line; edit it, and press Enter to send it again."
            )

    # Models and settings

    async def do_model(self, wanted: str) -> None:
        runtime = self._runtime
        catalogue = Catalogue(
            runtime.backend, runtime.store, expected=own_endpoints(runtime.settings)
        )
        rows, _ = await catalogue.refresh(runtime.remembered)
        models = [row.model for row in rows if row.model.can_chat]
        if not wanted:
            lines = [f"{number}. {_model_words(model)}" for number, model in enumerate(models, 1)]
            self._output.text("\n".join(lines) or "No server has a model. Download one there.")
            return
        is_number = wanted.isdecimal() and 0 < int(wanted) <= len(models)
        await self._use(models[int(wanted) - 1] if is_number else matching_model(wanted, rows))

    async def _use(self, model: ModelInfo) -> None:
        """Load a model that is not in memory, and use it from the next answer on."""
        if model.state is LoadState.NOT_LOADED:
            self._tell_loading()
            try:
                await self._runtime.backend.load(model, on_progress=self._tell_loading)
            except ServerRejected as error:
                if error.kind != "unsupported":  # else the server loads it with the first prompt
                    raise
            model = replace(model, state=LoadState.LOADED)
        target = Target(endpoint=model.endpoint, product=model.product, model=model)
        self._sessions.next_turn.target = target
        file = self._context.paths.remembered_file
        remembered, _ = remembered_file.load(file)
        remembered_file.save(file, remembered.with_model(target.server_id, target.model_id))
        self._tell(f"Model: {_model_words(target)}.")

    async def do_system(self, text: str) -> None:
        await self._conversation.set_system_prompt(text)
        self._tell("System prompt changed.")

    async def do_profile(self, name: str) -> None:
        profile = self._sessions.next_turn.use_profile(name, self._runtime.settings.profiles)
        self._tell(f"Profile: {self._sessions.next_turn.options.profile_name or NO_PROFILE}.")
        if profile.model:
            await self.do_model(profile.model)

    async def do_effort(self, level: str) -> None:
        self._sessions.next_turn.use_effort(level)
        self._tell(f"Reasoning effort: {level}.")

    # Sessions

    async def do_new(self, _: str) -> None:
        self._sessions.begin()
        self._tell("New session.")

    do_clear = do_new

    async def do_sessions(self, wanted: str) -> None:
        """List the newest sessions, or open one by its number in the list or its id."""
        store, sessions = self._runtime.store, self._sessions
        if not wanted:
            self._listed = (await store.list_sessions())[:_LISTED]
            rows = [
                f"{number}. {_session_words(one)}" for number, one in enumerate(self._listed, 1)
            ]
            self._output.text("\n".join(rows) or "There are no saved sessions.")
            return
        if wanted.isdecimal() and 0 < int(wanted) <= len(self._listed):
            wanted = self._listed[int(wanted) - 1].session_id
        sessions.show(await sessions.load(await store.find(wanted)))
        await self._show_session()

    async def do_export(self, file: str) -> None:
        options = self._context.options
        options.id, options.output = self._id_of_written(), file or None
        await export_from(Library(self._runtime.store), self._context)

    async def do_title(self, title: str) -> None:
        options = self._context.options
        options.id, options.title = self._id_of_written(), title
        await rename_in(Library(self._runtime.store), self._context)
        self._conversation.rename(title)

    async def do_search(self, words: str) -> None:
        self._context.options.query = [words]
        await search_in(Library(self._runtime.store), self._context)

    def _id_of_written(self) -> str:
        """Return the id of the session, which a store has from its first message on."""
        if not self._conversation.messages:
            raise WrongUse(NOTHING_YET)
        return self._conversation.header.session_id

    async def _show_session(self) -> None:
        """At a terminal, print the end of the session and offer its draft."""
        conversation = self._conversation
        if not self._is_terminal:
            return
        if conversation.messages:
            self._tell(f"Session: {_session_words(conversation.header)}")
        for message in conversation.messages[-2:]:
            self._tell("You:" if message.role is Role.USER else f"{message.model or message.role}:")
            self._output.text(message.text)
        self._draft_id = conversation.header.session_id if conversation.messages else ""
        draft = await self._sessions.drafts.load(self._draft_id)
        self._begun, files = self._sessions.files.split(draft)
        for file in files:
            self._add_file(file)
        if self._begun:
            self._tell("Your draft is on the next line; edit it, or press Enter to send it.")

    # The rest

    async def do_file(self, name: str) -> None:
        path = path_of(name)
        if self._is_terminal and (outside := await files_outside([path], Path.cwd())):
            await self._require_consent(outside[0])
        self._add_file(await read_attachment(path))

    async def _require_consent(self, outside: Path) -> None:
        """Ask before a file outside the working folder is read: its path may have been pasted."""
        where = f"{safe_line(str(outside), limit=300)} is outside this folder"
        if not can_ask():
            raise WrongUse(f"{where}.", hint="lmchat asks before it reads it, on stderr.")
        drop_typed(sys.stdin.fileno())  # a paste is no answer
        sys.stderr.write(f"{where}. Attach it? [y/N] ")
        sys.stderr.flush()
        if (await self._choice()).strip().lower() not in (b"y", b"yes"):
            raise WrongUse(
                "The file was not attached.", hint="To attach it, repeat /file and answer y."
            )

    def _add_file(self, file: Attachment) -> None:
        self._files.append(file)
        self._tell(f"Your next prompt begins with {file.part.words}.")

    async def do_help(self, _: str) -> None:
        rows = [
            one for one in COMMANDS if one.name in _COMMANDS or hasattr(self, f"do_{one.name[1:]}")
        ]
        self._output.text("\n".join(one.plain_help or f"{one.slash}: {one.title}" for one in rows))
        self._tell(
            f"A prompt of several lines begins and ends with {_QUOTES}.\n"
            "Ctrl+C stops the answer, or clears the line. Ctrl+D quits."
        )

    async def do_quit(self, _: str) -> None:
        self._is_leaving = True

    @property
    def _conversation(self) -> Conversation:
        return self._sessions.shown.conversation

    def _last_answer(self) -> ChatMessage:
        last = self._sessions.shown.last_answer
        if last is None:
            raise WrongUse(NOTHING_YET)
        return last

    def _label(self, words: str) -> None:
        """Print whose words follow; a pipe carries the words alone."""
        if self._is_terminal:
            self._tell(words)


def _model_words(model: ModelInfo | Target) -> str:
    words = f"{safe_line(model.model_id)} at {model.product} {model.endpoint.netloc}"
    if isinstance(model, ModelInfo) and model.state in (LoadState.NOT_LOADED, LoadState.ASLEEP):
        return f"{words}, {model.state}"
    return words


def _session_words(header: SessionHeader) -> str:
    title, short = safe_line(header.title) or "Untitled", header.session_id[:SHORT_ID]
    fork = " (fork)" if header.parent_id else ""
    return f"“{title}”{fork}, {header.message_count} messages, {minute(header.updated_at)}, {short}"
