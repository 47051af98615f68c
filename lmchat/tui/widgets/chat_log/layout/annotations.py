"""The rows that the log itself writes: receipts, states, cards, rules, folds."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from rich.segment import Segment
from rich.style import Style

from lmchat.domain.attached_files import AttachedFile, split_files
from lmchat.domain.imported import is_imported_call
from lmchat.domain.message import AnswerState, ChatMessage, Failure, Receipt
from lmchat.domain.tool import CHOICES, called
from lmchat.domain.turn import Stage, Turn
from lmchat.text import safe_line
from lmchat.tui import formatting
from lmchat.tui.widgets.chat_log.blocks import Block, Kind, Line, Span, made, plain_blocks
from lmchat.tui.widgets.chat_log.layout.code import code_lines, head_line, piece_lines
from lmchat.tui.widgets.chat_log.layout.page import Page, broken, harmless, width_of

_NULL = Style.null()
_TIME_CELLS = 7
_RATE_CELLS = 4
_LEAST_NAME_CELLS = 10  # less of a name before its keys tells nothing
_CARD_ROWS = 9  # rows of a card, without its keys, until it is unfolded
_COUNTED_CHARS = (
    4_000  # characters of each text of a folded card that are laid out to count its rows
)
_COUNTED_LINES = 500
_MOST_INDENTED_CHARS = 40_000  # indenting a longer text takes longer than a key may wait
_MOST_GROWTH = 8
"""Times that JSON may become longer by blanks: where it nests too deep, nothing else is seen."""
_SMALL_CHARS = 2_000  # in a text so short, blanks do no harm


def rule(words: str, *, style: str = "muted") -> Block:
    """Return a thin rule with words in it."""
    text = safe_line(words, limit=500)
    return made(lambda page: [page.rule(text, style)])


def prompt_blocks(message: ChatMessage, *, is_folded: bool = True) -> list[Block]:
    """Return a prompt on a tint, with the time; a folded file is only its name."""
    blocks: list[Block] = []
    for part in message.files:
        pixels = [f"{part.width}×{part.height}"] if part.width else []
        figures, first = (
            [formatting.size(part.size, is_exact=True), *pixels],
            None if blocks else message,
        )
        row = partial(_file_lines, part.name, figures, first, True, "files")
        blocks.append(made(row, is_attached=bool(blocks)))
    for piece in split_files(message.text):
        first = None if blocks else message
        if isinstance(piece, AttachedFile):
            size = formatting.size(piece.size_bytes)
            row = partial(_file_lines, piece.name, [size], first, is_folded, "fold")
            blocks.append(made(row, is_attached=bool(blocks)))
            blocks += [] if is_folded else _typed_blocks(piece.text)
        elif first or piece.strip():
            blocks += _typed_blocks(piece if first else piece.strip("\n"), first)
    return blocks


def _typed_blocks(text: str, message: ChatMessage | None = None) -> list[Block]:
    blocks = list(plain_blocks(harmless(text)))
    for block in blocks:
        first = message if block.is_first else None
        block.kind, block.make = Kind.MADE, partial(_prompt_lines, block.source, first)
        block.is_attached = first is None
    return blocks


def _file_lines(
    name: str,
    figures: Sequence[str],
    message: ChatMessage | None,
    is_folded: bool,
    action: str,
    page: Page,
) -> list[Line]:
    left = [[*_fold_sign(page, is_folded=is_folded), (safe_line(name, limit=200), _NULL)]]
    left += [_next(page, figure.replace("×", page.icons.down)) for figure in figures]
    row = page.row(left, _when(page, message), tint="panel")
    row.bar, row.action = "faint", action
    return [row]


def _prompt_lines(source: str, message: ChatMessage | None, page: Page) -> list[Line]:
    right = _when(page, message)
    room = max(_TIME_CELLS, width_of(right) + 2)
    lines: list[Line] = []
    for text in source.split("\n"):
        parts = broken(text, max(page.text_width - room, 8))
        for index, part in enumerate(parts):
            line = page.row([[(part.rstrip(), _NULL)]], () if lines else right, tint="panel")
            line.text, line.is_wrapped, line.bar = part, index < len(parts) - 1, "faint"
            lines.append(line)
    return lines


def _when(page: Page, message: ChatMessage | None) -> list[Span]:
    if message is None:
        return []
    return [*_version(page, message), _time(page, message.created_at)]


def _time(page: Page, moment: datetime) -> Span:
    """Return a time, with its date unless that is today's."""
    local, today = moment.astimezone(), page.today
    words = f"{local:%H:%M}"
    if today is not None and local.date() != today:
        words = f"{local.day} {local:%b} {words if local.year == today.year else local.year}"
    return words, page.styles["muted"]


