"""What becomes of the fields of a source: used as what, or why not, and in how many samples."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from omni.pipeline.decode import TEXT_FIELDS, texts_of

READ = ("names", "answer", "answers", "concept")
"""fields of the json, beside the texts, that training reads"""
PLACES = ("key", "split", "language", "start", "stop")
"""columns that are what they are of a `Record`"""
SHOWN = 40
"""lines of the table"""


class Census:
    """Counts the samples in which a field was used, or not, by the reason."""

    def __init__(self) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()

    def add(self, field: str, use: str) -> None:
        """Counts one sample."""
        self.counts[field, use] += 1

    def add_meta(self, fields: Iterable[str]) -> None:
        """Counts fields that go to the json of a sample."""
        for field in fields:
            use = field if field in READ else "in the json, where training does not read it"
            self.add(field, use)

    def lines(self) -> list[str]:
        """A table of all fields, the most frequent first."""
        if not self.counts:
            return []
        rows = [("field", "used as", "samples")]
        common = self.counts.most_common(SHOWN)
        rows += [(field, use, f"{count:,}") for (field, use), count in common]
        widths = [max(len(row[i]) for row in rows) for i in range(2)]
        lines = [f"{a:{widths[0]}}  {b:{widths[1]}}  {count}" for a, b, count in rows]
        if (rest := len(self.counts) - len(common)) > 0:
            lines.append(f"... and {rest} other fields")
        return lines


def read_texts(
    fields: dict[str, Any], language: Any, first: str | None = None
) -> tuple[list[str], str, dict[str, list[str]]]:
    """Return texts, their language and those in other languages, from fields named as text.

    `first`: a text that stands before those of the fields. Raises `ValueError` for what is no
    text (see `texts_of`).
    """
    spoken = texts_of({name: fields[name] for name in TEXT_FIELDS if name in fields}
                      | {"language": language})  # fmt: skip
    main = language or "en"
    if first is None and spoken and main not in spoken:
        main = next(iter(spoken))
    texts = spoken.pop(main, [])
    if first is not None:
        texts = [first, *texts]
    return [*dict.fromkeys(texts)], main, spoken


def add_names(meta: dict[str, Any], others: dict[str, list[str]]) -> None:
    """Puts texts in other languages where the json of a shard has them."""
    if not others:
        return
    names = meta.get("names")
    names = {**names} if isinstance(names, dict) else {}
    for language, texts in others.items():
        before = names.get(language) or []
        names[language] = [*(before if isinstance(before, list) else [before]), *texts]
    meta["names"] = names
