"""Marks with which families of models tell their thoughts from their answers."""

from __future__ import annotations

import msgspec


class Marks(msgspec.Struct, frozen=True, kw_only=True):
    """Marks around the thoughts of a family of models."""

    open: str
    close: str
    # `close` is a token of its own, behind which the answer may start in the same line
    is_token: bool = True
    may_close_alone: bool = True  # a chat template may open the thought
    start: str = ""  # around the answer behind a thought
    ends: tuple[str, ...] = ()


# above each, models, and where their marks are defined
FAMILIES = (
    # DeepSeek-R1, Qwen3, GLM, MiniMax-M2, EXAONE 4: their chat templates
    Marks(
        open="<think>",
        close="</think>",
        is_token=False,
    ),
    # models tuned on answers of Claude: qwen-code, taggedThinkingParser.ts
    Marks(
        open="<thinking>",
        close="</thinking>",
        is_token=False,
        may_close_alone=False,
    ),
    # EXAONE Deep: its chat template, which opens the thought
    Marks(
        open="<thought>",
        close="</thought>",
        is_token=False,
    ),
    # Reka Flash 3: ahyatt/llm, issue 170
    Marks(
        open="<reasoning>",
        close="</reasoning>",
        is_token=False,
        may_close_alone=False,
    ),
    # LongCat Flash Thinking: mlx-lm, tokenizer_utils.py
    Marks(
        open="<longcat_think>",
        close="</longcat_think>",
    ),
    # OpenThinker, Sky-T1: Open WebUI, DEFAULT_REASONING_TAGS
    Marks(
        open="<|begin_of_thought|>",
        close="<|end_of_thought|>",
        start="<|begin_of_solution|>",
        ends=("<|end_of_solution|>",),
    ),
    # Seed-OSS: vllm/reasoning/seedoss_reasoning_parser.py
    Marks(
        open="<seed:think>",
        close="</seed:think>",
    ),
    # MiniMax-M3: its chat template; hermes-agent issue 8878
    Marks(
        open="<mm:think>",
        close="</mm:think>",
    ),
    # Magistral, Ministral 3 Reasoning: special tokens of mistral-common
    Marks(
        open="[THINK]",
        close="[/THINK]",
    ),
    # Gemma 4: llama.cpp, models/templates/gemma4.jinja
    Marks(
        open="<|channel>thought",
        close="<channel|>",
    ),
    # Command R7B, Command A Reasoning: their chat templates, in llama.cpp
    Marks(
        open="<|START_THINKING|>",
        close="<|END_THINKING|>",
        start="<|START_RESPONSE|>",
        ends=("<|END_RESPONSE|>",),
    ),
    # Kimi K3: llama.cpp, models/templates/Kimi-K3.jinja
    Marks(
        open="<|open|>think<|sep|>",
        close="<|close|>think<|sep|>",
        start="<|open|>response<|sep|>",
        ends=("<|close|>response<|sep|>",),
    ),
    # Kimi-VL-Thinking: LLaMA-Factory, template `kimi_vl`
    Marks(
        open="◁think▷",
        close="◁/think▷",
    ),
    # Apertus: llama.cpp, common/chat.cpp
    Marks(
        open="<|inner_prefix|>",
        close="<|inner_suffix|>",
    ),
)


def opens_thoughts(template: str) -> bool:
    """Return whether a chat template has a mark that opens a thought."""
    return any(marks.open in template for marks in FAMILIES)
