"""The key of a US keyboard at the place of a key that types another letter.

Shortcuts are places: Ctrl and the key of C stops an answer also where it types ψ or ב.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Mapping

_PLACES = "qwertyuiop[]asdfghjkl;'zxcvbnm,./"
# by language, as libxkbcommon has them; the first layout with a letter decides
_LAYOUTS = {
    "ru": "йцукенгшщзхъфывапролджэячсмитьбю.",
    "uk": "йцукенгшщзхїфівапролджєячсмитьбю.",
    "be": "йцукенгшўзх'фывапролджэячсмітьбю.",
    "bg": ",уеишщксдзц;ьяаожгтнвмчюйъэфхпрлб",
    "sr": "љњертзуиопшђасдфгхјклчћжџцвбнм,.-",
    "mk": "љњертѕуиопшѓасдфгхјклчќзџцвбнм,./",
    "mn": "фцужэнгшүзкъйыбөахролдпячёсмитьвю",
    "el": ";ςερτυθιοπ[]ασδφγηξκλ 'ζχψωβνμ,./",
    "he": "/'קראטוןםפ][שדגכעיחלךף,זסבהנמצתץ.",
    "fa": "ضصثقفغعهخحجچشسیبلاتنمکگظطزرذدپو./",
    "ar": "ضصثقفغعهخحجدشسيبلاتنمكطئءؤرﻻىةوزظ",
    "ur": "قوعرتےءیہپ][اسدفگحجکل؛'زشچطبنم،./",
    "ka": "ქწერტყუიოპ[]ასდფგჰჯკლ;'ზხცვბნმ,./",
    "hy": "քոերտըւիօպխծասդֆգհյկլ;՛զղցվբնմ,./",
    "th": "ๆไำพะัีรนยบลฟหกดเ้่าสวงผปแอิืทมใฝ",
    "lo": "ົໄຳພະິີຣນຍບລັຫກດເ້່າສວງຜປແອຶືທມໃຝ",
    "hi": "ौैाीूबहगदजड़ोे्िुपरकतचटॆंमनवलस,.य",
    "km": "ឆឹេរតយុិោផៀឪាសដថងហ្កលើ់ឋខចវបនម ។៊",
    "my": "ဆတနမအပကငသစဟဩေျိ်ါ့ြုူး'ဖထခလဘညာ,./",
    "ko": "ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ[]ㅁㄴㅇㄹㅎㅗㅓㅏㅣ;'ㅋㅌㅊㅍㅠㅜㅡ,./",
}
_SHIFTED = {"ჭ": "w", "ღ": "r", "თ": "t", "შ": "s", "ჟ": "j", "ძ": "z", "ჩ": "c"}
_INDIAN = range(0x0980, 0x0D80)  # scripts whose letters are at the places of Hindi's


def key_at_place(char: str, base: str) -> str:
    """Return the key of a US keyboard for one with a modifier; itself for a Latin letter.

    `char` is what it types without modifiers, `base` the key at its place as the terminal says, or
    "".
    """
    if char.isascii() and char.isalnum():
        return char
    is_latin = char.isascii() or unicodedata.name(char, "").startswith("LATIN")
    # é is at the place of 2 in France, but ö is no `;`
    if base.isascii() and (base.isalnum() or (base.isprintable() and base and not is_latin)):
        return base
    if is_latin:
        return char
    digit = unicodedata.decimal(char, None)
    if digit is not None:
        return str(digit)
    if ord(char) in _INDIAN:
        char = chr(0x0900 + ord(char) % 0x80)
    places = _places_of_letters(os.environ)
    return places.get(char) or places.get(unicodedata.normalize("NFD", char)[0], char)


def _places_of_letters(environ: Mapping[str, str]) -> dict[str, str]:
    """Return the keys of letters: in the layout of the user's language, else in the first layout.

    A key that has commands goes before one that has none.
    """
    locale = environ.get("LC_ALL") or environ.get("LC_CTYPE") or environ.get("LANG") or ""
    own = _LAYOUTS.get(locale[:2], "")
    places = [
        (letter, place)
        for letters in reversed(_LAYOUTS.values())
        for letter, place in zip(letters, _PLACES, strict=True)
        if not letter.isascii()
    ]
    # with Ctrl; Ctrl and [ is Esc. The last place of a letter counts
    places.sort(key=lambda one: one[1].isalpha() or one[1] == "[")
    return dict(places) | _SHIFTED | dict(zip(own, _PLACES, strict=False))
