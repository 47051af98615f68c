"""Texts of many kinds with the tokens that real tokenizers count."""

from __future__ import annotations

from pathlib import Path

import msgspec

FILE = Path(__file__).parents[1] / "core/answers/data/counted_prompts.jsonl"


class CountedPrompt(msgspec.Struct, frozen=True):
    kind: str
    text: str
    tokens: dict[str, int]  # by tokenizer


def counted_prompts() -> list[CountedPrompt]:
    return msgspec.json.Decoder(CountedPrompt).decode_lines(FILE.read_bytes())
