"""Sessions of all kinds of blocks, the same for the same seed."""

from __future__ import annotations

from random import Random

from lmchat.domain.message import ChatMessage
from tests.support.chat_log_app import answer, question
from tests.support.markdown_corpus import MIXED

_WORDS = [
    *("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta", "iota", "kappa"),
    *("漢字", "emoji🙂", "averylongwordthatwraps", "`code`", "**bold**", "[ref][r]", "[other]", "*em*"),
]


def chance_of(seed: int) -> Random:
    return Random(seed)  # noqa: S311 - not a secret


def prose(chance: Random, count: int) -> str:
    return " ".join(chance.choice(_WORDS) for _ in range(count))


def piece(chance: Random) -> str:
    """A block, short or taller than a screen."""
    rows = range(1, chance.choice([1, 5, 40]) + 1)
    cells = ["|".join(prose(chance, chance.randint(1, 5)) for _ in range(3)) for _ in rows]
    kinds = (
        lambda: prose(chance, 6 * len(rows)),
        lambda: "```python\n" + "\n".join(f"x{n} = {prose(chance, 9)}" for n in rows) + "\n```",
        lambda: "\n".join(f"{n}. {prose(chance, 12)}" for n in rows),
        lambda: "\n\n".join(f"- {prose(chance, 12)}" for n in rows),
        lambda: "| a | b | c |\n|---|---|---|\n" + "\n".join(f"|{row}|" for row in cells),
        lambda: "> " + prose(chance, 4 * len(rows)),
        lambda: "[r]: http://example.org/r\n[other]: http://example.org/other",
        lambda: MIXED,
    )
    return chance.choice(kinds)()


def text(chance: Random, count: int) -> str:
    return "\n\n".join(piece(chance) for _ in range(count))


def talk(chance: Random, count: int) -> list[ChatMessage]:
    """So many prompts with their answers."""
    messages: list[ChatMessage] = []
    for _ in range(count):
        last = messages[-1].message_id if messages else None
        asked = question(prose(chance, chance.choice([2, 5, 200])), parent_id=last)
        said = answer(
            text(chance, chance.choice([1, 2, 5])),
            thought=prose(chance, 60) if chance.random() < 0.4 else "",
            model=chance.choice(["qwen3-8b", "qwen3-8b", "gemma-3"]),
            parent_id=asked.message_id,
        )
        messages += [asked, said]
    return messages
