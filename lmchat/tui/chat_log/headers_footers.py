"""The rows that the log itself writes: stats, states, cards, rules, folds.

Functions `…_block` return a block of kind `MADE`, and functions `…_lines` its lines on a page.
Words of servers and users pass through `safe_line`. Stats are the figures of an answer that has
ended.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct
from rich.segment import Segment
from rich.style import Style

from lmchat import units
from lmchat.markdown.block import Block, Kind, Line, Span, made_block, plain_blocks
from lmchat.markdown.code import code_lines, head_line, piece_lines
from lmchat.markdown.wrap import Page, harmless, width_of, wrapped_lines
from lmchat.safe_text import safe_line
from lmchat.servers.answer import Stage, Turn
from lmchat.sessions.attached_files import AttachedFile, split_files
from lmchat.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Failure,
    is_imported_call,
    tool_calls_text,
)
from lmchat.tools.tool import CHOICES

_NULL = Style.null()
_TIME_CELLS = 7  # kept at the right of a prompt: a time and a gap
_RATE_CELLS = 4  # of a rate, which changes too quickly for another width
_LEAST_CELLS = 8  # kept for words however little room there is
_LEAST_NAME_CELLS = 10  # less of a tool's name before the keys of its card is not shown
_CALL_GAP_CELLS = 6  # of the row of a call: its fold sign, and the gaps before and after its state
_NAME_CHARS = 80  # of a model or a tool that are shown
_LONG_NAME_CHARS = 200  # of a file, a tool that asks, or a reason
_ENDING_CHARS = 40  # of the reason why an answer has ended
_FAILURE_ID_CHARS = 16
# of a failure, whose words are wrapped: a server may send any number of them
_TITLE_CHARS = 1_000
_HINT_CHARS = 2_000
_CARD_ROWS = 9  # rows of a folded card: head and arguments; one or two rows of the log follow
_COUNTED_CHARS = 4_000  # of each text of a folded card that are laid out to count its rows
_COUNTED_LINES = 500
_ROW_CHARS = 500  # of a rule or the row of a call; more fit on no screen
_MOST_INDENTED_CHARS = 40_000  # indenting a longer text takes longer than a key may wait
# deeply nested JSON becomes many times longer by blanks, which push its text off the screen
_MOST_GROWTH = 8
_SMALL_CHARS = 2_000  # indented JSON of this length is shown however much it has grown


def rule_block(words: str, *, style: str = "muted") -> Block:
    """Return a block with a thin rule and words in it."""
    text = safe_line(words, limit=_ROW_CHARS)
    return made_block(lambda page: [page.rule(text, style)])


def prompt_blocks(message: ChatMessage, *, is_folded: bool = True) -> list[Block]:
    """Return the blocks of a prompt and its files, on a tint.

    Files that are parts of the message, as images, come first, each always as one row: a click lets
    the screen show them. Text files are within the text: each is its name (an `AttachedFile`), with
    its text below unless the prompt `is_folded`. The first block also shows time and version: only
    that one gets the `message`.
    """
    blocks: list[Block] = []
    for part in message.files:
        details = [units.size_text(part.size, is_exact=True)]
        if part.width:
            details.append(f"{part.width}×{part.height}")
        timed_message = None if blocks else message
        row = partial(
            _file_lines, part.name, details, timed_message, is_folded=True, action="files"
        )
        blocks.append(made_block(row, is_attached=bool(blocks)))

    for piece in split_files(message.text):
        timed_message = None if blocks else message
        if isinstance(piece, AttachedFile):
            details = [units.size_text(piece.size_bytes)]
            row = partial(
                _file_lines, piece.name, details, timed_message, is_folded=is_folded, action="fold"
            )
            blocks.append(made_block(row, is_attached=bool(blocks)))
            if not is_folded:
                blocks += _text_blocks(piece.text)
        elif timed_message is not None:  # the first block, even if it is empty: it has the time
            blocks += _text_blocks(piece, timed_message)
        elif piece.strip():
            blocks += _text_blocks(piece.strip("\n"))
    return blocks


def _text_blocks(text: str, message: ChatMessage | None = None) -> list[Block]:
    """Return the text of a prompt or of a file in it as blocks on a tint.

    With a `message`, the first block shows its time and version. Otherwise the text is below
    another block of the same prompt, without a blank row between them (`is_attached`). The blocks
    are made by the log, but keep their source: it can be searched and copied.
    """
    blocks = list(plain_blocks(harmless(text)))
    for block in blocks:
        timed_message = message if block.is_first else None
        block.kind = Kind.MADE
        block.make = partial(_prompt_lines, block.source, timed_message)
        block.is_attached = timed_message is None
    return blocks


def _file_lines(
    name: str,
    details: Sequence[str],
    message: ChatMessage | None,
    page: Page,
    *,
    is_folded: bool,
    action: str,
) -> list[Line]:
    """Return the row of a file; `action` is the message command that a click on the row runs."""
    left = [
        [*_fold_sign(page, is_folded=is_folded), (safe_line(name, limit=_LONG_NAME_CHARS), _NULL)]
    ]
    # `×` is between width and height of a picture; the icon `down` is that sign, or an ASCII one
    left += [_after_dot(page, detail.replace("×", page.icons.down)) for detail in details]
    row = page.row(left, _version_and_time(page, message), tint="panel")
    row.bar = "faint"
    row.action = action
    return [row]


def _prompt_lines(source: str, message: ChatMessage | None, page: Page) -> list[Line]:
    """Return the wrapped lines of a prompt or a part of it.

    With a `message`, its version and time are at the right of the first line. All lines leave room
    for them, or at least for a time.
    """
    right = _version_and_time(page, message)
    room = max(_TIME_CELLS, width_of(right) + 2)
    lines: list[Line] = []
    for text in source.split("\n"):
        wrapped = wrapped_lines(text, max(page.text_width - room, _LEAST_CELLS))
        for index, words in enumerate(wrapped):
            line = page.row([[(words.rstrip(), _NULL)]], () if lines else right, tint="panel")
            line.text = words
            line.is_wrapped = index < len(wrapped) - 1
            line.bar = "faint"
            lines.append(line)
    return lines


def _version_and_time(page: Page, message: ChatMessage | None) -> list[Span]:
    """Return the version of a message, if there are several, and its time; nothing without one."""
    if message is None:
        return []
    return [*_version_spans(page, message), _time_span(page, message.created_at)]


def _time_span(page: Page, moment: datetime) -> Span:
    """Return when a moment was: today `14:05`, this year `3 May 14:05`, before `3 May 2024`.

    Without `today` on the page, that is always the time of day.
    """
    local = moment.astimezone()
    words = f"{local:%H:%M}"
    if page.today is not None and local.date() != page.today:
        is_this_year = local.year == page.today.year
        words = f"{local.day} {local:%b} {words if is_this_year else local.year}"
    return words, page.styles["muted"]


def _version_spans(
    page: Page, message: ChatMessage, before: str = "", after: str = "  "
) -> list[Span]:
    """Return `< 1/2 >` between the texts `before` and `after`; a click shows the next version.

    Return nothing if there is only one version.
    """
    if message.versions <= 1:
        return []
    words = f"{message.version}/{message.versions}"
    shown = f"{before}{page.icons.before_version}{words}{page.icons.after_version}{after}"
    return [(shown, page.styles["muted"] + Style(meta={"act": "next_version"}))]


def _key_spans(page: Page, key: str, words: str, act: str) -> list[Span]:
    """Return the hint of a key; `act` is the message command that a click on it runs, if any."""
    meta = Style(meta={"act": act})
    return [(key, page.styles["strong"] + meta), (f" {words}", page.styles["muted"] + meta)]


def _after_dot(page: Page, words: str, style: str = "muted") -> list[Span]:
    """Return words after the dot that divides them from those before."""
    return [(f" {page.icons.dot} {words}", page.styles[style])]


def _fold_sign(page: Page, *, is_folded: bool) -> list[Span]:
    """Return the sign before words that a click folds or unfolds."""
    sign = page.icons.folded if is_folded else page.icons.unfolded
    return [(f"{sign} ", page.styles["muted"])]


def remark_block(words: str, style: str = "muted", *, is_attached: bool = False) -> Block:
    """Return a block with a row of a few words of the log; `is_attached`: without a blank row."""
    return made_block(
        lambda page: [page.row([[(words, page.styles[style])]])], is_attached=is_attached
    )


def thought_block(words: str, hint: str = "", *, is_folded: bool) -> Block:
    """Return the block with the row that reasoning is folded into; a hint follows the words."""

    def make(page: Page) -> list[Line]:
        shown = (words.replace("…", page.icons.cut), page.styles["muted"])
        left = [[*_fold_sign(page, is_folded=is_folded), shown]]
        if hint:
            left.append(_after_dot(page, hint))
        line = page.row(left)
        line.action = "fold"
        return [line]

    return made_block(make)


def tool_block(name: str) -> Block:
    """Return the block with the row above the arguments of a call that was not run."""
    words = "calls a tool"
    if name.strip():
        words = f"calls the tool {safe_line(name, limit=_NAME_CHARS)}"
    return made_block(lambda page: [head_line(page, words, has_key=False)])


class CallText(Struct, frozen=True):
    """Arguments or result of a call, and the words above them."""

    heading: str
    text: str
    language: str


def call_texts(message: ChatMessage) -> list[CallText]:
    """Return the arguments and the result of a call, without those that are empty.

    JSON is indented; other text, and JSON that is too long for that or would grow too much, is
    returned as it is.
    """
    texts = []
    arguments = "".join(call.arguments for call in message.tool_calls)
    for heading, text in (("arguments", arguments), ("result", message.tool_result)):
        indented = _indented_json(text)
        if indented:
            texts.append(CallText(heading, indented, "json"))
        elif text:
            texts.append(CallText(heading, text, ""))
    return texts


def _indented_json(text: str) -> str:
    """Return a JSON object or list indented.

    Return an empty text for anything else, and where the text is too long or grows too much.
    """
    if len(text) > _MOST_INDENTED_CHARS:
        return ""
    chars_left = max(len(text) * _MOST_GROWTH, _SMALL_CHARS)
    pieces: list[str] = []
    try:
        value = json.loads(text)
        if not isinstance(value, dict | list):
            return ""
        for piece in json.JSONEncoder(ensure_ascii=False, indent=2).iterencode(value):
            pieces.append(piece)
            chars_left -= len(piece)
            if chars_left < 0:
                return ""
    except (ValueError, RecursionError):  # no JSON, a huge number, or nested too deep
        return ""
    return "".join(pieces)


def call_lines(message: ChatMessage, state: str, is_folded: bool, page: Page) -> list[Line]:
    """Return the row of a call: fold sign, name, arguments and state; its keys at the right.

    `state` says what a call of the running turn does; it is empty for other calls. Name and
    arguments are cut to leave room for the state.
    """
    keys: list[Span] = []
    is_unfinished = message.state in (AnswerState.STOPPED, AnswerState.INTERRUPTED)
    if state:
        keys = _key_spans(page, "Esc", "stop", "stop")
    elif is_unfinished and not is_imported_call(message):
        keys = _key_spans(page, "r", "run again", "regenerate")
    right = [*keys, *_version_spans(page, message, before="  " if keys else "", after="")]

    state_spans = _call_state_spans(page, message, state)
    name, bracket, arguments = safe_line(tool_calls_text(message), limit=_ROW_CHARS).partition("(")
    call: list[Span] = [(name, _NULL), (bracket + arguments, page.styles["muted"])]
    state_room = min(width_of(state_spans), page.text_width * 2 // 5)  # at most two fifths
    room = page.text_width - width_of(right) - state_room - _CALL_GAP_CELLS
    call = page.fit(call, min(width_of(call), max(room, _LEAST_CELLS)))
    left = [*_fold_sign(page, is_folded=is_folded), *call, ("  ", _NULL), *state_spans]
    row = page.row([left], right)
    row.action = "fold"
    return [row]


def _call_state_spans(page: Page, message: ChatMessage, state: str) -> list[Span]:
    """Return the state of a call.

    That is what a call that runs does, the time and size of a result, or why it has no result.
    """
    match message.state:
        case AnswerState.STREAMING:
            # without a state, it is no call of this lmchat
            return [(state or "in another lmchat", _NULL)]
        case AnswerState.COMPLETE:
            size_bytes = len(message.tool_result.encode(errors="replace"))
            size = units.size_text(size_bytes, is_exact=True)
            if message.stats is None:  # imported: other programs do not save the time
                return [(size, page.styles["muted"])]
            elapsed = units.exact_time(message.stats.elapsed_ms / 1e3)
            return [(elapsed, page.styles["muted"]), *_after_dot(page, size)]
        case AnswerState.STOPPED:
            word: Span = ("stopped", _NULL)
        case _:
            word = (f"{page.icons.down} {message.state.value}", page.styles["error"])
    reason = safe_line(message.tool_result, limit=_LONG_NAME_CHARS)
    return [word, *_after_dot(page, reason)] if reason else [word]


def question_block(message: ChatMessage) -> Block:
    """Return the block of the folded card that asks whether a tool may run."""
    return made_block(partial(_question_lines, message))


def question_blocks(message: ChatMessage, pieces: Sequence[Block]) -> list[Block]:
    """Return the blocks of the unfolded card; `pieces` are the arguments as blocks of code.

    Each of these blocks is made by the log, but keeps the source of its piece: it can be searched
    and copied.
    """
    blocks = [made_block(partial(_question_head, message))]
    for piece in pieces:
        block = made_block(partial(_question_code, piece), is_attached=True)
        block.source = piece.source
        block.info = piece.info
        blocks.append(block)
    blocks.append(made_block(partial(_question_keys, message), is_attached=True))
    return blocks


def _question_lines(message: ChatMessage, page: Page) -> list[Line]:
    """Return the lines of the folded card: head, first rows of the arguments, and keys.

    If rows are hidden, a row says how many. Of long arguments, only a part is laid out to be
    counted, and the number ends with `+`.
    """
    rows: list[Line] = []
    is_cut = False  # whether some text is not laid out and counted
    for text in call_texts(message):
        lines = text.text[:_COUNTED_CHARS].split("\n", _COUNTED_LINES)
        beginning = "\n".join(lines[:_COUNTED_LINES])
        is_cut = is_cut or len(beginning) < len(text.text)
        rows += code_lines(page, beginning, text.language, is_first=False)

    shown_rows = _CARD_ROWS - 1  # one row is the head
    hidden = len(rows) - shown_rows
    if hidden > 0:
        words = f"{hidden:,}+ more lines" if is_cut else units.counted(hidden, "more line")
        more = [*_fold_sign(page, is_folded=True), (words, _NULL)]
        unfold = _key_spans(page, "Enter", "unfold", "fold")
        rows[shown_rows:] = [page.row([more], unfold, tint="panel")]
    return [
        *_question_head(message, page),
        *_put_on_card(rows, page),
        *_question_keys(message, page),
    ]


def _question_head(message: ChatMessage, page: Page) -> list[Line]:
    """Return the first row of a card: which tool wants to run."""
    words = [("! ", page.styles["warning"]), _tool_name(message, page), (" wants to run", _NULL)]
    return _put_on_card([page.row([words], tint="panel")], page)


def _question_code(piece: Block, page: Page) -> list[Line]:
    """Return the lines of a block of code on a card."""
    return _put_on_card(piece_lines(page, piece, ()), page)


def _question_keys(message: ChatMessage, page: Page) -> list[Line]:
    """Return the last row of a card, which asks the user.

    It shows how to focus the card, or with the focus, the keys that decide. The name of the tool is
    repeated: with long arguments, the first row is off the screen.
    """
    keys = [_key_spans(page, key, words + "   ", key) for key, words in CHOICES.items()]
    room = page.text_width - sum(map(width_of, keys))
    name = _fitted_name(page, _tool_name(message, page), room)
    focus_key = _key_spans(page, f"Alt+{page.icons.up_arrow}", "answer", "")
    row = page.row([name, focus_key], tint="panel")
    row.hint = page.row([name, *keys], tint="panel").segments
    return _put_on_card([row], page)


def _tool_name(message: ChatMessage, page: Page) -> Span:
    name = safe_line(message.tool_calls[0].name, limit=_LONG_NAME_CHARS)
    return name, page.styles["strong"]


def _put_on_card(rows: list[Line], page: Page) -> list[Line]:
    """Change rows to those of a card, with its tint and bar; return them."""
    for row in rows:
        # the free cell before the text, which in rows of code has no tint
        row.segments[0] = Segment(" ", page.styles["panel"])
        row.tint = "panel"
        row.bar = "warning"
    return rows


def _fitted_name(page: Page, name: Span, room: int) -> list[Span]:
    """Return `NAME? ` in at most `room` cells, or nothing if that is too little.

    A name that is too long is cut.
    """
    if room < _LEAST_NAME_CELLS:
        return []
    question_mark: Span = ("? ", _NULL)
    name_room = room - width_of([question_mark])
    return [*page.fit([name], min(width_of([name]), name_room)), question_mark]


def state_block(turn: Turn | None, now_s: float, *, retry_in_s: float = 0.0) -> Block:
    """Return the block with the row under a running answer: its state and figures at `now_s`.

    `now_s` is a time of the monotonic clock. A retry begins in `retry_in_s` seconds. Without a
    turn, the answer waits to be sent.
    """

    def make(page: Page) -> list[Line]:
        left: list[list[Span]] = [[(Stage.WAITING.value, _NULL)]]
        if turn is not None:
            left = _state_spans(page, turn, now_s, retry_in_s)
        return [page.row(left, _key_spans(page, "Esc", "stop", "stop"))]

    return made_block(make)


def _state_spans(page: Page, turn: Turn, now_s: float, retry_in_s: float) -> list[list[Span]]:
    """Return the state of a turn in pieces, of which the last are dropped on a narrow page."""
    warning = page.styles["warning"]
    clock = ("  " + units.elapsed(max(turn.elapsed_s(now_s), 0.0)), page.styles["strong"])
    match turn.stage:
        case Stage.RETRYING if turn.retry is not None:
            retry = turn.retry
            wait = units.elapsed(max(retry_in_s, 0.0))
            words = f"retry {retry.attempt}/{retry.attempts} in {wait}"
            reason = safe_line(retry.reason, limit=_LONG_NAME_CHARS)
            return [[(words, warning)], _after_dot(page, reason)]
        case Stage.LOADING | Stage.READING:
            return [[(turn.stage.value + units.so_far(turn.fraction), _NULL), clock]]
        case Stage.STALLED:
            stalled = f"stalled {units.elapsed(turn.silent_s)}"
            return [[(stalled, warning)], *_token_spans(page, turn)]
        case _:
            return [[(turn.stage_word, _NULL), clock], *_token_spans(page, turn)]


def _token_spans(page: Page, turn: Turn) -> list[list[Span]]:
    """Return the rate, if it is known, and the tokens so far; nothing before the first token."""
    if turn.first_token_s is None:
        return []
    figures = [units.tokens(turn.tokens) + units.GAP + "tok"]
    if turn.tokens_per_second is not None:
        figures.insert(0, units.rate(turn.tokens_per_second, width=_RATE_CELLS))
    return [_after_dot(page, figure) for figure in figures]


def end_blocks(message: ChatMessage) -> list[Block]:
    """Return the blocks below an answer that has ended: stats, or state and card of a failure.

    A complete answer has stats, unless it has neither figures nor a model, as an imported one.
    A failed answer has only the card, or only the state if it is not known why it failed. A stopped
    or interrupted answer has the state, and the card if there was a failure.
    """
    failure = message.failure
    if message.state is AnswerState.COMPLETE:
        has_stats = message.stats is not None or bool(message.model)
        return [made_block(partial(_stats_lines, message))] if has_stats else []
    blocks = []
    if message.state is not AnswerState.FAILED or failure is None:
        blocks.append(made_block(partial(_unfinished_lines, message)))
    if failure is not None:
        blocks.append(made_block(partial(_failure_lines, message, failure)))
    return blocks


def _stats_lines(message: ChatMessage, page: Page) -> list[Line]:
    """Return the stats of a complete answer: model, figures, and what is unusual about it.

    If the answer has text and may lack its end, the key that continues it is at the right. Where
    one row has no room for all, figures are dropped. But stats with this key, or of an answer
    that was continued while lmchat was away, gets a second row, with what is unusual and the key.
    """
    stats = message.stats or AnswerStats()
    model = safe_line(message.model, limit=_NAME_CHARS) or "answer"
    left: list[list[Span]] = [[(model, page.styles["muted"])]]
    left += [_after_dot(page, figure) for figure in stats_figures(stats)]
    ends = _ending_spans(message, page)
    versions = _version_spans(page, message, after="")
    can_continue = stats.is_unfinished and bool(message.text)
    may_have_two_rows = can_continue or stats.was_away
    if not may_have_two_rows:
        return [page.row([*left, *ends], versions, kept=len(ends))]

    keys = _key_spans(page, "a", "continue", "resume") if can_continue else []
    right = [*keys, ("  ", page.styles["muted"]), *versions] if versions else keys
    if sum(map(width_of, [*left, *ends, right])) + 2 <= page.text_width:
        return [page.row([*left, *ends], right)]
    # `ends` is not empty: that the answer was cut, edited or continued is in it
    # the second row begins without the dot before its words
    first_end = [(text.removeprefix(f" {page.icons.dot} "), style) for text, style in ends[0]]
    return [page.row(left, versions), page.row([first_end, *ends[1:]], keys)]


def _ending_spans(message: ChatMessage, page: Page) -> list[list[Span]]:
    """Return what is unusual about an answer, in pieces, which stay when there is little room."""
    stats = message.stats or AnswerStats()
    ends = []
    if stats.is_edited:
        ends.append(_after_dot(page, "edited"))
    if stats.was_away:
        ends.append(_after_dot(page, "continued while you were away"))
    if stats.steps:
        ends.append(_after_dot(page, units.counted(stats.steps, "step")))
    if stats.asked:
        asked = f"asked for {safe_line(stats.asked, limit=_NAME_CHARS)}"
        ends.append(_after_dot(page, asked, "warning"))
    # without stats, as of an imported answer, it is not known why it ended
    ending = safe_line(stats.ending, limit=_ENDING_CHARS) if message.stats else ""
    if ending:
        ends.append(_after_dot(page, ending, "warning"))
    if not message.text.strip() and not message.tool_calls:
        ends.append(_after_dot(page, "empty answer", "warning"))
    return ends


def stats_figures(stats: AnswerStats) -> list[str]:
    """Return the figures of stats that are known, as words."""
    figures = []
    if stats.ttft_ms is not None:
        figures.append(f"TTFT {units.exact_time(stats.ttft_ms / 1e3)}")
    if stats.tokens_per_second is not None:
        figures.append(units.rate(stats.tokens_per_second))
    if stats.completion_tokens is not None:
        figures.append(_token_words(stats))
    if stats.elapsed_ms:
        figures.append(units.elapsed(stats.elapsed_ms / 1e3))
    return figures


def _token_words(stats: AnswerStats) -> str:
    count = units.tokens(stats.completion_tokens, is_estimated=stats.is_estimated)
    return f"{count}{units.GAP}tok"


def _unfinished_lines(message: ChatMessage, page: Page) -> list[Line]:
    """Return the row of a stopped, interrupted or failed answer, with the keys that continue it.

    A failed answer can only be generated again.
    """
    state: Span = (message.state.value, _NULL)
    if message.state is not AnswerState.STOPPED:
        state = (f"{page.icons.down} {message.state.value}", page.styles["error"])
    left = [[state]]
    stats = message.stats or AnswerStats()
    if stats.completion_tokens:
        saved = " saved" if page.is_saved else ""
        left.append(_after_dot(page, f"{_token_words(stats)}{saved}"))
    if message.model:
        left.append(_after_dot(page, safe_line(message.model, limit=_NAME_CHARS)))

    keys = [*_key_spans(page, "a", "continue  ", "resume"), *_key_spans(page, "e", "edit", "edit")]
    if message.state is AnswerState.FAILED:
        keys = _key_spans(page, "r", "regenerate", "regenerate")
    return [page.row(left, [*keys, *_version_spans(page, message, before="  ", after="")])]


def _failure_lines(message: ChatMessage, failure: Failure, page: Page) -> list[Line]:
    """Return the lines of the card of a failure: title, next step and keys.

    The id of the error is shown if there is room for it.
    """
    rows = _failure_title(message, failure, page)
    if failure.hint:
        rows += page.wrap([(safe_line(failure.hint, limit=_HINT_CHARS), _NULL)], tint="panel")

    keys = [
        _key_spans(page, "r", "regenerate", "regenerate"),
        [("   ", _NULL), *_key_spans(page, "y", "copy details", "copy")],
    ]
    versions: list[Span] = []
    if message.state is AnswerState.FAILED:  # of others, the row above the card has them
        versions = _version_spans(page, message, before="  ", after="")
    error_id: list[Span] = []
    if failure.failure_id:
        words = f"error id {safe_line(failure.failure_id, limit=_FAILURE_ID_CHARS)}"
        error_id = [(words, page.styles["muted"])]
    if sum(map(width_of, [*keys, error_id, versions])) + 2 > page.text_width:
        error_id = []  # the copied details have it
    rows.append(page.row(keys, [*error_id, *versions], tint="panel"))
    for row in rows:
        row.bar = "error"
    return rows


def _failure_title(message: ChatMessage, failure: Failure, page: Page) -> list[Line]:
    """Return the wrapped message of a failure, with the time at which the answer ended.

    Without a message, the title is the failure's kind.
    """
    elapsed_ms = message.stats.elapsed_ms if message.stats else 0
    right = [_time_span(page, message.created_at + timedelta(milliseconds=elapsed_ms))]
    kind = safe_line(failure.kind, limit=_NAME_CHARS)
    title = safe_line(failure.message, limit=_TITLE_CHARS) or kind or "Failed"
    style = page.style("error", "strong")
    rows: list[Line] = []
    room = max(page.text_width - width_of(right) - 2, _LEAST_CELLS)
    for words in wrapped_lines(f"{page.icons.down} {title}", room):
        rows.append(page.row([[(words.rstrip(), style)]], () if rows else right, tint="panel"))
    return rows
