from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from lmchat.core.servers.events import ReasoningDelta, Rethought, TextDelta
from lmchat.core.servers.stream.think_tags import ThoughtFilter
from lmchat.core.servers.wire.marks import FAMILIES


def filtered(parts, *, has_thought_field=False):
    thought_filter = ThoughtFilter()
    if has_thought_field:
        thought = ReasoningDelta(text="Hm.")
        assert thought_filter.feed(thought) == [thought]
    texts = (TextDelta(text=part) for part in parts if part)
    return [one for text in texts for one in thought_filter.feed(text)] + thought_filter.close()


def split(parts, *, has_thought_field=False) -> tuple[str, str]:
    """Return (thought, answer), as it is in the end."""
    thought = answer = ""
    for one in filtered(parts, has_thought_field=has_thought_field):
        if isinstance(one, Rethought):
            thought = thought + answer
            answer = ""
            continue
        assert one.text
        if isinstance(one, ReasoningDelta):
            thought += one.text
        else:
            answer += one.text
    return thought, answer


FINAL = "<|start|>assistant<|channel|>final<|message|>"
CALL = (
    "<|start|>assistant<|channel|>commentary to=functions.f <|constrain|>json<|message|>{}<|call|>"
)
TABLE = {
    "no tags": ("Hello", "", "Hello"),
    "thought and answer": ("<think>hm</think>\n\nHello", "hm", "Hello"),
    "white space before": ("\n <think>hm</think>Hello", "hm", "Hello"),
    "empty thought": ("<think>\n</think>\n\nHello", "\n", "Hello"),
    "no end": ("<think>hm", "hm", ""),
    "half an end": ("<think>hm</thi", "hm</thi", ""),
    "a tag behind the thought": ("<think>a</think><think>b</think>", "a", "<think>b</think>"),
    "tag in the answer": ("Use <think> and </think>", "", "Use <think> and </think>"),
    "end behind the thought": ("<think>a</think>b\n</think>\nc", "a", "b\n</think>\nc"),
    "only a thought": ("<think>a</think>\n", "a", ""),
    "almost an end": ("a\n</thinking>\nb", "", "a\n</thinking>\nb"),
    "end alone": ("2+2</think>\n\nFour", "2+2", "Four"),
    "end alone behind CRLF": ("2+2\r\n</think>\r\n\r\nFour", "2+2\r\n", "Four"),
    "end alone at the very end, blanks behind": ("2+2\n</think>  ", "2+2\n", ""),
    "end alone at the very beginning": ("</think>\n\nFour", "", "Four"),
    "end alone behind code": ("```py\nx\n```\nso</think>\nFour", "```py\nx\n```\nso", "Four"),
    "end alone, then talk": ("a</think>\nUse </think>\nb", "a", "Use </think>\nb"),
    "talk in a line": ("Close with </think> at the end", "", "Close with </think> at the end"),
    "talk at the end of a line": ("Close with </think>\nThen", "", "Close with </think>\nThen"),
    "talk at the start of a line": ("It is:\n</think> closes", "", "It is:\n</think> closes"),
    "talk between backticks": ("`</think>`\n", "", "`</think>`\n"),
    "talk in a span": ("`x </think>\n", "", "`x </think>\n"),
    "talk in a fence": ("```\na</think>\n```\nb", "", "```\na</think>\n```\nb"),
    "talk in indented code": ("Look:\n\n    </think>\n", "", "Look:\n\n    </think>\n"),
    "talk in a list": ("- </think>\n- x", "", "- </think>\n- x"),
    "talk of both": ("<b>x</b> <think>\na\n</think>\nb", "", "<b>x</b> <think>\na\n</think>\nb"),
    "less than": ("a < b <c </d> <t", "", "a < b <c </d> <t"),
    "marks of another family inside": ("<think>[/THINK]a</think>b", "[/THINK]a", "b"),
    "Gemma 4, without a line end": ("<|channel>thought\nhm\n<channel|>Hello", "\nhm\n", "Hello"),
    "Gemma 4, opened by the template": ("hm\n<channel|>I do", "hm\n", "I do"),
    "Magistral, opened elsewhere": ("So 391[/THINK]391", "So 391", "391"),
    "talk of a token": ("Its mark [/THINK], as here", "", "Its mark [/THINK], as here"),
    "talk of a token in code": ("`[/THINK]`x", "", "`[/THINK]`x"),
    "talk of Gemma": ("See <|channel>thought\n", "", "See <|channel>thought\n"),
    "thinking, never opened by templates": ("<thinking>a</thinking>\nb", "a", "b"),
    "reasoning, never opened by templates": ("<reasoning>\na</reasoning>\nb", "\na", "b"),
    "LongCat, opened by the template": ("a\n</longcat_think>\nb", "a\n", "b"),
    "Sky-T1": (
        "<|begin_of_thought|>a<|end_of_thought|>\n\n<|begin_of_solution|>b<|end_of_solution|>",
        *("a", "b"),
    ),
    "Cohere's answer": (
        "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>b<|END_RESPONSE|>",
        *("a", "b"),
    ),
    "Kimi K3, opened by the template": (
        "a<|close|>think<|sep|><|open|>response<|sep|>b<|close|>response<|sep|>\n",
        *("a", "b"),
    ),
    # gpt-oss: openai/harmony, docs/format.md; the second as in ml-explore/mlx-lm#1867
    "gpt-oss": (
        f"<|channel|>analysis<|message|>hm<|end|>{FINAL}Four<|return|>",
        *("hm", "Four"),
    ),
    "gpt-oss, without an end": (
        "<|channel|>analysis<|message|>hm<|channel|>final <|constrain|>json<|message|>{}",
        *("hm", "{}"),
    ),
    "gpt-oss, whole header": (
        f"<|start|>assistant<|channel|>analysis<|message|>a<|end|>\n{CALL}{FINAL}b<|end|>",
        *("a{}", "b"),
    ),
    "gpt-oss, final only": ("<|channel|>final<|message|>Four", "", "Four"),
    "gpt-oss, cut in a header": ("<|channel|>analysis<|message|>a<|end|><|start|>as", "a", ""),
    "gpt-oss, cut in a thought": ("<|channel|>analysis<|message|>a", "a", ""),
    "gpt-oss, no header": ("<|channel|>analysis<|message|>a<|end|>Four", "a", "Four"),
    "gpt-oss, tags in the thought": (
        f"<|channel|>analysis<|message|>a <|channel|> b<|end|>{FINAL}c",
        *("a <|channel|> b", "c"),
    ),
    "gpt-oss, tags in the answer": (
        "<|channel|>final<|message|>Say <|end|> or <|channel|>final<|message|>.<|end|>",
        *("", "Say <|end|> or <|channel|>final<|message|>."),
    ),
    "talk of gpt-oss": ("<|channel|> begins a header", "", "<|channel|> begins a header"),
}
# of `content`, where the thought came in a field of its own
LEFT_OVER = {
    "</think>\n\nHello": "Hello",
    "\n</think>\n\nHello": "Hello",
    "</think>Hello": "Hello",
    "</mm:think>\r\n\r\nHello": "Hello",
    "[/THINK]391": "391",
    "<channel|>Hello": "Hello",
    "</think>": "",
    "</think> \n": "",
    "</think> Hello": "Hello",
    "<think>a</think>": "<think>a</think>",
    "Hello\n</think>\nb": "Hello\n</think>\nb",
    "</think>\n\n</think>\nb": "</think>\nb",
    "\n\nHello": "\n\nHello",
    "</thi": "</thi",
    "\n": "\n",
}


