"""Dialog with all branches of a session.

A branch ends where no message follows, or several do, each of which starts a deeper one. Its id is
that of its first message.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from lmchat.app.tui.dialogs.dialog import PickDialog
from lmchat.app.tui.widgets.line import MUTED, shared_beginnings
from lmchat.app.tui.widgets.row_list import ListRow, NamedRow
from lmchat.base import units
from lmchat.base.safe_text import safe_line
from lmchat.base.units import SIGNS
from lmchat.core.sessions.message import ChatMessage, Role, tool_calls_text
from lmchat.core.sessions.session import branches

_MOST_INDENT = 24  # cells
_FIRST_WORDS = 120  # of a branch's first message


def message_tree(messages: Sequence[ChatMessage], path_ids: Collection[str]) -> PickDialog:
    """Return the dialog, whose result is the id of the branch to open.

    The branch at the end of the path is chosen. `messages` are all that are not deleted, `path_ids`
    those that the chat shows; their branches are marked.
    """
    rows: list[ListRow] = []
    all_branches = branches(messages)
    all_words = [_words(branch.opening) for branch in all_branches]
    shared = shared_beginnings(all_words)
    for branch, words in zip(all_branches, all_words, strict=True):
        opening = branch.opening
        author = safe_line(opening.model, limit=20) or str(opening.role)
        if opening.role is Role.USER:
            author = "you"
        fork = f"{SIGNS.fork} " if branch.depth else ""
        indent = f"{' ' * min(2 * branch.depth, _MOST_INDENT)}{fork}"
        count = units.counted(len(branch.messages), "message")
        rows.append(
            NamedRow(
                lead=((indent, MUTED),),
                name=words,
                shared=shared[words],
                right=((f"{author} {SIGNS.dot} {count}", MUTED),),
                key=branch.branch_id,
                is_open=branch.branch_id in path_ids,
            )
        )
    return PickDialog(
        "Tree",
        rows,
        figures=(
            units.counted(len(rows), "branch", "es"),
            units.counted(len(messages), "message"),
        ),
        # the last open row is the branch at the end of the path
        choose=next((row.key for row in reversed(rows) if row.is_open), None),
        nothing="This session is empty.",
    )


def _words(opening: ChatMessage) -> str:
    text = safe_line(opening.text or tool_calls_text(opening), limit=_FIRST_WORDS)
    return text or f"({opening.state})"
