"""Export as one self-contained HTML page without scripts."""

from __future__ import annotations

import asyncio
from base64 import b64encode
from collections.abc import Iterator, Mapping
from html import escape

from lmchat.base.processes.child import ChildEndedError, ChildProcess
from lmchat.base.safe_text import line_without_controls, without_controls
from lmchat.core.formats.exports.entries import (
    PLAIN,
    REFUSED,
    MessageEntry,
    WriteOptions,
    entries,
    is_tool_run,
)
from lmchat.core.sessions.message import tool_calls_text
from lmchat.core.sessions.session import Session

_STYLE = """
:root { color-scheme: light dark; }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; font: 1rem/1.6 system-ui, sans-serif; }
h2 { font-size: 1rem; margin: 2.5rem 0 .5rem; }
h2 time { font-weight: normal; opacity: .7; }
pre { overflow-x: auto; padding: .75rem; background: #8882; }
blockquote, details { border-left: 2px solid #8888; margin: 1rem 0; padding-left: 1rem; }
table { border-collapse: collapse; } td, th { border: 1px solid #8886; padding: .2rem .6rem; }
img { max-width: 100%; }
"""
_CHILD = "lmchat.core.formats.exports.markdown_to_html_child"
_LONGEST_S = 5.0  # for one message; a page of Markdown takes milliseconds
_META = (
    '<meta name="viewport" content="width=device-width">'
    '<meta name="referrer" content="no-referrer">'
)
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def to_html(session: Session, options: WriteOptions = PLAIN) -> str:
    """Write the path and then the branches as one HTML page.

    All text is escaped, except the HTML in `options.html_by_id`, in which `html_by_message`
    has escaped the HTML of the messages.
    """
    title = _escaped_line(session.header.title)
    blocks = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        _META,
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
    ]
    for entry in entries(session):
        if isinstance(entry, MessageEntry):
            blocks += _article(entry, session.files, options)
        else:  # of a branch
            blocks.append(f"<hr><p><strong>{escape(entry)}</strong></p>")
    return "\n".join([*blocks, "</body></html>"]) + "\n"


def _article(
    entry: MessageEntry, files: Mapping[str, bytes], options: WriteOptions
) -> Iterator[str]:
    """Yield elements in the order of the page; `files` has attached files by digest."""
    message = entry.message
    yield f"<article><h2>{_escaped_line(entry.speaker)} <time>{escape(entry.time)}</time></h2>"
    if options.with_reasoning and message.reasoning:
        yield _folded(entry.thought_heading, message.reasoning)
    for part in message.files:
        yield f"<p>Attached: {escape(part.label)}</p>"
        data = files.get(part.digest)
        if part.is_image and data:
            url = f"data:{_escaped_line(part.media_type)};base64,{b64encode(data).decode()}"
            yield f'<p><img src="{url}" alt="{_escaped_line(part.name)}"></p>'
    if message.refusal:
        yield f"<p><strong>{REFUSED}.</strong></p>"
    if message.text:
        yield options.html_by_id.get(message.message_id, _preformatted(message.text))
    for call in entry.calls:  # without a result below
        yield (
            f"<p>Tool call <code>{_escaped_line(call.name)}</code></p>"
            f"{_preformatted(call.arguments)}"
        )
    if is_tool_run(message):
        arguments = (call.arguments for call in message.tool_calls)
        yield _folded(tool_calls_text(message), *arguments, message.tool_result)
    if entry.state:
        yield f"<blockquote><strong>{entry.state}.</strong> {escape(entry.reason)}</blockquote>"
    yield "</article>"


def _folded(summary: str, *texts: str) -> str:
    blocks = "".join(map(_preformatted, texts))
    return f"<details><summary>{_escaped_line(summary)}</summary>{blocks}</details>"


def _preformatted(text: str) -> str:
    return f"<pre>{escape(without_controls(text))}</pre>"


def _escaped_line(text: str) -> str:
    """Make one line without terminal commands, with HTML's signs escaped.

    `escape` alone is for texts that are such lines already.
    """
    return escape(line_without_controls(text))


async def html_by_message(session: Session, *, longest_s: float = _LONGEST_S) -> dict[str, str]:
    """Return the HTML of the messages of all branches by id.

    Without those that have no text, or cannot be converted in `longest_s`. One child process
    converts all; on any error it is ended, as it would continue with this text.
    """
    html_by_id: dict[str, str] = {}
    child: ChildProcess | None = None
    try:
        for message in (*session.messages, *session.branch_messages):
            if not message.text:
                continue
            child = child or await ChildProcess.start_own(_CHILD)
            try:
                async with asyncio.timeout(longest_s):
                    await child.send_frame(without_controls(message.text).encode())
                    html_by_id[message.message_id] = (await child.receive_frame()).decode()
            except (TimeoutError, ChildEndedError):
                await child.end()
                child = None
    finally:
        if child is not None:
            await child.end()
    return html_by_id
