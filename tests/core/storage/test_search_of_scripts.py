"""Searches in texts of many scripts find what an earlier lmchat found.

`data/searches.txt` has the hits of each query: title and kind, then the words around the match.
"""

# ruff: noqa: RUF001 - letters that look alike are what this is about

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from lmchat.core.sessions.message import FilePart, ReasoningPart, TextPart
from lmchat.core.sessions.session import title_from
from tests.support.chats import answer, chat_with_tools, header, prompt

FROZEN = Path(__file__).parent / "data" / "searches.txt"
_LONG = 200_000
_CHATS = {  # a title, or empty for that of the prompt; prompt and answer
    "": ("Which végétables grow in SHADE?\nCafés, naïve ones.", "Use `beds->plan` with 100% care_ful."),
    "Türkçe": ("IĞDIR ve İzmir ılık, ışık", "DİYARBAKIR'ın kışı; istanbul İSTANBUL"),
    "Straße und Maß": ("Die STRASSE, die Straße, Fußball", "GROẞ und groß: weiß man nie"),
    "Ελληνικά": ("ΟΔΟΣ και οδός, ο δρόμος ΤΗΣ ΟΔΟΎ", "Ο Σίσυφος ΣΊΣΥΦΟΣ, λόγος λόγοσ"),
    "Tiếng Việt": ("Trường đại học Đà Nẵng", unicodedata.normalize("NFD", "Phở bò ở Hà Nội, cà phê sữa đá")),
    "Forms": (unicodedata.normalize("NFD", "Café Ångström naïve"), "Café Ångström ﬁne oﬃce x² Ⅷ ｆｕｌｌ"),
    "Emoji": ("👩🏽‍🌾 plants 🥬🥬 and 🇯🇵", "🥕 grows; ❤️ and ❤"),
    "京都旅行の計画": ("東京から京都へ行きたい。日本語の全文検索です", "京都駅は大きい。カタカナ ｶﾀｶﾅ ガギグ"),
    "中文": ("北京大学在海淀区，人工智能", "繁體字與简体字；人工智慧"),
    "한국어": ("서울에서 부산까지 기차", unicodedata.normalize("NFD", "부산역에서 내려요")),
    "العربية": ("مرحبا بالعالم، السَّلَامُ عليكم", "الكتاب كِتَاب على الطاولة"),
    "ภาษาไทย": ("สวัสดีครับ กินข้าวหรือยัง", "น้ำเย็น ที่นี่ น้ำ"),
    "Long ends": ("needleprompt", "x y " * (_LONG // 4) + "Ends with a Nèedle"),
    "Lengths": ("ﬁ" * 300 + " then a needle", "漢é " * (_LONG // 3) + "n\u0301eedle\u0301s here"),
    "Needle in a title alone": ("Nothing of it", "Nor here"),
    "A needle in title and text": ("My needle is here", "and a Needle there"),
}  # fmt: skip
_TAGGED = "Türkçe"
_TURN = timedelta(hours=6)
_QUERIES = (
    *("vegetables", "VÉGÉT", '"grow in shade"', '"shade cafes"', "cafes grow", "->", "%", "care_f"),
    *("iğdır", "IĞDIR", "igdir", "izmir", "İZMİR", "ılık", "ilik", "ışık", "istanbul", "diyarbakır"),
    *("strasse", "straße", "STRASSE", "fuss", "fuß", "gross", "groß", "GROẞ", "maß"),
    *("οδος", "οδός", "ΟΔΟΣ", "οδοσ", "σισυφος", "ΣΊΣΥΦΟΣ", "λογος", "λόγοσ", "της", "δρομ"),
    *("truong", "trường", "đà nẵng", "da nang", "pho", "phở", "Hà Nội", "ha noi", "ca phe", "sữa đá"),
    *("cafe", "café", "cafe\u0301", "angstrom", "ångström", "Å", "fine", "ffi", "f", "x2", "VIII", "full"),
    *("🥬", "🥬🥬", "👩🏽‍🌾", "👩", "🇯🇵", "❤️", "❤"),
    *("京都", "東京", "都", "検索", "日本語の全文検索", "カタカナ", "ｶﾀｶﾅ", "がぎ", "ガギ", "カキ", "京都 駅"),
    *("北京", "北京大学", "人工", "人工智能", "体字", "學"),
    *("서울", "부산", "부", "역에서", "기차"),
    *("السلام", "السَّلَامُ", "كتاب", "كِتَاب", "ال"),
    *("น้ำ", "นำ", "ข้าว", "สวัสดี", "ที่"),
    *("needle", "nèedle", "needles", '"a needle"', "needle here", "needle nothing", "needleprompt"),
    *("title", "title:needle", "title:türk", "title:京都", "needle title:long", "title:long"),
    *("needle role:user", "needle role:assistant", "role:tool", "needle model:qwen", "model:gemma"),
    *("needle before:2026-11-20", "needle after:2026-11-23", "after:2026-11-23T20:00Z", "has:code"),
    *("thought", "soil", "note.pdf", "lettuce", "read_text", "türkçetag", "a", "e n", '"', "*", "notthere"),
)  # fmt: skip


@pytest.mark.slow  # each query of each script
async def test_every_query_finds_what_it_has_found(store):
    moment = datetime(2026, 11, 20, 8, tzinfo=UTC)
    for title, texts in _CHATS.items():
        moment += _TURN
        session = header(title or title_from(texts[0]), moment=moment)
        if title == _TAGGED:
            session = replace(session, tags=("türkçetag",))
        asked = replace(prompt(texts[0]), created_at=moment)
        await store.append(session, asked)
        said = answer(ReasoningPart(text=f"A thought of {title}"), texts[1], parent=asked)
        await store.end_answer(session.session_id, replace(said, created_at=moment))
    note = FilePart(name="Note.pdf", media_type="application/pdf", digest="0" * 64, size=1)
    tools = chat_with_tools("Soil and lettuce.")
    asked = replace(tools.messages[0], parts=(note, TextPart(text="Read it.\n```py\nx\n```")))
    for message in (asked, *tools.messages[1:]):
        await store.append(tools.header, message)
    lines = []
    for query in _QUERIES:
        lines.append(f"{query}:")
        for hit in await store.search(query, limit=50):
            words = "" if hit.words in ((), (hit.match,)) else f" {' | '.join(hit.words)}"
            around = f"{hit.before[-25:]}[{hit.match}]{hit.after[:25]}"
            lines.append(f"    {hit.title}, {hit.role} {hit.kind}: {around}{words}")
    assert "\n".join(lines) + "\n" == FROZEN.read_text(encoding="utf-8")