def _version(page: Page, message: ChatMessage, before: str = "", behind: str = "  ") -> list[Span]:
    if message.versions <= 1:
        return []
    words = f"{message.version}/{message.versions}"
    shown = f"{before}{page.icons.before_version}{words}{page.icons.after_version}{behind}"
    return [(shown, page.styles["muted"] + Style(meta={"act": "next_version"}))]


def _key(page: Page, key: str, words: str, act: str) -> list[Span]:
    meta = Style(meta={"act": act})
    return [(key, page.styles["strong"] + meta), (f" {words}", page.styles["muted"] + meta)]


def _next(page: Page, words: str, style: str = "muted") -> list[Span]:
    return [(f" {page.icons.dot} {words}", page.styles[style])]


def _fold_sign(page: Page, *, is_folded: bool) -> list[Span]:
    return [(f"{page.icons.folded if is_folded else page.icons.unfolded} ", page.styles["muted"])]


def remark(words: str, style: str = "muted") -> Block:
    """Return a row with a few words of the log."""
    return made(lambda page: [page.row([[(words, page.styles[style])]])])


def thought(words: str, *, is_folded: bool) -> Block:
    """Return the row that reasoning is folded into."""

    def make(page: Page) -> list[Line]:
        shown = (words.replace("…", page.icons.cut), page.styles["muted"])
        line = page.row([[*_fold_sign(page, is_folded=is_folded), shown]])
        line.action = "fold"
        return [line]

    return made(make)


def tool_block(name: str) -> Block:
    """Return the row above the arguments of a call of a tool: it is shown, never run."""
    words = f"calls the tool {safe_line(name, limit=80)}" if name.strip() else "calls a tool"
    return made(lambda page: [head_line(page, words, has_key=False)])


def call_texts(message: ChatMessage) -> list[tuple[str, str, str]]:
    """Return what a call unfolds to: headings, texts and their languages; JSON is indented."""
    found = []
    arguments = "".join(call.arguments for call in message.tool_calls)
    for heading, text in (("arguments", arguments), ("result", message.tool_result)):
        indented = _indented(text)
        if text:
            found.append((heading, indented or text, "json" if indented else ""))
    return found


def _indented(text: str) -> str:
    """Return JSON on lines of its own; nothing where the text is something else, or would become too long."""
    if len(text) > _MOST_INDENTED_CHARS:
        return ""
    room = max(len(text) * _MOST_GROWTH, _SMALL_CHARS)
    pieces: list[str] = []
    try:
        value = json.loads(text)
        if not isinstance(value, dict | list):
            return ""
        for piece in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(value):
            pieces.append(piece)
            room -= len(piece)
            if room < 0:
                return ""
    except (ValueError, RecursionError):
        return ""
    return "".join(pieces)


