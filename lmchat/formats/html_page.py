"""Export as one self-contained HTML page without scripts."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from datetime import UTC, tzinfo
from functools import partial
from html import escape

from markdown_it import MarkdownIt

from lmchat.domain.message import ChatMessage, ToolCallPart
from lmchat.domain.session import Session
from lmchat.domain.tool import called
from lmchat.formats.writing import (
    REFUSED,
    ending,
    is_tool_run,
    moment,
    speaker,
    thought,
    with_branches,
)
from lmchat.text import safe_line, safe_text

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
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def to_html(
    session: Session,
    *,
    with_reasoning: bool = False,
    zone: tzinfo | None = UTC,
    pages: Mapping[str, str] | None = None,
) -> str:
    """Return the path and the branches as a page; all text is escaped.

    `pages` has the HTML of messages by their ids; the text of any other message is shown as it is.
    """
    if pages is None:
        messages = (*session.messages, *session.branches)
        pages = {message.message_id: markdown_html(safe_text(message.text)) for message in messages}
    title = _escaped(session.header.title)
    blocks = [
        "<!DOCTYPE html>",
        '<html lang="en"><head><meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">',
        '<meta name="viewport" content="width=device-width"><meta name="referrer" content="no-referrer">',
        f"<title>{title}</title><style>{_STYLE}</style></head><body>",
        f"<h1>{title}</h1>",
    ]
    entry = partial(
        _entry, pages=pages, files=session.files, zone=zone, with_reasoning=with_reasoning
    )
    blocks += with_branches(
        session, entry, lambda head: f"<hr><p><strong>{escape(head)}</strong></p>"
    )
    return "\n".join([*blocks, "</body></html>"]) + "\n"


def markdown_html(text: str) -> str:
    """Return Markdown as HTML; may take very long."""
    # A picture would be fetched from wherever a model says as soon as the page is opened.
    markdown = MarkdownIt("commonmark", {"html": False}).enable("table").disable("image")
    return str(markdown.render(text))


def _entry(
    message: ChatMessage,
    calls: tuple[ToolCallPart, ...],
    pages: Mapping[str, str],
    files: Mapping[str, bytes],
    *,
    zone: tzinfo | None,
    with_reasoning: bool,
) -> Iterator[str]:
    time = escape(moment(message.created_at, zone))
    yield f"<article><h2>{_escaped(speaker(message))} <time>{time}</time></h2>"
    if with_reasoning and message.reasoning:
        yield _folded(thought(message), message.reasoning)
    for part in message.files:
        yield f"<p>Attached: {escape(part.words)}</p>"
        if part.is_image and (data := files.get(part.digest)):
            url = f"data:{escape(part.media_type)};base64,{b64encode(data).decode()}"
            yield f'<p><img src="{url}" alt="{_escaped(part.name)}"></p>'
    if message.refusal:
        yield f"<p><strong>{REFUSED}.</strong></p>"
    if message.text:
        plain = f"<pre>{escape(safe_text(message.text))}</pre>"
        yield pages.get(message.message_id, plain)
    for call in calls:
        arguments = escape(safe_text(call.arguments))
        yield f"<p>Tool call <code>{_escaped(call.name)}</code></p><pre>{arguments}</pre>"
    if is_tool_run(message):
        yield _folded(
            called(message), *(call.arguments for call in message.tool_calls), message.tool_result
        )
    if end := ending(message):
        yield f"<blockquote><strong>{end[0]}.</strong> {escape(end[1])}</blockquote>"
    yield "</article>"


def _folded(summary: str, *texts: str) -> str:
    blocks = "".join(f"<pre>{escape(safe_text(text))}</pre>" for text in texts)
    return f"<details><summary>{_escaped(summary)}</summary>{blocks}</details>"


def _escaped(text: str) -> str:
    return escape(safe_line(text))