def test_thought_and_answer_come_apart_wherever_the_text_is_cut():
    for name, (text, *apart) in TABLE.items():
        for parts in ([text], list(text), *([text[:at], text[at:]] for at in range(len(text)))):
            assert split(parts) == tuple(apart), name


def test_the_thought_of_each_family_comes_apart_and_only_at_the_beginning():
    for marks in FAMILIES:
        block = f"{marks.open}\nSix times{marks.close}\n"
        assert split(list(f"{block}42.")) == ("\nSix times", "42."), marks
        assert split(list(f"{block}a\n{block}b")) == ("\nSix times", f"a\n{block}b"), marks
        for words in (f"Use {block}", f"`{block}`", f"```\n{block}```\n", f"x\n{block}b"):
            assert split(list(words)) == ("", words), marks


def test_a_closing_mark_left_behind_a_thought_of_its_own_field_is_dropped():
    for text, answer in LEFT_OVER.items():
        for parts in ([text], list(text), *([text[:at], text[at:]] for at in range(len(text)))):
            assert split(parts, has_thought_field=True) == ("", answer), parts


TAGS = ("<think>", "</think>", "<", "think", ">", "</", "</th")
SOUP = st.lists(st.sampled_from([*TAGS, "a", ",", "\n", "\r\n", " ", "`", "\n```\n", "~~~"]))


@given(SOUP)
def test_no_text_is_lost_and_cuts_do_not_matter(words):
    text = "".join(words)
    thought, answer = apart = split([text])
    assert apart == split(words) == split(text)
    kept = (thought + answer).replace("<think>", "").replace("</think>", "")
    assert len(kept) <= len(text)
    for letter in "a`~,":
        assert (thought + answer).count(letter) == text.count(letter)
    if "think>" not in text:
        assert apart == ("", text)


def test_a_late_thought_is_told_once_and_at_once():
    late = [TextDelta(text="2+2"), Rethought(), TextDelta(text="Four")]
    for parts, told in (
        (["2+2", "</think>", "\n\n", "Four"], late),
        (["<think>a</think>b"], [ReasoningDelta(text="a"), TextDelta(text="b")]),
        (["</think>\n\nFour"], [TextDelta(text="Four")]),
    ):
        assert filtered(parts) == told, parts
