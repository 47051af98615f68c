"""Download of a GGUF file for the built-in engine.

What has come of a download that was stopped stays on the disk, and the next one continues there.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import Mapping
from contextlib import aclosing
from http import HTTPStatus
from io import BufferedWriter
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from lmchat.errors import EngineUnavailable, ServerUnavailable, WrongUse
from lmchat.files.disk import ensure_folder, free_bytes
from lmchat.files.locks import try_lock
from lmchat.safe_text import safe_line
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import PullProgress
from lmchat.servers.http.connections import CONNECT_ELSEWHERE_S, Connections, body_chunks
from lmchat.servers.http.network_errors import errors_as_unavailable
from lmchat.servers.local.gguf import FileOffer, is_one_of_several
from lmchat.servers.products.server_api import OnPull
from lmchat.units import size_text

_READ_S = 60.0  # longest pause in a download
_WRITE_BYTES = 4 * 1024 * 1024  # at once
_MAGIC = b"GGUF"
_TRY_AGAIN = "Check the network, then try again: it continues where it stopped."


async def look_up(connections: Connections, url: str, folder: Path) -> FileOffer:
    """Ask the host of an address for the size of its file; no other host is asked yet.

    Nothing is asked if the file is in the folder. Raises `WrongUse` for an address of no GGUF file,
    and `EngineUnavailable` if the host refuses, does not answer, or the disk has no room.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # its words quote the address, which may hold a password
        raise WrongUse("This is not an address.", hint="Check it.") from None
    name = re.sub(r"[^\w.-]", "_", parts.path.rpartition("/")[2])
    path = folder / _mark(url) / name
    if path.suffix.lower() != ".gguf":
        raise WrongUse(
            "This is not the address of a GGUF file.",
            hint="It ends in .gguf; huggingface.co has it where a file is downloaded.",
        )
    if is_one_of_several(path):
        raise WrongUse(
            f"{name} is one of several files of its model.",
            hint="Download them all with another program, and name the first one with -m.",
        )
    if await asyncio.to_thread(path.exists):
        return FileOffer(url=url, host=parts.netloc, path=path, is_here=True)
    _, response = await _open(connections, "HEAD", url, {})
    await response.aclose()
    headers = response.headers
    # huggingface.co tells both of the file before it redirects
    size = headers.get("x-linked-size") or (
        headers.get("content-length", "") if response.is_success else ""
    )
    etag = headers.get("x-linked-etag") or headers.get("etag", "")
    part = path.with_name(f"{name}.{_mark(etag)}.part")
    has_bytes, free = await asyncio.to_thread(_room, part)
    offer = FileOffer(
        url=url,
        host=parts.netloc,
        path=path,
        part=part,
        size_bytes=int(size) if size.isdecimal() else None,
        free_bytes=free,
        can_continue=bool(etag),
    )
    missing = (offer.size_bytes or 0) - (has_bytes if etag else 0)
    if missing > free:
        raise EngineUnavailable(
            f"{name} needs {size_text(missing)} on the disk, and {size_text(free)} are free.",
            hint="Free some space, or set LMCHAT_HOME to a folder on another disk.",
            kind="no_space",
        )
    return offer


def _room(part: Path) -> tuple[int, int]:
    """Return how many bytes a file has that need not exist, and how many are free on its disk."""
    has_bytes = part.stat().st_size if part.exists() else 0
    return has_bytes, free_bytes(part.parents) or 0


async def fetch(connections: Connections, offer: FileOffer, on_pull: OnPull) -> None:
    """Download a file; redirects of its host are followed. Raises `EngineUnavailable`."""
    try:
        await asyncio.to_thread(ensure_folder, offer.part.parent)
        with offer.part.open("ab") as file:
            _require_lock(file)
            await _fetch_to(file, connections, offer, on_pull)
        await asyncio.to_thread(offer.part.replace, offer.path)
    except OSError as error:
        raise EngineUnavailable(
            f"The file cannot be written to {offer.part.parent}: {error.strerror or error}.",
            hint="Check the free space and the permissions there, then try again.",
            kind="fetch",
        ) from error


