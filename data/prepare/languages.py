"""In which scripts a language is written, and whether a text plainly contradicts its own.

A script is known by the first word of a letter's Unicode name: LATIN SMALL LETTER A is LATIN.
"""

import unicodedata
from collections import Counter
from functools import lru_cache

CHARACTERS = 500
"""of a text that are looked at"""
MIN_WORDS = 3
"""of Latin letters make a text Latin: names and brands are written so in any language"""

_LATIN = """
    af az bs ca cs cy da de en es et eu fi fil fr ga gl hr hu id is it lb lt lv ms mt nb nl nn no
    pl pt ro sk sl sq sv sw tl tr vi zu
"""
_CYRILLIC = "be bg kk ky mk mn ru tg tt uk"
_OTHERS = {
    "am": "ETHIOPIC", "ar": "ARABIC", "bn": "BENGALI", "el": "GREEK", "fa": "ARABIC",
    "gu": "GUJARATI", "he": "HEBREW", "hi": "DEVANAGARI", "hy": "ARMENIAN",
    "ja": "CJK HIRAGANA KATAKANA KATAKANA-HIRAGANA", "ka": "GEORGIAN", "km": "KHMER",
    "kn": "KANNADA", "ko": "HANGUL CJK", "lo": "LAO", "ml": "MALAYALAM", "mr": "DEVANAGARI",
    "my": "MYANMAR", "ne": "DEVANAGARI", "pa": "GURMUKHI ARABIC", "si": "SINHALA",
    "sr": "CYRILLIC LATIN", "ta": "TAMIL", "te": "TELUGU", "th": "THAI", "ur": "ARABIC",
    "yue": "CJK", "zh": "CJK BOPOMOFO",
}  # fmt: skip
SCRIPTS = {
    **{language: {"LATIN"} for language in _LATIN.split()},
    **{language: {"CYRILLIC"} for language in _CYRILLIC.split()},
    **{language: set(scripts.split()) for language, scripts in _OTHERS.items()},
}


@lru_cache(maxsize=1 << 14)
def script(letter: str) -> str:
    """The script of a letter; empty where Unicode has no name for it."""
    return unicodedata.name(letter, "").partition(" ")[0]


def foreign_script(text: str, language: str) -> str:
    """The script that a text is mostly in, if its language is never written so; else empty.

    Languages that are not in the table, and tags that name a script (sr-Latn), are not judged.
    """
    primary, *subtags = language.lower().split("-")
    named = [tag for tag in subtags if len(tag) == 4 and tag not in ("hans", "hant")]
    if primary not in SCRIPTS or named:
        return ""
    head = unicodedata.normalize("NFKC", text[:CHARACTERS])
    counts = Counter(script(letter) for letter in head if letter.isalpha())
    counts.pop("MODIFIER", None)  # of no one script
    if not counts:
        return ""
    foreign = {name: n for name, n in counts.items() if name not in SCRIPTS[primary]}
    if 2 * sum(foreign.values()) <= counts.total():
        return ""
    most = max(foreign, key=lambda name: foreign[name])
    return "" if most == "LATIN" and len(head.split()) < MIN_WORDS else most
