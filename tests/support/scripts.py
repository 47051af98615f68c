"""Words in many scripts that terminals draw differently, and a check where they stand on a screen."""

from __future__ import annotations

from rich.cells import cell_len

from lmchat.app.cells import widen_cells

widen_cells()  # as in the program, also if the test imports no more of lmchat

SCRIPTS = {
    "accents": "e\u0301te\u0301 n\u0303",
    "arabic": "مرحبا بكم",
    "hebrew": "שָׁלוֹם עולם",
    "thai": "สวัสดี น้ำใจ",
    "devanagari": "नमस्ते दुनिया",
    "bengali": "নমস্কার বাংলা",
    "tamil": "வணக்கம் தமிழ்",
    "telugu": "తెలుగు భాష",
    "kannada": "ಕನ್ನಡ ಭಾಷೆ",
    "malayalam": "മലയാളം ഭാഷ",
    "gujarati": "ગુજરાતી ભાષા",
    "gurmukhi": "ਪੰਜਾਬੀ ਭਾਸ਼ਾ",
    "sinhala": "සිංහල භාෂාව",
    "burmese": "မြန်မာ ဘာသာ",
    "javanese": "ꦧꦱꦗꦮ ꦏꦺꦴ",
    "khmer": "សួស្តី ខ្មែរ",
    "tibetan": "བོད་སྐད བཀྲ་ཤིས",
    "jamo": "\u1112\u1161\u11ab \u1100\u1173\u11af",
    "chinese": "漢字 かな",
    "emoji": "👨‍👩‍👧 🇩🇪 👍🏽 🏽 ⚠️ ❤️‍🔥",
    "stacked": "Z\u0300\u0301\u0302\u0303a",
}


def misplaced(cells: list[str], start: int, text: str) -> list[str]:
    """Return what is wrong with a text that should start in a cell: words in other columns, stray letters."""
    faults = []
    if start and cells[start - 1].strip():
        faults.append(f"{cells[start - 1]!r} stands before {text!r}")
    x = start
    for word in text.split(" "):
        drawn = cells[x : x + cell_len(word)]
        if not drawn[0].startswith(word[0]):
            faults.append(f"{drawn!r} in column {x} instead of {word!r}")
        lost = set(word) - set("".join(drawn))
        if lost:
            faults.append(f"{lost!r} is lost of {word!r}")
        stray = set("".join(drawn)) - {*word, " "}
        if stray:
            faults.append(f"{stray!r} in {word!r}")
        x += cell_len(word)
        behind = "".join(cells[x : x + 1])
        if behind.strip():
            faults.append(f"{behind!r} behind {word!r}")
        x += 1
    return faults
