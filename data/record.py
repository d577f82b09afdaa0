"""What the recipes and readers of `data.prepare pack` yield: one sample that is not yet packed."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Record:
    """One sample of a corpus: where its media are, or their bytes as they are, and its texts.

    Listing the records of a corpus must be cheap: media are decoded by pack's workers only. The
    same corpus must be listed in the same order every time: a run that was interrupted goes on by
    position.

    Attributes:
        key: any string; pack makes it safe and unique and keeps this one as "id" of the json.
        image, audio: a file, or its bytes; None where the sample has none.
        texts: captions, of which the first becomes `txt`.
        language: of the texts, as in BCP 47.
        split: "train" and the like.
        start, stop: seconds of the recording to cut out; None is its beginning or its end.
        meta: whatever else is known, in types of JSON; it goes to `json`.
        faults: members that the source names and cannot give, and why.
    """

    key: str
    image: Path | bytes | None = None
    audio: Path | bytes | None = None
    texts: tuple[str, ...] = ()
    language: str = "en"
    split: str = "train"
    start: float | None = None
    stop: float | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Rejection:
    """A sample that its source lists and cannot give: what of it, and why."""

    key: str
    member: str
    reason: str
    split: str = "train"
