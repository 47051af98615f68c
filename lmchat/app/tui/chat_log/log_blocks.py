"""The rows that the log itself writes: stats, states, cards, rules, folds.

They are blocks of kind `CUSTOM`, or `GAP` for the middle of a long text: functions `…_block` return
one, functions `…_lines` its lines. Texts of servers and users pass through `safe_line`. Spans at
the right of a row start with two blanks. The last argument of `key_hint` and `clickable` names what
a click does. No row is wrapped at a `units.GAP`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import partial

from msgspec import Struct
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from lmchat.app.cells import split_at_cell
from lmchat.app.commands.table import BY_ID, TOOL_CHOICES
from lmchat.app.markdown_lines.block import Block, Kind, Line, Span, custom_block, plain_blocks
from lmchat.app.markdown_lines.code import code_lines, head_line
from lmchat.app.markdown_lines.page import Page, clickable
from lmchat.app.markdown_lines.wrap import harmless, width_of
from lmchat.app.tui.chat_log.excerpt import excerpt_of, is_long
from lmchat.base import units
from lmchat.base.safe_text import marked_line, safe_line, without_controls
from lmchat.base.units import SIGNS, counted
from lmchat.core.answers.live_stats import LiveStats, Stage
from lmchat.core.sessions.message import (
    AnswerState,
    AnswerStats,
    ChatMessage,
    Failure,
    FilePart,
    answer_note,
    has_text_to_continue,
    is_continuable,
    is_imported_call,
    tool_calls_text,
    was_prompt_too_long,
)
from lmchat.core.sessions.prompts import Prompt

_NULL = Style.null()
_RATE_CELLS = 4  # a rate is padded, so that the row does not jump
_FOLD_CELLS = 4  # of the sign before a thought, and the gap before that
_LEAST_NAME = 8  # cells for the name of a model beside its thought
_NAME_CHARS = 80  # shown of the name of a model or a tool
_LONG_NAME_CHARS = 200  # shown of the name of a file or of a tool that asks, or of a reason
_FOR_SCRIPTS = "Streaming failed: "  # scripts look for it; the card itself says that much
_FAILURE_CHARS = 2_000  # of each text of a failure: servers send texts of any length
_ROW_CHARS = 500  # in a rule or the row of a call; more fit on no screen
_MOST_JSON_CHARS = 40_000  # indenting a longer text takes longer than a key may wait
_MOST_INDENTED_CHARS = 200_000  # indented, deeply nested JSON is many times longer


Draw = Callable[[Page], Iterable[Line]]


class Thought(Struct, frozen=True):
    """Words that fold reasoning."""

    label: str  # such as `thought for 12 s`
    hint: str  # the key that ends the thought, and what it does; empty if no key can
    is_collapsed: bool


def rule_block(label: str, *, style: str = "muted") -> Block:
    text = safe_line(label, limit=_ROW_CHARS)
    return custom_block(lambda page: [page.rule([(text, page.styles[style])])])


def name_lines(model: str, thought: Thought | None, is_switch: bool, page: Page) -> list[Line]:
    """Return the row with the model's name and its first thought; a rule after another model."""
    is_path = "/" in model or "\\" in model
    model = safe_line(model, limit=None if is_path else _NAME_CHARS)
    beside_name = page.text_width - cell_len(model)
    right = [("  ", _NULL), *_thought_spans(page, thought, beside_name)] if thought else []
    # on a narrow page, the name is cut: the fold sign is what shows that there is a thought
    room = page.text_width - width_of(right)
    excess = cell_len(model) - min(room, _NAME_CHARS)
    if excess > 0 and room >= _LEAST_NAME and is_path:  # its end tells models apart
        model = SIGNS.cut + split_at_cell(model, excess + 1)[1]
    name = [(model, page.styles["name"])]
    if width_of(name) > room >= _LEAST_NAME:
        name = page.fit(name, room)
    spans = [*name, *right]
    return [page.rule(spans) if is_switch else page.fitted_row([spans])]


