"""Concepts of the emoji corpus: Twemoji's icons joined to emojibase's names."""

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data import pictures

STYLES = ("twemoji", "noto", "noto-v1", "openmoji", "emojione")
OPTIONAL_STYLE = "emojione"  # of an older Unicode: it lacks about a tenth of the concepts
NEW_STYLE = "fluent-emoji-flat"
MAX_KEYWORDS = 4
PARTS = 2  # emojibase's number of the group that holds parts of emoji: skin tones and hair
DROPPED_SUBGROUPS = ("keycap", "alphanum")  # drawings of letters and digits


@dataclass(frozen=True)
class Concept:
    """One emoji: hexcode without fe0f, icon name, styles that draw it, names by language."""

    code: str
    slug: str
    styles: tuple[str, ...]
    names: dict[str, str]
    keywords: tuple[str, ...]


def read_json(npm: Path, package: str, file: str) -> Any:
    """Read a JSON file of an npm package; ValueError with the remedy when it is missing."""
    path = npm / "node_modules" / package / file
    if not path.is_file():
        raise ValueError(f"{path} is missing: npm install --prefix {npm} {package}")
    return json.loads(path.read_text(encoding="utf-8"))


def read_icons(npm: Path) -> dict[str, dict]:
    """Read the icon set of every style."""
    return {s: read_json(npm, f"@iconify-json/{s}", "icons.json") for s in (*STYLES, NEW_STYLE)}


def clean(name: str, lower: bool = False) -> str:
    """Straighten quotes, collapse white space; for English also lower case and no full stops."""
    name = re.sub("[\u2018\u2019]", "'", re.sub("[\u201c\u201d]", '"', name))
    name = " ".join(name.split())
    return name.lower().replace(".", "") if lower else name


def read_labels(npm: Path) -> dict[str, dict[str, str]]:
    """Read the name of every emoji in every language: language -> hexcode -> name."""
    folder = npm / "node_modules" / "emojibase-data"
    languages = sorted(path.parent.name for path in folder.glob("*/data.json"))
    labels = {}
    for language in languages:
        emojis = read_json(npm, "emojibase-data", f"{language}/data.json")
        english = language.startswith("en")
        labels[language] = {e["hexcode"]: clean(e["label"], english) for e in emojis}
    return labels


def read_concepts(npm: Path, icons: dict[str, dict]) -> list[Concept]:
    """Join Twemoji's icons to emojibase's names, and keep what every needed style draws.

    Raises ValueError when two concepts have the same English name.
    """
    subgroups = read_json(npm, "emojibase-data", "meta/groups.json")["subgroups"]
    emojis = {
        e["hexcode"].lower().replace("-fe0f", ""): e
        for e in read_json(npm, "emojibase-data", "en/data.json")
        if e.get("group", PARTS) != PARTS
    }
    slugs = {}
    for code, slug in read_json(npm, "@iconify-json/twemoji", "chars.json").items():
        if code.replace("-fe0f", "") in emojis:
            slugs.setdefault(slug, code.replace("-fe0f", ""))
    labels = read_labels(npm)
    concepts, taken = [], {}
    for slug, code in slugs.items():
        emoji = emojis[code]
        styles = _styles_of(slug, icons, slugs)
        if not {*STYLES, NEW_STYLE} - {OPTIONAL_STYLE} <= set(styles):
            continue
        name = labels["en"][emoji["hexcode"]]
        if _is_dropped(name, subgroups[str(emoji["subgroup"])]):
            continue
        if name in taken:
            raise ValueError(f"{code} and {taken[name]} are both named {name!r}: drop one")
        taken[name] = code
        names = {
            lang: of[emoji["hexcode"]] for lang, of in labels.items() if emoji["hexcode"] in of
        }
        tags = [clean(tag, lower=True) for tag in emoji.get("tags", ())]
        keywords = tuple(tag for tag in tags if tag != name)[:MAX_KEYWORDS]
        concepts.append(Concept(code, slug, styles, names, keywords))
    return sorted(concepts, key=lambda concept: concept.code)


def _styles_of(slug: str, icons: dict[str, dict], slugs: Iterable[str]) -> tuple[str, ...]:
    """Return the styles that draw an icon.

    An alias of another concept's icon is not its own drawing (Noto v1 has the game of cricket for
    the insect), unless it is mirrored.
    """
    found = {style: pictures.resolve(icons[style], slug) for style in icons}
    return tuple(
        s for s, at in found.items() if at and (at[0] == slug or at[1] or at[0] not in slugs)
    )


def _is_dropped(name: str, subgroup: str) -> bool:
    """Whether to leave a concept out: letters, and sizes of a shape, which the crop makes equal."""
    sizes = subgroup == "geometric" and re.search(r"\b(small|medium)\b", name)
    return subgroup in DROPPED_SUBGROUPS or bool(sizes)
