"""A hub of models in the shape of huggingface.co.

Its list has the fields that `ModelInfo` of huggingface_hub 1.x reads (hf_api.py: siblings with
`rfilename`, `blobId`, `size` and `lfs`); headers are those of `get_hf_file_metadata`
(file_download.py) and of replies to `curl --head` that users have quoted: 302 to a store of files
on another host, whose ETag is another hash.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from tests.support.scripted_server import Hold, Reply, ScriptedServer, Seen, body_reply, json_reply

COMMIT = "9217f5db79a29953eb74d5343926648285ec7e67"
BLOB = "5b3e0ab9fdd1ae7bb4dd8a3ae5ee2e95a5a2e0c1"
REPO = "org/alder-GGUF"


class ScriptedHub:
    """Hub and store of files with one repository; what they do may be changed between two downloads."""

    def __init__(self, hub: ScriptedServer, store: ScriptedServer) -> None:
        self.hub = hub
        self.store = store
        self.sent_bytes: int | None = None  # of a file, before the store breaks off
        self.is_stuck = False  # then it waits there instead
        self.first_byte: int | None = None  # in Content-Range; None: the one that was asked for
        self.has_ranges = True

    def put(self, files: Mapping[str, bytes], repo: str = REPO) -> None:
        rows: list[dict[str, object]] = [{"rfilename": "README.md", "blobId": BLOB, "size": 1519}]
        for path, content in files.items():
            sha256 = hashlib.sha256(content).hexdigest()
            lfs = {"sha256": sha256, "size": len(content), "pointerSize": 134}
            rows.append({"rfilename": path, "blobId": BLOB, "size": len(content), "lfs": lfs})
            there = {
                "X-Repo-Commit": COMMIT,
                "X-Linked-Size": str(len(content)),
                "X-Linked-Etag": f'"{sha256}"',
                "Accept-Ranges": "bytes",
                "Location": f"{self.store.url}/xet-bridge-us/{sha256}?Expires=1781098782",
            }
            found = body_reply(b"Found", status=302, content_type="text/plain", headers=there)
            self.hub.on(f"GET /{repo}/resolve/main/{path}", found)
            self.store.on(f"GET /xet-bridge-us/{sha256}", self._file(content))
        facts = {"id": repo, "sha": COMMIT, "private": False, "gated": False, "siblings": rows}
        self.hub.on(f"GET /api/models/{repo}", json_reply(facts))

    def _file(self, content: bytes):
        def play(seen: Seen) -> Reply:
            start = 0
            status = 200
            headers = {"ETag": '"fdead7c2"'}
            asked = seen.headers.get("range", "")
            if asked and self.has_ranges:
                start = int(asked.removeprefix("bytes=").rstrip("-"))
                status = 206
                first = start if self.first_byte is None else self.first_byte
                headers["Content-Range"] = f"bytes {first}-{len(content) - 1}/{len(content)}"
            headers["Content-Length"] = str(len(content) - start)
            end = None if self.sent_bytes is None else start + self.sent_bytes
            reply = body_reply(content[start:end], status=status, headers=headers)
            steps = (*reply.steps, Hold()) if self.is_stuck else reply.steps
            return Reply(steps=steps, is_last=end is not None)

        return play

    @property
    def ranges(self) -> list[str]:
        """Return the ranges that the store was asked for, "" for a whole file."""
        return [seen.headers.get("range", "") for seen in self.store.seen()]