def prompt_blocks(message: ChatMessage) -> list[Block]:
    """Return the blocks of a prompt and its files, on a tint.

    Only the first block gets the `message`, as it also shows time and version.
    """
    rows: list[Block | FilePart] = []
    for piece in Prompt(message.text, message.files).pieces:
        if isinstance(piece, FilePart):
            rows.append(piece)
        elif piece.strip():
            rows += shown_plainly(piece.strip("\n"))

    blocks: list[Block] = []
    for row in rows or plain_blocks(""):  # an empty prompt has a row, too
        timed_message = None if blocks else message
        if isinstance(row, FilePart):
            block = custom_block(
                partial(_on_panel, "faint", partial(_file_row, row, timed_message))
            )
        else:
            block = row
            _put_on_panel(block, "faint", partial(_prompt_lines, block.source, timed_message))
        block.is_attached = bool(blocks)
        blocks.append(block)
    return blocks


def shown_plainly(text: str) -> Iterator[Block]:
    """Yield the blocks of a plain text; of a long one, those of its beginning and its end."""
    text = without_controls(text)
    if not is_long(text):
        yield from plain_blocks(text)
        return
    excerpt = excerpt_of(text)
    yield from plain_blocks(excerpt.beginning.rstrip("\n"))
    yield gap_block(excerpt.middle.removesuffix("\n"))
    yield from plain_blocks(excerpt.end)


def gap_block(middle: str) -> Block:
    """`middle` is the source of the row in its place."""
    return Block(Kind.GAP, middle, make=partial(_gap_lines, middle))


def _gap_lines(middle: str, page: Page, *, tint: str = "base") -> list[Line]:
    ends = middle.removesuffix("\n").count("\n")
    text = counted(ends + 1, "line") if ends else counted(len(middle), "character")
    left = [(f"{SIGNS.cut} {text}", page.muted)]
    return page.row(left, keys=page.key_hint("o", "opens all", "message.pager"), tint=tint)


def _file_row(file: FilePart, message: ChatMessage | None, page: Page) -> list[Line]:
    """With the prompt as `message`, the row has version and time; a click on it shows the file."""
    text = safe_line(file.label, limit=_LONG_NAME_CHARS)
    left = _fold_spans(page, [(text, _NULL)], is_collapsed=True)
    return page.row(left, _version_and_time(page, message), tint="panel")


def _prompt_lines(source: str, message: ChatMessage | None, page: Page) -> list[Line]:
    """`message` is the prompt in its first part, whose first line has version and time."""
    right = _version_and_time(page, message)
    lines: list[Line] = []
    for text in harmless(source).split("\n"):
        lines += page.wrap([(text, _NULL)], right=right, tint="panel")
        right = page.fit([], width_of(right))  # blanks, as wide as before
    return lines


def _put_on_panel(block: Block, bar: str, draw: Draw) -> None:
    """Let a block of text be a part of a prompt or card.

    It keeps its source, so that it can be searched and copied.
    """
    if block.kind is Kind.GAP:
        draw = partial(_gap_lines, block.source, tint="panel")
    else:
        block.kind = Kind.CUSTOM
    block.make = partial(_on_panel, bar, draw)


def _on_panel(bar: str, draw: Draw, page: Page) -> list[Line]:
    """Return rows of a prompt or card, already on the tint `panel`, with a bar in style `bar`."""
    lines = list(draw(page))
    for row in lines:
        row.segments[0] = Segment(" ", page.styles["panel"])  # beside the bar
        row.left_tint = "panel"
        row.bar = bar
    return lines


def _version_and_time(page: Page, message: ChatMessage | None) -> list[Span]:
    if message is None:
        return []
    return [*_version_spans(page, message), _time_span(page, message.created_at)]


def _time_span(page: Page, moment: datetime) -> Span:
    """Return when a moment was: today `14:05`, this year `3 May 14:05`, before `3 May 2024`.

    If the page has no `today`, return the time of day alone.
    """
    local = moment.astimezone()
    text = f"{local:%H:%M}"
    if page.today is not None and local.date() != page.today:
        is_this_year = local.year == page.today.year
        text = f"{local.day} {local:%b} {text if is_this_year else local.year}"
    return f"  {text}", page.muted


