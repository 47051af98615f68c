"""Segments as bytes for the terminal: only what differs from the style before is told."""

from __future__ import annotations

from collections.abc import Iterable

from rich.color import ColorSystem
from rich.segment import Segment
from rich.style import Style

_MOST_CHANGES = 4096
_RESET = "\x1b[0m"
Look = tuple[frozenset[str], str, str]
"""Attributes, colour of the letters and of the ground, as parameters of SGR."""
_PLAIN: Look = (frozenset(), "", "")


class Pen:
    """Writes segments in the colours that a terminal has; remembers how one style follows another."""

    def __init__(self, system: ColorSystem) -> None:
        self.system = system
        self._looks: dict[Style | None, Look] = {None: _PLAIN}
        self._changes: dict[tuple[Style | None, Style | None], str] = {}

    def write(self, segments: Iterable[Segment], out: list[str]) -> None:
        """Append segments to `out`; the terminal has no style before them and none behind them."""
        last: Style | None = None
        for text, style, _ in segments:
            if style is not last:
                out.append(self._change(last, style))
                last = style
            if style is not None and style._link:
                out.append(f"\x1b]8;id={style._link_id};{style._link}\x1b\\{text}\x1b]8;;\x1b\\")
            else:
                out.append(text)
        out.append(self._change(last, None))

    def _change(self, last: Style | None, style: Style | None) -> str:
        found = self._changes.get((last, style))
        if found is None:
            if len(self._changes) > _MOST_CHANGES:
                self._changes.clear()
                self._looks = {None: _PLAIN}
            found = self._changes[last, style] = change(self._look(last), self._look(style))
        return found

    def _look(self, style: Style | None) -> Look:
        if style is None:
            return _PLAIN
        look = self._looks.get(style)
        if look is None:
            look = self._looks[style] = look_of(style, self.system)
        return look


def look_of(style: Style, system: ColorSystem) -> Look:
    """Return a style as parameters of SGR."""
    bits = style._attributes & style._set_attributes
    attributes = frozenset(code for bit, code in style._style_map.items() if bits & (1 << bit))
    letters, ground = style.color, style.bgcolor
    return (
        attributes,
        ";".join(letters.downgrade(system).get_ansi_codes()) if letters is not None else "",
        ";".join(ground.downgrade(system).get_ansi_codes(foreground=False)) if ground is not None else "",
    )


def change(last: Look, look: Look) -> str:
    """Return the sequence that leads from one style to another."""
    if look == last:
        return ""
    if look == _PLAIN:
        return _RESET
    is_anew = not look[0] >= last[0] or any(
        old and not new for old, new in zip(last[1:], look[1:], strict=True)
    )
    if is_anew:
        last = _PLAIN
    codes = ["0"] if is_anew else []
    codes += sorted(look[0] - last[0], key=int)
    codes += [new for old, new in zip(last[1:], look[1:], strict=True) if new != old]
    return f"\x1b[{';'.join(codes)}m"
