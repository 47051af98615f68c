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
        self._seen: dict[tuple[int, int], tuple[str, Style | None, Style | None]] = {}

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

    def written(self, run: tuple[int, Iterable[Segment]]) -> tuple[int, str]:
        """Return segments behind the place where they begin, as text for the terminal."""
        out: list[str] = []
        self.write(run[1], out)
        return run[0], "".join(out)

    def blanks(self, count: int, style: Style | None) -> str:
        """Return so many blanks in a style, without a style before them and behind them."""
        if count <= 0:
            return ""
        return f"{self._change(None, style)}{' ' * count}{self._change(style, None)}"

    def _change(self, last: Style | None, style: Style | None) -> str:
        # The same style is mostly the same object: to compare it costs ten times as much as all the rest.
        known = self._seen.get((id(last), id(style)))
        if known is not None:
            return known[0]
        found = self._changes.get((last, style))
        if found is None:
            found = self._changes[last, style] = change(self._look(last), self._look(style))
        if len(self._seen) > _MOST_CHANGES:
            self._seen, self._changes, self._looks = {}, {}, {None: _PLAIN}
        self._seen[id(last), id(style)] = found, last, style  # kept, so that no other gets the same id
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