def _version_spans(page: Page, message: ChatMessage) -> list[Span]:
    """Return `‹1/2›`; a click on it shows the next version. Return nothing if there is only one."""
    if message.versions <= 1:
        return []
    text = f"{message.version}/{message.versions}"
    shown = f"  {SIGNS.before_version}{text}{SIGNS.after_version}"
    return clickable([(shown, page.muted)], "message.next_version")


def _after_dot(page: Page, text: str) -> Span:
    """Return words behind a dot; the row may be wrapped behind it, but not before it."""
    return f"{units.GAP}{SIGNS.dot} {text}", page.muted


def _fold_spans(page: Page, spans: Sequence[Span], *, is_collapsed: bool) -> list[Span]:
    sign = SIGNS.folded if is_collapsed else SIGNS.unfolded
    return clickable([(f"{sign} ", page.muted), *spans], "message.fold")


def remark_block(text: str, style: str = "muted", *, is_attached: bool = False) -> Block:
    return custom_block(
        lambda page: page.row([(text, page.styles[style])]), is_attached=is_attached
    )


def thought_block(thought: Thought) -> Block:
    """Return the row of a thought that is not the first of its answer."""
    return custom_block(
        lambda page: [page.fitted_row([_thought_spans(page, thought, page.text_width)])]
    )


def _thought_spans(page: Page, thought: Thought, room: int) -> list[Span]:
    """The hint is whole, or left out."""
    spans = [(thought.label, page.muted)]
    hint = _after_dot(page, thought.hint)
    if thought.hint and width_of([*spans, hint]) + _FOLD_CELLS <= room:
        spans.append(hint)
    return _fold_spans(page, spans, is_collapsed=thought.is_collapsed)


def tool_block(name: str) -> Block:
    """Return the row above the arguments of a call that is not run, or not yet."""
    text = f"calls the tool {safe_line(name, limit=_NAME_CHARS)}"
    # no code block of the answer: no key copies them
    return custom_block(lambda page: [head_line(page, text, has_copy_key=False)])


class CallText(Struct, frozen=True):
    """Arguments or result of a call."""

    heading: str  # `arguments` or `result`
    text: str
    language: str  # `json`, or empty for other text


def call_texts(message: ChatMessage) -> list[CallText]:
    """Return the arguments and the result of a call, without empty ones; JSON is indented."""
    texts = []
    arguments = "".join(call.arguments for call in message.tool_calls)
    for heading, text in (("arguments", arguments), ("result", message.tool_result)):
        indented = _indented_json(text)
        if indented:
            texts.append(CallText(heading, indented, "json"))
        elif text:
            texts.append(CallText(heading, text, ""))
    return texts


def marked_code(code: CallText) -> str:
    """Return the text for a question about it; lines stay lines, and JSON is indented."""
    marked = "[^ \n].*" if code.language else ".+"
    return re.sub(marked, lambda line: marked_line(line[0]), code.text)


def _indented_json(text: str) -> str:
    """Return "" for all but a JSON object or array, and if it is too long."""
    if len(text) > _MOST_JSON_CHARS:
        return ""
    try:
        parsed = json.loads(text)
        indented = json.dumps(parsed, ensure_ascii=False, indent=2)
    except (ValueError, RecursionError):  # no JSON, a huge number, or nested too deep
        return ""
    is_short = len(indented) <= _MOST_INDENTED_CHARS
    return indented if is_short and isinstance(parsed, dict | list) else ""


