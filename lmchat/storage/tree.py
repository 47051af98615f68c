"""The tree of a session's messages: paths, versions, what hangs below what; pure but for reading it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass, field

from msgspec import Struct

Siblings = tuple[str | None, str]
"""What siblings share: parent and role."""


class Node(Struct, frozen=True, kw_only=True):
    """A message without what it says."""

    message_id: str
    """Its id."""
    number: int
    """Its place in time."""
    parent_id: str | None
    """The message before it."""
    role: str
    """Who speaks."""
    hidden_by: str | None
    """The message whose deletion hid it."""


@dataclass(slots=True)
class Tree:
    """All messages of a session, oldest first."""

    nodes: dict[str, Node]
    """By id; hidden ones too."""
    children: dict[str | None, list[Node]] = field(init=False)
    """By the id of the parent; a node whose parent is missing hangs below None."""

    def __post_init__(self) -> None:
        self.children = {}
        for node in self.nodes.values():
            self.children.setdefault(self.parent_of(node), []).append(node)

    def parent_of(self, node: Node) -> str | None:
        """Return the parent's id, None for a root and where the parent is lost."""
        return node.parent_id if node.parent_id in self.nodes else None

    def path(self, leaf_id: str | None) -> list[Node]:
        """Return the path from the root to a node; a damaged circle ends where it closes."""
        path: dict[str, Node] = {}
        while leaf_id is not None and leaf_id in self.nodes and leaf_id not in path:
            path[leaf_id] = self.nodes[leaf_id]
            leaf_id = self.parent_of(self.nodes[leaf_id])
        return list(reversed(path.values()))

    def below(self, message_id: str) -> Iterator[Node]:
        """Yield a node and all that hang below it."""
        seen = {message_id}
        waiting = [self.nodes[message_id]]
        while waiting:
            node = waiting.pop()
            yield node
            fresh = [
                child for child in self.children.get(node.message_id, ()) if child.message_id not in seen
            ]
            seen.update(child.message_id for child in fresh)
            waiting += fresh

    def newest_leaf(self, below: str | None = None) -> str | None:
        """Return the newest visible node, of all or below one: always a leaf, as children come later."""
        nodes = self.nodes.values() if below is None else self.below(below)
        visible = [node for node in nodes if node.hidden_by is None]
        return max(visible, key=lambda node: node.number).message_id if visible else None

    def leaf_without(self, message_id: str) -> str | None:
        """Return the leaf to show once a message is hidden: of a sibling's path, else its parent."""
        parent_id = self.parent_of(self.nodes[message_id])
        return self.newest_leaf() if parent_id is None else self.newest_leaf(parent_id)

    def versions(self) -> dict[str, tuple[int, int]]:
        """Return place and number among the visible siblings, by id."""
        groups: dict[Siblings, list[str]] = {}
        for node in self.nodes.values():
            if node.hidden_by is None:
                groups.setdefault((self.parent_of(node), node.role), []).append(node.message_id)
        return {
            message_id: (place, len(group))
            for group in groups.values()
            for place, message_id in enumerate(group, 1)
        }


def read_tree(connection: sqlite3.Connection, session_id: str) -> Tree:
    """Read the tree of a session."""
    rows = connection.execute(
        "select message_id, number, parent_id, role, hidden_by from messages where session_id = ? "
        "order by number",
        (session_id,),
    )
    return Tree(
        nodes={
            row[0]: Node(message_id=row[0], number=row[1], parent_id=row[2], role=row[3], hidden_by=row[4])
            for row in rows
        }
    )
