"""Files of a command: those that `-f` names, and consent to many of them."""

from __future__ import annotations

from pathlib import Path

from lmchat.attachments.attachment import Attachment, read_attachment
from lmchat.attachments.folders import MOST_UNASKED, FileSet, parse_set_name, read_set
from lmchat.attachments.web_page import is_page_address, refuse
from lmchat.cli.context import Context
from lmchat.cli.wiring import make_pages
from lmchat.errors import WrongUse
from lmchat.files.disk import expanded_path
from lmchat.terminal.output import ask_yes_no, can_ask


async def read_files(context: Context) -> tuple[list[Attachment], list[FileSet]]:
    """Read the files that `-f` names; return all of them, and the sets of folders and patterns.

    A page is downloaded only from a host that `--allow-host` or `allowed_hosts` names. Raises
    `LMChatError`.
    """
    files: list[Attachment] = []
    sets: list[FileSet] = []
    for name in context.options.files:
        if not name:  # as a path, it would be the current folder
            raise WrongUse("-f needs the name of a file.", hint="The name is empty.")
        if is_page_address(name):
            pages = make_pages(context.settings)
            no_session = ""  # in which a user could have allowed a host: a command has none
            files.append(await pages.attachment(name, no_session, refuse))
            continue
        set_name = await parse_set_name(name, Path.cwd())
        if set_name is None:
            files.append(await read_attachment(expanded_path(name)))
            continue
        found = await read_set(set_name)
        context.output.note(f"lmchat: {name}: {found.words}.")
        files += found.files
        sets.append(found)
    return files, sets


async def require_consent_to_set(found: FileSet, window: int | None) -> None:
    """Ask whether a large set is attached; raises `WrongUse` unless the answer is yes.

    `window` is the size of the context window in tokens.
    """
    if not found.needs_consent(window):
        return
    if not can_ask():
        problem = f"These are over {MOST_UNASKED} files, or half of the context window"
        raise WrongUse(f"{problem}: {found.words}.", hint="Name fewer files, or add --yes to ask.")
    if not await ask_yes_no(f"Attach {found.words}?"):
        raise WrongUse("The files were not attached.", hint="Name a smaller folder or a pattern.")