def call_lines(message: ChatMessage, state: str, is_collapsed: bool, page: Page) -> list[Line]:
    """Return the row of a call. `state` is empty but for calls of the running turn."""
    # `NAME(ARGUMENTS)`
    name, bracket, arguments = safe_line(tool_calls_text(message), limit=_ROW_CHARS).partition("(")
    call: list[Span] = [(name, _NULL), (bracket + arguments, page.muted)]
    state_spans = _call_state_spans(page, message, state)
    if width_of(state_spans) > page.text_width // 2:  # why it failed, which may be long
        state_spans = page.fit(state_spans, page.text_width // 2)
    right = [[("  ", _NULL), *state_spans], _version_spans(page, message)]
    keys = None
    is_unfinished = message.state in (AnswerState.STOPPED, AnswerState.INTERRUPTED)
    if state:
        right.append(page.key_hint("Esc", "stop", "stop"))
    elif is_unfinished and not is_imported_call(message):  # a call of another program cannot be run
        keys = [*right, page.key_hint("r", "run again", "message.regenerate")]
    return [page.fitted_row([_fold_spans(page, call, is_collapsed=is_collapsed)], right, keys=keys)]


def _call_state_spans(page: Page, message: ChatMessage, state: str) -> list[Span]:
    match message.state:
        case AnswerState.STREAMING:
            # a call without a state runs in another lmchat: this one would have set it
            return [(state or "in another lmchat", _NULL)]
        case AnswerState.COMPLETE:
            size_bytes = len(message.tool_result.encode(errors="replace"))
            size = units.size_text(size_bytes, is_exact=True)
            if message.stats is None:  # other programs do not save the time
                return [(size, page.muted)]
            elapsed = units.exact_time(message.stats.elapsed_ms)
            return [(elapsed, page.muted), _after_dot(page, size)]
        case _:
            reason = safe_line(message.tool_result, limit=_LONG_NAME_CHARS)
            word = _state_span(page, message.state)
            return [word, _after_dot(page, reason)] if reason else [word]


def _state_span(page: Page, state: AnswerState) -> Span:
    """Return the word for the end of an incomplete answer or call; for a fault, after a cross."""
    if state is AnswerState.STOPPED:  # no fault
        return state.value, _NULL
    return f"{SIGNS.failed} {state.value}", page.styles["error"]


def question_blocks(message: ChatMessage, pieces: Sequence[Block], choice: str) -> list[Block]:
    """Return the card that asks whether a tool may run; `pieces` are its arguments as code.

    `choice` is the command of its answer that is chosen, if one is.
    """
    for piece in pieces:
        # not `is_first`: without a row for the language
        code = partial(code_lines, code=piece.source, info=piece.info, is_first=False)
        _put_on_panel(piece, "warning", code)
        piece.is_attached = True
    question = partial(_question_lines, message, choice)
    return [custom_block(partial(_on_panel, "warning", question)), *pieces]


def _question_lines(message: ChatMessage, choice: str, page: Page) -> list[Line]:
    """Return the question of a card, and a row of keys.

    The keys are above the arguments, since a long card is shown from its beginning.
    """
    name = marked_line(safe_line(message.tool_calls[0].name, limit=_LONG_NAME_CHARS))
    question = [
        ("! ", page.styles["warning"]),
        (name, page.styles["strong"]),
        (" wants to run", _NULL),
    ]
    hints: list[list[Span]] = []
    for command_id in TOOL_CHOICES:
        command = BY_ID[command_id]
        (key, style), (words, muted) = page.key_hint(
            command.keys.upper(), command.label, command_id
        )
        chosen = page.styles["cursor"] if command_id == choice else _NULL
        hints.append([("  ", _NULL), (key.lstrip(), style + chosen), (words, muted + chosen)])
    while hints[2:] and sum(map(width_of, hints)) > page.text_width:
        hints.pop()  # the no and a yes stay
    keys = page.line([span for hint in hints for span in hint], tint="panel")
    return [*page.row(question, tint="panel"), keys]


def state_lines(stats: LiveStats | None, now_s: float, page: Page) -> list[Line]:
    """Return the row under a running answer: its state and stats at monotonic `now_s`."""
    pieces: list[list[Span]] = [[(Stage.WAITING.value, _NULL)]]
    if stats is not None:
        pieces = _state_pieces(page, stats, now_s)
    # Esc unless the user has another key
    return [page.fitted_row(pieces, [page.key_hint("Esc", "stop", "stop")])]


def _state_pieces(page: Page, stats: LiveStats, now_s: float) -> list[list[Span]]:
    warning = page.styles["warning"]
    clock = ("  " + units.elapsed(max(stats.elapsed_s(now_s), 0.0)), page.styles["strong"])
    match stats.stage:
        case Stage.RETRYING if stats.retry is not None:
            reason = safe_line(stats.retry.reason, limit=_LONG_NAME_CHARS)
            text = stats.stage_label(now_s)
            return [[(text, warning)], [_after_dot(page, reason)]]
        case Stage.STARTING | Stage.LOADING | Stage.READING:
            return [[(stats.stage_label(now_s), _NULL), clock]]
        case Stage.STALLED:
            pieces = [[(f"stalled {units.elapsed(stats.silent_s)}", warning)]]
        case _:
            pieces = [[(stats.stage.value, _NULL), clock]]
    if stats.first_token_s is not None:
        if stats.tokens_per_second is not None:
            rate = units.rate(stats.tokens_per_second, width=_RATE_CELLS)
            pieces.append([_after_dot(page, rate)])
        tokens = f"{units.whole_number(stats.completion_tokens)}{units.GAP}tok"
        pieces.append([_after_dot(page, tokens)])
    return pieces


def end_blocks(message: ChatMessage, *, is_last: bool) -> list[Block]:
    """Return the block below an answer that has ended: its receipt, or the card of its failure.

    A complete answer of which nothing is known, like an imported one, has none. Under the last
    answer of the log, commands are offered that continue it.
    """
    if message.state is not AnswerState.COMPLETE and message.failure is not None:
        card = partial(_failure_lines, message, message.failure, is_last)
        return [custom_block(partial(_on_panel, "error", card))]
    has_row = (
        message.state is not AnswerState.COMPLETE
        or message.stats is not None
        or message.versions > 1
        or not (message.text.strip() or message.tool_calls)
    )
    return [custom_block(partial(_receipt_lines, message, is_last))] if has_row else []


def _receipt_lines(message: ChatMessage, is_last: bool, page: Page) -> list[Line]:
    """Return the row under an answer, and a note if its text alone does not show what happened."""
    stats = message.stats or AnswerStats()
    note = answer_note(message) if message.state is AnswerState.COMPLETE else ""
    pieces: list[list[Span]] = []
    if message.state is AnswerState.COMPLETE:
        words = _warnings(message, stats, has_note=bool(note))
        pieces += [[(warning, page.styles["warning"])] for warning in words]
        pieces += [[(figure, page.muted)] for figure in _figures(stats)]
    else:
        pieces.append([_state_span(page, message.state)])
        if stats.completion_tokens:
            pieces.append([(_token_text(stats), page.muted)])
    for piece in pieces[1:]:
        piece.insert(0, _after_dot(page, ""))

    versions = _version_spans(page, message)
    right = [versions]
    keys = None
    if is_continuable(message):
        keys = [*_letters(page, message), versions]
        if is_last:
            right = [*_offers(page, message), versions]
    note_rows = page.row([(note, page.styles["warning"])]) if note else []
    return [page.fitted_row(pieces, right, keys=keys), *note_rows]


def _warnings(message: ChatMessage, stats: AnswerStats, *, has_note: bool) -> list[str]:
    words: list[str] = []
    # the default stats have an `ending` too, but nobody knows why an imported answer ended
    if message.stats and stats.ending:
        is_limit = stats.is_cut and stats.limit is None  # the finish reason names none
        words.append("length limit" if is_limit else safe_line(stats.ending, limit=_NAME_CHARS))
    if stats.is_prompt_cut:
        words.append("a part of the prompt was left out")
    if stats.asked:  # another model has answered
        words.append(f"asked for {safe_line(stats.asked, limit=_NAME_CHARS)}")
    if not message.text.strip() and not message.tool_calls and not has_note:
        words.append("empty answer")
    return words


def _figures(stats: AnswerStats) -> list[str]:
    """Return the stats of a complete answer, the most telling ones first."""
    figures = []
    if stats.tokens_per_second is not None:
        figures.append(units.rate(stats.tokens_per_second))
    elapsed = units.elapsed(stats.elapsed_ms / 1e3) if stats.elapsed_ms else ""
    if stats.completion_tokens is not None:
        figures.append(_token_text(stats) + (f" in {elapsed}" if elapsed else ""))
    if stats.ttft_ms is not None:
        figures.append(f"first token {units.exact_time(stats.ttft_ms)}")
    if stats.is_edited:
        figures.append("edited")
    if stats.steps:  # rounds of tool calls before this answer
        figures.append(units.counted(stats.steps, "step"))
    return figures


def _token_text(stats: AnswerStats) -> str:
    count = units.whole_number(stats.completion_tokens, is_estimated=stats.is_estimated)
    return f"{count}{units.GAP}tok"


def _offers(page: Page, message: ChatMessage) -> list[list[Span]]:
    """Return what continues the last answer from the prompt; a click does it, too."""
    if was_prompt_too_long(message):
        return [clickable([("  /edit", page.styles["strong"])], "message.edit")]
    offers: list[list[Span]] = []
    if has_text_to_continue(message):
        words = [("  /continue", page.styles["strong"]), (" ", _NULL)]
        offers.append(clickable(words, "message.resume"))
    key = page.user_keys.get("retry") or "^R"
    hint = [(f"  {key}", page.styles["strong"]), (" retry", page.muted)]
    return [*offers, clickable(hint, "message.regenerate")]


def _letters(page: Page, message: ChatMessage) -> list[list[Span]]:
    """Return the keys that continue a focused answer; in the prompt, they would type letters."""
    hints: list[list[Span]] = []
    if has_text_to_continue(message):
        hints.append(page.key_hint("a", "continue", "message.resume"))
    if message.state is not AnswerState.COMPLETE:
        if not was_prompt_too_long(message):
            hints.append(page.key_hint("r", "retry", "message.regenerate"))
        hints.append(page.key_hint("e", "edit prompt", "message.edit"))
    return hints


def _failure_lines(message: ChatMessage, failure: Failure, is_last: bool, page: Page) -> list[Line]:
    """Return the card of a failure: what happened and when, what is saved, what helps, its id."""
    # the time when the answer ended, if that is known
    elapsed_ms = message.stats.elapsed_ms if message.stats else 0
    time = _time_span(page, message.created_at + timedelta(milliseconds=elapsed_ms))
    failure_text = safe_line(failure.message or failure.kind, limit=_FAILURE_CHARS) or "Failed"
    if failure_text.startswith(_FOR_SCRIPTS):
        failure_text = failure_text.removeprefix(_FOR_SCRIPTS)
        if failure_text.partition(" ")[0].isalpha():  # and not an address
            failure_text = failure_text[:1].upper() + failure_text[1:]
    title = (f"{SIGNS.failed} {failure_text}", page.style("error", "strong"))
    # where the title would be wrapped for the time alone, the time goes
    has_room = not page.text_width - width_of([time]) < width_of([title]) <= page.text_width
    rows = [*page.wrap([title], right=[time] if has_room else (), tint="panel")]
    hint = safe_line(failure.hint, limit=_FAILURE_CHARS)
    if text := " ".join(filter(None, (_saved_text(message), hint))):
        rows += page.wrap([(text, _NULL)], tint="panel")

    right = [_version_spans(page, message)]
    if failure.failure_id:
        error_id = safe_line(failure.failure_id, limit=_NAME_CHARS)
        right.insert(0, [(f"  error {error_id}", page.muted)])
    copy = page.key_hint("y", "copy details", "message.copy")
    offers = [span for offer in _offers(page, message) for span in offer] if is_last else []
    last = page.fitted_row([_without_gap(offers)], right, tint="panel")
    first, *others = *_letters(page, message), copy
    last.hint = page.fitted_row([_without_gap(first), *others], right, tint="panel").segments
    return [*rows, last]


def _without_gap(spans: Sequence[Span]) -> list[Span]:
    return [
        (text.lstrip() if not number else text, style) for number, (text, style) in enumerate(spans)
    ]


def _saved_text(message: ChatMessage) -> str:
    if not (message.text or message.reasoning):
        return ""
    stats = message.stats or AnswerStats()
    if not stats.completion_tokens:
        return "The text so far is saved."
    count = units.whole_number(stats.completion_tokens, is_estimated=stats.is_estimated)
    words = "token so far is" if stats.completion_tokens == 1 else "tokens so far are"
    return f"The {count} {words} saved."
