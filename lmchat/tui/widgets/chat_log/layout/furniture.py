"""The rows that the log itself writes: receipts, states, cards, rules, folds."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from rich.style import Style

from lmchat.domain.message import AnswerState, AttachedFile, ChatMessage, Failure, Receipt, pieces_of
from lmchat.domain.turn import Stage, Turn
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.widgets.chat_log.blocks import Block, Kind, Line, Span, made, plain_blocks
from lmchat.tui.widgets.chat_log.layout.code import head_line
from lmchat.tui.widgets.chat_log.layout.page import Page, broken, harmless, width_of

_NULL = Style.null()
_TIME_CELLS = 7
_RATE_CELLS = 4


def rule(words: str, *, style: str = "muted", is_attached: bool = False) -> Block:
    """Return a thin rule with words in it."""
    text = safe_line(words, limit=500)
    return made(lambda page: [page.rule(text, style)], is_attached=is_attached)


def prompt_blocks(message: ChatMessage, *, is_folded: bool = True) -> list[Block]:
    """Return what the user wrote: as it is, on a tint, with the time; a folded file only as its name."""
    blocks: list[Block] = []
    for piece in pieces_of(message.text):
        if isinstance(piece, AttachedFile):
            shown = partial(_file_lines, piece, message if not blocks else None, is_folded)
            blocks.append(made(shown, is_attached=bool(blocks)))
            blocks += [] if is_folded else _typed_blocks(piece.text)
        elif not blocks or piece.strip():
            blocks += _typed_blocks(piece.strip("\n") if blocks else piece, message, blocks)
    return blocks


def _typed_blocks(text: str, message: ChatMessage | None = None, before: Sequence[Block] = ()) -> list[Block]:
    blocks = []
    for block in plain_blocks(harmless(text)):
        block.kind = Kind.MADE
        is_very_first = block.is_first and message is not None and not before
        block.make = partial(_prompt_lines, block.source, message if is_very_first else None)
        block.is_attached = not is_very_first
        blocks.append(block)
    return blocks


def _file_lines(file: AttachedFile, message: ChatMessage | None, is_folded: bool, page: Page) -> list[Line]:
    sign = page.signs.folded if is_folded else page.signs.unfolded
    muted = page.styles["muted"]
    name = [(f"{sign} ", muted), (safe_line(file.name, limit=200), _NULL)]
    row = page.row(
        [name, [(_dot(page, formatting.size(file.size_bytes)), muted)]], _when(page, message), tint="panel"
    )
    row.bar, row.action = "faint", "fold"
    return [row]


def _when(page: Page, message: ChatMessage | None) -> list[Span]:
    """Return the version and the time of a prompt."""
    if message is None:
        return []
    return [*_version(page, message), (f"{message.created_at.astimezone():%H:%M}", page.styles["muted"])]


def _prompt_lines(source: str, message: ChatMessage | None, page: Page) -> list[Line]:
    right = _when(page, message)
    room = max(_TIME_CELLS, width_of(right) + 2)
    lines: list[Line] = []
    for text in source.split("\n"):
        parts = broken(text, max(page.text_width - room, 8))
        for index, part in enumerate(parts):
            line = page.row([[(part.rstrip(), _NULL)]], right if not lines else (), tint="panel")
            line.text, line.is_wrapped, line.bar = part, index < len(parts) - 1, "faint"
            lines.append(line)
    return lines


def _key(page: Page, key: str, words: str, act: str) -> list[Span]:
    """Return a key with what it does; a click does the same."""
    meta = Style(meta={"act": act})
    return [(key, page.styles["strong"] + meta), (f" {words}", page.styles["muted"] + meta)]


def _version(page: Page, message: ChatMessage) -> list[Span]:
    if message.versions <= 1:
        return []
    signs = page.signs
    return [
        (
            f"{signs.before_version}{message.version}/{message.versions}{signs.after_version}  ",
            page.styles["muted"] + Style(meta={"act": "next_version"}),
        )
    ]


def thought(words: str, *, is_folded: bool) -> Block:
    """Return the row that reasoning is folded into."""

    def make(page: Page) -> list[Line]:
        sign = page.signs.folded if is_folded else page.signs.unfolded
        line = page.row([[(f"{sign} {words.replace('…', page.signs.cut)}", page.styles["muted"])]])
        line.action = "fold"
        return [line]

    return made(make)


def refused() -> Block:
    """Return the row above the words in which a model refuses to answer."""
    return made(lambda page: [page.row([[("! refused", page.styles["warning"])]])])


def tool_block(name: str) -> Block:
    """Return the row above the arguments of a call of a tool: it is shown, never run."""
    words = f"asks for the tool {safe_line(name, limit=80)}" if name.strip() else "asks for a tool"

    def make(page: Page) -> list[Line]:
        head = head_line(page, words)
        head.hint = None
        return [head]

    return made(make)


def state_block(turn: Turn | None, now_s: float, *, retry_in_s: float = 0.0) -> Block:
    """Return the live line under an answer."""

    def make(page: Page) -> list[Line]:
        left = _state_spans(page, turn, now_s, retry_in_s) if turn else [[(Stage.WAITING.value, _NULL)]]
        return [page.row(left, _key(page, "Esc", "stop", "stop"))]

    return made(make)


def elsewhere_block() -> Block:
    """Return the line under an answer that another lmchat writes: nothing that is pressed here stops it."""
    return made(lambda page: [page.row([[("another lmchat writes this", page.styles["muted"])]])])


def _state_spans(page: Page, turn: Turn, now_s: float, retry_in_s: float) -> list[list[Span]]:
    muted, strong, warning = page.styles["muted"], page.styles["strong"], page.styles["warning"]
    clock: list[Span] = [("  " + formatting.elapsed(max(turn.elapsed_s(now_s), 0.0)), strong)]
    match turn.stage:
        case Stage.RETRYING if turn.retry is not None:
            retry = turn.retry
            words = f"retry {retry.attempt}/{retry.attempts} in {formatting.elapsed(max(retry_in_s, 0.0))}"
            reason = _dot(page, safe_line(retry.reason, limit=200))
            return [[(words, warning)], [(reason, muted)]]
        case Stage.LOADING | Stage.READING:
            return [[(turn.stage.value + formatting.so_far(turn.fraction), _NULL), *clock]]
        case Stage.STALLED:
            silence = f"stalled {formatting.elapsed(turn.silent_s)}"
            return [[(silence, warning)], *_counts(page, turn)]
        case _:
            return [[(turn.stage.value, _NULL), *clock], *_counts(page, turn)]


def _counts(page: Page, turn: Turn) -> list[list[Span]]:
    """Return rate and tokens so far; the rate swings, so it has a fixed width."""
    if turn.first_token_s is None:
        return []
    pieces = []
    if turn.tokens_per_second is not None:
        pieces.append(formatting.rate(turn.tokens_per_second, width=_RATE_CELLS))
    pieces.append(formatting.tokens(turn.tokens) + formatting.GAP + "tok")
    return [[(_dot(page, piece), page.styles["muted"])] for piece in pieces]


def _dot(page: Page, text: str) -> str:
    return f" {page.signs.dot} {text}"


def end_blocks(message: ChatMessage) -> list[Block]:
    """Return what stands under an answer that has ended: receipt or state, and the card of a failure."""
    blocks = []
    if message.state in (AnswerState.COMPLETE, AnswerState.STREAMING):
        if message.receipt is not None or message.model:
            blocks.append(made(partial(_receipt_lines, message)))
    elif message.state is not AnswerState.FAILED or message.failure is None:
        blocks.append(made(partial(_cut_lines, message)))
    if message.failure is not None and message.state is not AnswerState.COMPLETE:
        blocks.append(made(partial(_card_lines, message, message.failure)))
    return blocks


def _receipt_lines(message: ChatMessage, page: Page) -> list[Line]:
    muted = page.styles["muted"]
    pieces = [safe_line(message.model, limit=80) or "answer"]
    receipt = message.receipt or Receipt()
    if receipt.ttft_ms is not None:
        pieces.append(f"TTFT {formatting.first_token(receipt.ttft_ms / 1e3)}")
    if receipt.tokens_per_second is not None:
        pieces.append(formatting.rate(receipt.tokens_per_second))
    if receipt.completion_tokens is not None:
        pieces.append(_token_words(receipt))
    if receipt.elapsed_ms:
        pieces.append(formatting.elapsed(receipt.elapsed_ms / 1e3))
    left = _dotted(page, pieces, muted)
    ending = safe_line(message.receipt.ending, limit=40) if message.receipt else ""
    unusual = [f"asked for {asked}"] if (asked := safe_line(receipt.asked, limit=80)) else []
    unusual += [ending] if ending else []
    unusual += [] if message.text.strip() or message.tool_calls else ["said nothing"]
    warning = page.styles["warning"]
    ends = [[(_dot(page, words), warning)] for words in unusual]
    versions = [(text.strip(), style) for text, style in _version(page, message)]
    if not (receipt.is_cut and message.text):
        return [page.row([*left, *ends], versions, kept=len(ends))]
    keys = _key(page, "a", "continue", "resume")
    right = [*keys, ("  ", muted), *versions] if versions else keys
    if sum(map(width_of, [*left, *ends, right])) + 2 <= page.text_width:
        return [page.row([*left, *ends], right)]
    # the figures are not given up for the keys
    return [page.row(left, versions), page.row(_dotted(page, unusual, warning), keys)]


def _dotted(page: Page, pieces: Sequence[str], style: Style) -> list[list[Span]]:
    return [[(_dot(page, piece) if index else piece, style)] for index, piece in enumerate(pieces)]


def _token_words(receipt: Receipt) -> str:
    count = formatting.tokens(receipt.completion_tokens, is_estimated=receipt.is_estimated)
    return f"{count}{formatting.GAP}tok"


def _cut_lines(message: ChatMessage, page: Page) -> list[Line]:
    """Return the line of an answer that is not complete: why, what is saved, and the keys."""
    muted = page.styles["muted"]
    if message.state is AnswerState.STOPPED:
        left: list[list[Span]] = [[(message.state.value, _NULL)]]
    else:
        left = [[(f"{page.signs.down} {message.state.value}", page.styles["error"])]]
    receipt = message.receipt or Receipt()
    if receipt.completion_tokens:
        left.append([(_dot(page, f"{_token_words(receipt)} saved"), muted)])
    if message.model:
        left.append([(_dot(page, safe_line(message.model, limit=80)), muted)])
    if message.state is AnswerState.FAILED:
        keys: Sequence[Span] = _key(page, "r", "retry", "regenerate")
    else:
        keys = [*_key(page, "a", "continue  ", "resume"), *_key(page, "e", "edit", "edit")]
    versions = [("  " + text.strip(), style) for text, style in _version(page, message)]
    return [page.row(left, [*keys, *versions])]


def _card_lines(message: ChatMessage, failure: Failure, page: Page) -> list[Line]:
    """Return the card of a failure: what happened, the next step, the keys."""
    muted, strong, error = page.styles["muted"], page.styles["strong"], page.styles["error"]
    ended = message.created_at + timedelta(milliseconds=message.receipt.elapsed_ms if message.receipt else 0)
    time: list[Span] = [(f"{ended.astimezone():%H:%M}", muted)]
    title = safe_line(failure.message, limit=1_000) or safe_line(failure.kind, limit=80) or "It failed"
    rows: list[Line] = []
    for part in broken(f"{page.signs.down} {title}", max(page.text_width - _TIME_CELLS, 8)):
        rows.append(page.row([[(part.rstrip(), error + strong)]], time if not rows else (), tint="panel"))
    if failure.hint:
        rows += page.wrap([(safe_line(failure.hint, limit=2_000), _NULL)], tint="panel")
    keys: list[list[Span]] = [
        _key(page, "r", "retry", "regenerate"),
        [("   ", _NULL), *_key(page, "y", "copy details", "copy")],
    ]
    shown_id = safe_line(failure.failure_id, limit=16)
    rows.append(page.row(keys, [(f"id {shown_id}", muted)] if shown_id else (), tint="panel"))
    for row in rows:
        row.bar = "error"
    return rows
