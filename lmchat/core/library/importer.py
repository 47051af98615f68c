"""Import of chats from files into the store.

A session is imported whole or not at all. One that the store has gets the messages that it lacks.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from msgspec import Struct
from msgspec.structs import replace

from lmchat.base.errors import FileRefused, FormatUnknown, LMChatError, StoreUnavailable
from lmchat.base.files.disk import expanded_path, unreadable
from lmchat.base.files.paths import home_folder
from lmchat.base.safe_text import safe_line
from lmchat.base.units import counted
from lmchat.core.formats.programs import AUTO, OWN, Program
from lmchat.core.formats.reader import STDIN, error_about
from lmchat.core.formats.reader_child import ChatReader
from lmchat.core.formats.reading import files_below
from lmchat.core.library.own_database import exports_of
from lmchat.core.servers.sampling_options import STORED, left_out_notes, stored_options
from lmchat.core.sessions.session import Session, SessionHeader, Skipped
from lmchat.core.storage.importing import Imported
from lmchat.core.storage.store import Store

TITLE_CHARS = 80  # in a sentence; the rest is cut
Outcome = Literal[
    "imported", "continued", "would be imported", "would be continued", "present", "in trash"
]


class ChatPlace(NamedTuple):
    """File or folder with the chats of another program."""

    program: Program
    path: Path


class ImportedChat(Struct, frozen=True, kw_only=True):
    """Session of a file: imported now, or already in the store."""

    file: str
    """`-` for standard input."""
    header: SessionHeader
    """Header in the store if the session was there, else in the file."""
    outcome: Outcome
    new_messages: int  # that the store did not have
    is_shown: bool = True  # the newest of them is on the shown path
    branch_messages: int = 0  # in the file, not on the path
    skipped: tuple[Skipped, ...] = ()


class ImportOutcome(Struct, kw_only=True):
    """Outcome of an import, or of a trial, as far as it has come."""

    is_trial: bool = False
    chats: list[ImportedChat] = []
    skipped: list[tuple[str, Skipped]] = []
    """Damaged parts outside of imported sessions, each with the name of its file."""
    refused: list[tuple[str, LMChatError]] = []
    """Files that were not imported whole, and folders without chats, by name."""
    unknown_count: int = 0
    """Files in named folders that are of no format of chats."""
    is_stopped: bool = False  # by the user


class Importer(Struct, eq=False):
    """Importer of files and folders for the command line and the screen.

    `programs` are those whose chats it reads, beside lmchat's own exports.
    """

    store: Store
    programs: Sequence[Program] = ()
    environ: Mapping[str, str] = {}
    quiet_s: float = 2.0

    async def places(self) -> Sequence[ChatPlace]:
        """Return where the programs keep chats on this machine."""
        return await asyncio.to_thread(_chat_places, self.programs, self.environ)

    async def import_files(
        self,
        names: Sequence[str],
        outcome: ImportOutcome,
        *,
        stdin: bytes | None = None,
        source: str = AUTO,
        report_progress: Callable[[str], None] = lambda _: None,
    ) -> None:
        """Add the results to `outcome`, which is true also after a cancellation.

        A refused file does not stop the others; an error of the store, such as a full disk, does.
        `stdin` is the content of the file `-`.
        """
        started_s = time.monotonic()

        def report() -> None:
            if time.monotonic() - started_s >= self.quiet_s:  # a short import reports nothing
                report_progress(counts(outcome.chats))

        async with aclosing(ChatReader(self.programs)) as reader, aclosing(Store()) as trial:
            for name in names:
                try:
                    files: Mapping[str, Path | bytes]
                    if name == STDIN and stdin is not None:
                        files = {name: stdin}
                    else:
                        files = await asyncio.to_thread(_files_of, name)
                except FileRefused as error:
                    outcome.refused.append((name, error))
                    continue
                unknown: list[FormatUnknown] = []
                for file, content in files.items():
                    try:
                        async with aclosing(_chats(reader, file, content, source)) as chats:
                            await self._import_chats(file, chats, outcome, trial, report)
                    except FormatUnknown as error:
                        unknown.append(error)
                    except LMChatError as error:
                        outcome.refused.append((file, error))
                        if isinstance(error, StoreUnavailable):
                            return
                if name in files:
                    outcome.refused += [(name, error) for error in unknown]
                elif len(unknown) < len(files):  # other files of a folder are only counted
                    outcome.unknown_count += len(unknown)
                else:
                    message = f"{name} has no chats that lmchat can read."
                    next_step = "`lmchat import --help` lists the formats."
                    outcome.refused.append((name, FileRefused(message, next_step=next_step)))

    async def _import_chats(
        self,
        file: str,
        chats: AsyncIterator[Session | Skipped],
        outcome: ImportOutcome,
        trial: Store,
        report: Callable[[], None],
    ) -> None:
        """Raises the errors of `ChatReader.read`, and `StoreUnavailable`.

        A trial is an import into the store `trial`.
        """
        async for found in chats:
            if isinstance(found, Skipped):
                outcome.skipped.append((file, found))
                continue
            options = stored_options(found.header.sampling)
            sent = {name: options[name] for name in options if not name.startswith(STORED)}
            header = replace(found.header, sampling=sent)
            try:
                store = self.store
                if outcome.is_trial:
                    store = trial
                    await trial.take_rows(self.store, header.session_id)
                else:
                    # first, as messages refer to them; the daily check removes unused ones
                    for content in found.files.values():
                        await self.store.files.save(content)
                imported = await store.import_session(replace(found, header=header))
            except LMChatError as error:
                if isinstance(error, StoreUnavailable):
                    raise error_about(file, error) from error
                outcome.refused.append((file, error_about(file, error)))
                continue
            where = f"“{safe_line(header.title, limit=TITLE_CHARS)}”"
            lost = [Skipped(where=where, reason=note[:-1]) for note in left_out_notes(options)]
            chat = ImportedChat(
                file=file,
                header=imported.header,
                outcome=_word_for(imported, is_trial=outcome.is_trial),
                new_messages=imported.message_count,
                is_shown=imported.is_shown,
                branch_messages=len(found.branch_messages),
                skipped=(*found.skipped, *lost) if imported.is_new else (),
            )
            outcome.chats.append(chat)
            report()


async def _chats(
    reader: ChatReader, file: str, content: Path | bytes, source: str
) -> AsyncGenerator[Session | Skipped, None]:
    """Raises the errors of `ChatReader.read`."""
    is_own = False
    if isinstance(content, Path) and source in (AUTO, OWN):
        try:
            async with aclosing(exports_of(content)) as exports:
                async for text in exports:
                    is_own = True
                    async with aclosing(reader.read(file, text)) as chats:
                        async for found in chats:
                            yield found
        except OSError as error:
            raise unreadable(file, error) from error
        except StoreUnavailable as error:
            raise FileRefused(
                f"{file}: {error.message}",
                next_step="Export its sessions with the lmchat that wrote it, as JSON.",
            ) from error
    if not is_own:
        async with aclosing(reader.read(file, content, wanted=source)) as chats:
            async for found in chats:
                yield found


def _chat_places(programs: Sequence[Program], environ: Mapping[str, str]) -> list[ChatPlace]:
    """Leave out empty folders; one to which several paths lead, as by links, is returned once."""
    home = home_folder()
    places: dict[Path, ChatPlace] = {}
    for program in programs:
        for folder in program.folders(environ, home):
            path = folder / program.chats
            with suppress(OSError):  # a folder above may not be entered
                if path.is_file() or any(path.glob("[!.]*")):  # a hidden file is no chat
                    places.setdefault(path.resolve(), ChatPlace(program, path))
    return list(places.values())


def _files_of(name: str) -> dict[str, Path]:
    """Raises `FileRefused`."""
    path = expanded_path(name)
    # Path.is_dir raises for a long name, and a folder that may not be entered
    if os.path.isdir(path):  # noqa: PTH112
        return {str(file): file.absolute() for file in files_below(path)}
    return {name: path.absolute()}


def _word_for(imported: Imported, *, is_trial: bool) -> Outcome:
    if imported.header.deleted_at is not None:
        return "in trash"
    if imported.is_new:
        return "would be imported" if is_trial else "imported"
    if imported.message_count:
        return "would be continued" if is_trial else "continued"
    return "present"


def counts(chats: Sequence[ImportedChat]) -> str:
    """Write `2 chats, 1 message`."""
    messages = sum(chat.new_messages for chat in chats)
    return f"{counted(len(chats), 'chat')}, {counted(messages, 'message')}"