def call_lines(message: ChatMessage, state: str, is_folded: bool, page: Page) -> list[Line]:
    """Return the row of a call."""
    is_unfinished = message.state in (AnswerState.STOPPED, AnswerState.INTERRUPTED)
    end, keys = _call_end(page, message, state), list[Span]()
    if state:
        keys = _key(page, "Esc", "stop", "stop")
    elif is_unfinished and not is_imported_call(message):
        keys = _key(page, "r", "run again", "regenerate")
    right = [*keys, *_version(page, message, before="  " if keys else "", behind="")]
    name, bracket, arguments = safe_line(called(message), limit=500).partition("(")
    call: list[Span] = [(name, _NULL), (bracket + arguments, page.styles["muted"])]
    room = page.text_width - width_of(right) - min(width_of(end), page.text_width * 2 // 5) - 6
    call = page.fit(call, min(width_of(call), max(room, 8)))
    row = page.row([[*_fold_sign(page, is_folded=is_folded), *call, ("  ", _NULL), *end]], right)
    row.action = "fold"
    return [row]


def _call_end(page: Page, message: ChatMessage, state: str) -> list[Span]:
    """Return how a call stands."""
    match message.state:
        case AnswerState.STREAMING:
            return [(state or "in another lmchat", _NULL)]
        case AnswerState.COMPLETE:
            size = formatting.size(len(message.tool_result.encode(errors="replace")), is_exact=True)
            if message.receipt is None:  # of another program, which does not tell the time
                return [(size, page.styles["muted"])]
            took = formatting.first_token(message.receipt.elapsed_ms / 1e3)
            return [(took, page.styles["muted"]), *_next(page, size)]
        case AnswerState.STOPPED:
            reason = safe_line(message.tool_result, limit=200)
            return [("stopped", _NULL), *(_next(page, reason) if reason else ())]
        case _:
            reason = safe_line(message.tool_result, limit=200)
            word = (f"{page.icons.down} {message.state.value}", page.styles["error"])
            return [word, *(_next(page, reason) if reason else ())]


def question_block(message: ChatMessage) -> Block:
    """Return the folded card that asks whether a tool may run."""
    return made(partial(_question_lines, message))


def question_blocks(message: ChatMessage, pieces: Sequence[Block]) -> list[Block]:
    """Return the unfolded card; `pieces` are those of the texts of the call, as code."""
    blocks = [made(partial(_question_head, message))]
    for piece in pieces:
        block = made(partial(_question_piece, piece), is_attached=True)
        block.source, block.info = piece.source, piece.info
        block.code, block.piece = piece.code, piece.piece
        blocks.append(block)
    blocks.append(made(partial(_question_keys, message), is_attached=True))
    return blocks


def _question_lines(message: ChatMessage, page: Page) -> list[Line]:
    rows, is_cut = list[Line](), False
    for _, text, language in call_texts(message):
        start = "\n".join(text[:_COUNTED_CHARS].split("\n", _COUNTED_LINES)[:_COUNTED_LINES])
        is_cut = is_cut or len(start) < len(text)
        rows += code_lines(page, start, language, is_first=False)
    room = _CARD_ROWS - 1  # below the head
    hidden = len(rows) - room
    if hidden > 0:
        words = f"{hidden:,}+ more lines" if is_cut else formatting.counted(hidden, "more line")
        more = [*_fold_sign(page, is_folded=True), (words, _NULL)]
        rows[room:] = [page.row([more], _key(page, "Enter", "unfold", "fold"), tint="panel")]
    return [*_question_head(message, page), *_on_card(rows, page), *_question_keys(message, page)]


def _question_head(message: ChatMessage, page: Page) -> list[Line]:
    words = [("! ", page.styles["warning"]), _tool_name(message, page), (" wants to run", _NULL)]
    return _on_card([page.row([words], tint="panel")], page)


def _question_piece(piece: Block, page: Page) -> list[Line]:
    return _on_card(piece_lines(page, piece, ()), page)


def _question_keys(message: ChatMessage, page: Page) -> list[Line]:
    keys = [_key(page, key, words + "   ", key) for key, words in CHOICES.items()]
    room = page.text_width - width_of([span for key in keys for span in key])
    asked = _asked_name(page, _tool_name(message, page), room)
    answer = _key(page, f"Alt+{page.icons.up_arrow}", "answer", "")
    row = page.row([asked, answer], tint="panel")
    row.hint = page.row([asked, *keys], tint="panel").segments
    return _on_card([row], page)


def _tool_name(message: ChatMessage, page: Page) -> Span:
    return safe_line(message.tool_calls[0].name, limit=200), page.styles["strong"]


def _on_card(rows: list[Line], page: Page) -> list[Line]:
    for row in rows:
        row.segments[0] = Segment(
            " ", page.styles["panel"]
        )  # code begins with a cell of the ground
        row.tint, row.bar = "panel", "warning"
    return rows


def _asked_name(page: Page, name: Span, room: int) -> list[Span]:
    """Return the name before the keys: above long arguments, it is not on the screen."""
    if room < _LEAST_NAME_CELLS:
        return []
    size = width_of([name])
    return [*page.fit([name], min(size, room - 2)), ("? ", _NULL)]


def state_block(turn: Turn | None, now_s: float, *, retry_in_s: float = 0.0) -> Block:
    """Return the live line under an answer."""

    def make(page: Page) -> list[Line]:
        left = (
            _state_spans(page, turn, now_s, retry_in_s)
            if turn
            else [[(Stage.WAITING.value, _NULL)]]
        )
        return [page.row(left, _key(page, "Esc", "stop", "stop"))]

    return made(make)


def _state_spans(page: Page, turn: Turn, now_s: float, retry_in_s: float) -> list[list[Span]]:
    warning = page.styles["warning"]
    clock = ("  " + formatting.elapsed(max(turn.elapsed_s(now_s), 0.0)), page.styles["strong"])
    match turn.stage:
        case Stage.RETRYING if turn.retry is not None:
            retry = turn.retry
            words = f"retry {retry.attempt}/{retry.attempts} in {formatting.elapsed(max(retry_in_s, 0.0))}"
            return [[(words, warning)], _next(page, safe_line(retry.reason, limit=200))]
        case Stage.LOADING | Stage.READING:
            return [[(turn.stage.value + formatting.so_far(turn.fraction), _NULL), clock]]
        case Stage.STALLED:
            return [
                [(f"stalled {formatting.elapsed(turn.silent_s)}", warning)],
                *_counts(page, turn),
            ]
        case _:
            return [[(turn.stage_word, _NULL), clock], *_counts(page, turn)]


def _counts(page: Page, turn: Turn) -> list[list[Span]]:
    """Return rate and tokens so far; the rate swings, so it has a fixed width."""
    if turn.first_token_s is None:
        return []
    pieces = [formatting.tokens(turn.tokens) + formatting.GAP + "tok"]
    if turn.tokens_per_second is not None:
        pieces.insert(0, formatting.rate(turn.tokens_per_second, width=_RATE_CELLS))
    return [_next(page, piece) for piece in pieces]


def end_blocks(message: ChatMessage) -> list[Block]:
    """Return the receipt or the state of an answer that has ended, and the card of a failure."""
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
    receipt = message.receipt or Receipt()
    left: list[list[Span]] = [
        [(safe_line(message.model, limit=80) or "answer", page.styles["muted"])]
    ]
    left += [_next(page, figure) for figure in receipt_figures(receipt)]
    steps = [_next(page, formatting.counted(receipt.steps, "step"))] if receipt.steps else []
    asked = f"asked for {safe_line(receipt.asked, limit=80)}" if receipt.asked else ""
    ending = safe_line(receipt.ending, limit=40) if message.receipt else ""
    silence = "" if message.text.strip() or message.tool_calls else "empty answer"
    ends = steps + [_next(page, words, "warning") for words in (asked, ending, silence) if words]
    versions = _version(page, message, behind="")
    if not (receipt.is_cut and message.text):
        return [page.row([*left, *ends], versions, kept=len(ends))]
    keys = _key(page, "a", "continue", "resume")
    right = [*keys, ("  ", page.styles["muted"]), *versions] if versions else keys
    if sum(map(width_of, [*left, *ends, right])) + 2 <= page.text_width:
        return [page.row([*left, *ends], right)]
    # the figures are not given up for the keys
    first = [(text.removeprefix(f" {page.icons.dot} "), style) for text, style in ends[0]]
    return [page.row(left, versions), page.row([first, *ends[1:]], keys)]


def receipt_figures(receipt: Receipt) -> list[str]:
    """Return the known figures of a receipt."""
    figures = []
    if receipt.ttft_ms is not None:
        figures.append(f"TTFT {formatting.first_token(receipt.ttft_ms / 1e3)}")
    if receipt.tokens_per_second is not None:
        figures.append(formatting.rate(receipt.tokens_per_second))
    if receipt.completion_tokens is not None:
        figures.append(_token_words(receipt))
    if receipt.elapsed_ms:
        figures.append(formatting.elapsed(receipt.elapsed_ms / 1e3))
    return figures


def _token_words(receipt: Receipt) -> str:
    count = formatting.tokens(receipt.completion_tokens, is_estimated=receipt.is_estimated)
    return f"{count}{formatting.GAP}tok"


def _cut_lines(message: ChatMessage, page: Page) -> list[Line]:
    state: Span = (message.state.value, _NULL)
    if message.state is not AnswerState.STOPPED:
        state = (f"{page.icons.down} {message.state.value}", page.styles["error"])
    receipt = message.receipt or Receipt()
    left = [[state]]
    if receipt.completion_tokens:
        saved = " saved" if page.is_saved else ""
        left.append(_next(page, f"{_token_words(receipt)}{saved}"))
    if message.model:
        left.append(_next(page, safe_line(message.model, limit=80)))
    keys = [*_key(page, "a", "continue  ", "resume"), *_key(page, "e", "edit", "edit")]
    if message.state is AnswerState.FAILED:
        keys = _key(page, "r", "regenerate", "regenerate")
    return [page.row(left, [*keys, *_version(page, message, before="  ", behind="")])]


def _card_lines(message: ChatMessage, failure: Failure, page: Page) -> list[Line]:
    ended = message.created_at + timedelta(
        milliseconds=message.receipt.elapsed_ms if message.receipt else 0
    )
    right = [_time(page, ended)]
    title = safe_line(failure.message, limit=1_000) or safe_line(failure.kind, limit=80) or "Failed"
    style = page.style("error", "strong")
    rows: list[Line] = []
    for part in broken(f"{page.icons.down} {title}", max(page.text_width - width_of(right) - 2, 8)):
        rows.append(page.row([[(part.rstrip(), style)]], () if rows else right, tint="panel"))
    if failure.hint:
        rows += page.wrap([(safe_line(failure.hint, limit=2_000), _NULL)], tint="panel")
    keys = [
        _key(page, "r", "regenerate", "regenerate"),
        [("   ", _NULL), *_key(page, "y", "copy details", "copy")],
    ]
    shown_id = safe_line(failure.failure_id, limit=16)
    right = [(f"error id {shown_id}", page.styles["muted"])] if shown_id else []
    versions = (
        _version(page, message, before="  ", behind="")
        if message.state is AnswerState.FAILED
        else []
    )
    if sum(map(width_of, [*keys, right, versions])) + 2 > page.text_width:
        right = []  # the copied details have it
    rows.append(page.row(keys, [*right, *versions], tint="panel"))
    for row in rows:
        row.bar = "error"
    return rows