def _require_lock(file: BufferedWriter) -> None:
    if not try_lock(file.fileno()):
        raise EngineUnavailable(
            "Another lmchat downloads this file.", hint="Wait until it has ended.", kind="fetch"
        )


async def _fetch_to(
    file: BufferedWriter, connections: Connections, offer: FileOffer, on_pull: OnPull
) -> None:
    done = file.tell() if offer.can_continue else 0
    headers = {"Range": f"bytes={done}-"} if done else {}
    endpoint, response = await _open(connections, "GET", offer.url, headers, follows=True)
    async with aclosing(response):
        if response.status_code != HTTPStatus.PARTIAL_CONTENT:
            done = 0
        file.truncate(done)
        length = response.headers.get("content-length", "")
        total = done + int(length) if length.isdecimal() else offer.size_bytes
        waiting = bytearray()

        def write() -> None:
            file.write(waiting)
            file.flush()
            waiting.clear()

        try:
            with errors_as_unavailable(endpoint):
                async for chunk in body_chunks(response):
                    waiting += chunk
                    if not done and len(waiting) >= len(_MAGIC):
                        _require_gguf(waiting)
                    done += len(chunk)
                    if len(waiting) >= _WRITE_BYTES:
                        await asyncio.to_thread(write)
                    on_pull(
                        PullProgress(
                            done_bytes=done, total_bytes=total, free_bytes=offer.free_bytes
                        )
                    )
        except ServerUnavailable as error:
            raise _broken_off(offer, error.message) from error
        finally:
            await asyncio.to_thread(write)
    if total is not None and done != total:
        raise _broken_off(offer, f"{done} of {total} bytes came")


def _broken_off(offer: FileOffer, details: str) -> EngineUnavailable:
    return EngineUnavailable(
        f"The download from {offer.host} broke off.",
        hint=_TRY_AGAIN,
        details=details,
        kind="fetch",
    )


def _require_gguf(beginning: bytearray) -> None:
    if not beginning.startswith(_MAGIC):
        beginning.clear()  # nothing of it is kept
        raise EngineUnavailable(
            "What the host sent is not a GGUF file.",
            hint="Use the address of the file itself; on huggingface.co, it has /resolve/ in it.",
            kind="fetch",
        )


async def _open(
    connections: Connections,
    method: str,
    url: str,
    headers: Mapping[str, str],
    *,
    follows: bool = False,
    redirects: int = 5,
) -> tuple[Endpoint, httpx.Response]:
    """Request an address, without a key, and return the response, which is not read yet.

    Redirects within a host are followed; with `follows`, also others, but none from https to http.
    Raises `EngineUnavailable` if no host answers, or one refuses.
    """
    asked = {"Accept-Encoding": "identity", **headers}
    timeout = httpx.Timeout(_READ_S, connect=CONNECT_ELSEWHERE_S)
    parts = urlsplit(url)
    endpoint = Endpoint.parse(f"{parts.scheme}://{parts.netloc}")
    try:
        response = await connections.send(endpoint, method, url, headers=asked, timeout=timeout)
    except ServerUnavailable as error:
        hint = error.hint if error.kind == "certificate" else _TRY_AGAIN
        raise EngineUnavailable(error.message, hint=hint, kind="fetch") from error
    if response.is_redirect and redirects:
        other = urljoin(url, response.headers["location"])
        is_safe = parts.scheme == "http" or urlsplit(other).scheme == "https"
        if is_safe and (follows or urlsplit(other).netloc == parts.netloc):
            await response.aclose()
            return await _open(
                connections, method, other, headers, follows=follows, redirects=redirects - 1
            )
    if response.is_success or (response.is_redirect and not follows):
        return endpoint, response
    await response.aclose()
    raise EngineUnavailable(
        f"{safe_line(parts.netloc)} answered with status {response.status_code}.",
        hint="Check the address; some files are only for users who are signed in there.",
        kind="fetch",
    )


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
