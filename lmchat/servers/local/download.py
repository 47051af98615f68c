"""Download of a GGUF file for the built-in engine; a stopped one is continued."""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from http import HTTPStatus
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx

from lmchat.errors import EndpointNotAllowed, EngineUnavailable, ServerUnavailable, WrongUse
from lmchat.files.disk import ensure_folder, free_bytes
from lmchat.files.locks import try_lock
from lmchat.safe_text import safe_line
from lmchat.servers.endpoint import Endpoint
from lmchat.servers.events import PullProgress
from lmchat.servers.http.connections import (
    CONNECT_ELSEWHERE_S,
    Connections,
    body_chunks,
    errors_as_unavailable,
    header_count,
)
from lmchat.servers.local.gguf import is_one_of_several, writing_to
from lmchat.servers.products.server_api import OnPull
from lmchat.units import size_text

_READ_S = 60.0  # longest pause in a download
_REDIRECTS = 5
_MAGIC = b"GGUF"
_TRY_AGAIN = "Check the network, then try again: it continues where it stopped."
_CHECK_ADDRESS = "Check the address, or download the file with another program and name it with -m."


async def download(
    connections: Connections,
    url: str,
    folder: Path,
    agrees: Callable[[str], Awaitable[bool]],
    on_pull: OnPull,
) -> Path | None:
    """Return the path of the file, which may be here; None if the user does not agree.

    `agrees` gets host, size, folder and free space; before, no other host is asked. Raises
    `WrongUse` for an address of no GGUF file, and `EngineUnavailable`.
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
        return path

    _, response = await _open(connections, "HEAD", url)
    await response.aclose()
    headers = response.headers
    if headers.get("content-type", "").startswith("text/html") and not response.is_redirect:
        raise EngineUnavailable(
            "The address is that of a page, not of a GGUF file.",
            hint="Use the address of the file itself; on huggingface.co, it has /resolve/ in it.",
            kind="fetch",
        )
    # huggingface.co tells both of the file before it redirects
    etag = headers.get("x-linked-etag") or headers.get("etag", "")
    size = headers.get("x-linked-size", "")
    if response.is_success:
        size = size or headers.get("content-length", "")
    size_bytes = header_count(size) or None  # no file is empty
    part = path.with_name(f"{name}.{_mark(etag or size)}.part")  # another version has another one
    begun_bytes, free = await asyncio.to_thread(_room, part)
    missing = (size_bytes or 0) - begun_bytes
    if missing > free:
        raise EngineUnavailable(
            f"{name} needs {size_text(missing)} on the disk, and {size_text(free)} are free.",
            hint="Free some space, or set LMCHAT_HOME to a folder on another disk.",
            kind="no_space",
        )
    words = (
        f"{safe_line(name)} ({size_text(size_bytes) or 'size not known'}) from "
        f"{safe_line(parts.netloc)} into {path.parent}, where {size_text(free)} are free"
    )
    if not await agrees(words):
        return None
    with writing_to(path.parent, "The file"):
        await asyncio.to_thread(ensure_folder, path.parent)
        await _fetch(connections, url, part, size_bytes, free, on_pull)
        await asyncio.to_thread(part.replace, path)
    return path


def _room(part: Path) -> tuple[int, int]:
    """Return the bytes of a file that need not exist, and those free on its disk."""
    has_bytes = part.stat().st_size if part.exists() else 0
    return has_bytes, free_bytes(part.parents) or 0


async def _fetch(
    connections: Connections,
    url: str,
    part: Path,
    size_bytes: int | None,
    free: int,
    on_pull: OnPull,
) -> None:
    """Download what is missing, never more than was agreed to; empty the part if it is wrong."""
    host = safe_line(urlsplit(url).netloc)
    with part.open("a+b") as file:
        if not try_lock(file.fileno()):
            raise EngineUnavailable(
                "Another lmchat downloads this file.", hint="Wait until it has ended.", kind="fetch"
            )

        def refusal(problem: str) -> EngineUnavailable:
            file.truncate(0)
            return EngineUnavailable(problem, hint=_CHECK_ADDRESS, kind="fetch")

        done = file.tell()
        if size_bytes is None:
            most, most_words = done + free, f"the {size_text(free)} that are free"
        else:
            most, most_words = size_bytes, f"the {size_text(size_bytes)} that it named"
        too_much = f"{host} sends more than {most_words}."
        if done > most:
            done = file.truncate(0)
        cause: ServerUnavailable | None = None
        if done != size_bytes:
            begin = {"Range": f"bytes={done}-"} if done else {}
            endpoint, response = await _open(connections, "GET", url, begin, redirects=_REDIRECTS)
            async with aclosing(response):
                if response.status_code != HTTPStatus.PARTIAL_CONTENT:
                    done = file.truncate(0)
                if response.headers.get("content-encoding", "identity").lower() != "identity":
                    raise refusal(f"{host} sends the file compressed, which was not asked for.")
                length = header_count(response.headers.get("content-length", ""))
                total = size_bytes if length is None else done + length
                if total is not None and total > most:
                    raise refusal(too_much)
                try:
                    async for chunk in _chunks(endpoint, response):
                        done += len(chunk)
                        if done > most:
                            raise refusal(too_much)
                        await asyncio.to_thread(file.write, chunk)
                        on_pull(PullProgress(done_bytes=done, total_bytes=total, free_bytes=free))
                except ServerUnavailable as error:
                    cause = error
        file.seek(0)
        if done >= len(_MAGIC) and file.read(len(_MAGIC)) != _MAGIC:
            raise refusal(f"What {host} sent is not a GGUF file.")
        if cause or done < (size_bytes or len(_MAGIC)):
            raise EngineUnavailable(
                f"The download from {host} broke off.",
                hint=_TRY_AGAIN,
                details=cause.message if cause else f"{done} bytes came.",
                kind="fetch",
            ) from cause


async def _chunks(endpoint: Endpoint, response: httpx.Response) -> AsyncGenerator[bytes, None]:
    """Raises `ServerUnavailable`; an error of the disk, which the caller meets, stays as it is."""
    with errors_as_unavailable(endpoint):
        async for chunk in body_chunks(response):
            yield chunk


async def _open(
    connections: Connections,
    method: str,
    url: str,
    headers: dict[str, str] | None = None,
    *,
    redirects: int = 0,
) -> tuple[Endpoint, httpx.Response]:
    """Return an unread response; no key is sent. Raises `EngineUnavailable`.

    Each host has a client of its own, so httpx cannot follow redirects.
    """
    asked = {"Accept-Encoding": "identity", **(headers or {})}
    timeout = httpx.Timeout(_READ_S, connect=CONNECT_ELSEWHERE_S)
    parts = urlsplit(url)
    endpoint = Endpoint.parse(f"{parts.scheme}://{parts.netloc}")
    try:
        response = await connections.send(endpoint, method, url, headers=asked, timeout=timeout)
    except ServerUnavailable as error:
        hint = error.hint if error.kind == "certificate" else _TRY_AGAIN
        raise EngineUnavailable(error.message, hint=hint, kind="fetch") from error
    if response.is_success or (response.is_redirect and method == "HEAD"):
        return endpoint, response
    await response.aclose()
    if response.is_redirect and redirects:
        other = _redirect_target(endpoint, url, response.headers.get("location", ""))
        return await _open(connections, method, other, headers, redirects=redirects - 1)
    raise EngineUnavailable(
        f"{safe_line(parts.netloc)} answered with status {response.status_code}.",
        hint="Check the address; some files are only for users who are signed in there.",
        kind="fetch",
    )


def _redirect_target(endpoint: Endpoint, url: str, location: str) -> str:
    """Return the address of a redirect; raise `EngineUnavailable` if it is not followed."""
    problem = ""
    try:
        target = urljoin(url, location)
        parts = urlsplit(target)
        there = Endpoint.parse(f"{parts.scheme}://{parts.netloc}")
    except (ValueError, EndpointNotAllowed):  # their words may quote a password
        target, problem = "", "what is not an allowed address"
    else:
        if endpoint.scheme == "https" and there.scheme == "http":
            problem = "an address without https"
        elif there.is_loopback and not endpoint.is_loopback:
            problem = "this machine"
        elif there.is_near and not endpoint.is_near:
            problem = "a private network"
    if problem:
        raise EngineUnavailable(
            f"{endpoint.netloc} redirects to {problem}, which lmchat does not follow.",
            hint=_CHECK_ADDRESS,
            kind="fetch",
        )
    return target


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
