"""SpokenCOCO: the captions of COCO read aloud; image, speech and text of one thing.

In `root`, as unpacked: `SpokenCOCO_train.json`, `SpokenCOCO_val.json`, `wavs/`; and COCO's
`train2014/` and `val2014/` beside them. One sample a recording; its image may be missing.
Meta: `image_id`, `speaker`.
Hsu et al., "Text-Free Image-to-Speech Synthesis Using Learned Segmental Units", 2021.
"""

from collections.abc import Iterator
from pathlib import Path

from data.recipes import files
from data.record import Record

PAGE = "https://groups.csail.mit.edu/sls/downloads/placesaudio/"
NAMES = {split: f"SpokenCOCO_{split}.json" for split in ("train", "val")}


def read(root: Path) -> Iterator[Record]:
    """Yield the recordings of the user's copy."""
    return files.present(_records(root), "spokencoco", PAGE)


def _records(root: Path) -> Iterator[Record]:
    for split, path in files.find(root, NAMES, PAGE).items():
        for entry in files.entries(path, "data", ("image", "captions")):
            name = entry["image"]  # val2014/COCO_val2014_000000325114.jpg
            image_id = int(Path(name).stem.rpartition("_")[2])
            for spoken in entry["captions"]:
                files.check(spoken, ("text", "speaker", "uttid", "wav"), f"{name} of {path}")
                yield Record(
                    key=spoken["uttid"],
                    image=root / name,
                    audio=root / spoken["wav"],
                    texts=(spoken["text"].strip(),),
                    split=split,
                    meta={"image_id": image_id, "speaker": spoken["speaker"]},
                )
