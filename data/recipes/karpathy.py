"""Karpathy's splits of COCO and Flickr30k: one json that holds captions and splits of both kinds.

Karpathy and Fei-Fei, "Deep Visual-Semantic Alignments for Generating Image Descriptions", 2015.
`restval`, the images of COCO's val that are in neither of his val and test, goes to train as in
the papers that use the split, and is marked "restval": true.
"""

from collections.abc import Iterator
from pathlib import Path

from data.recipes import files
from data.record import Record

PAGE = "https://cs.stanford.edu/people/karpathy/deepimagesent/"
FIELDS = ("filename", "split", "sentids", "sentences")


def records(path: Path, folder: Path, more: tuple[str, ...] = ()) -> Iterator[Record]:
    """Yield the images that the json at `path` lists; `folder` is where their paths begin.

    `more`: fields that an image of this data set has beside those of both.
    """
    for image in files.entries(path, "images", (*FIELDS, *more)):
        where = f"{image['filename']} of {path}"
        sentences = [files.check(s, ("raw",), where)["raw"].strip() for s in image["sentences"]]
        name = Path(image.get("filepath", ""), image["filename"])
        meta = {"image_id": image.get("cocoid", name.stem), "caption_ids": image["sentids"]}
        restval = image["split"] == "restval"
        yield Record(
            key=name.stem,
            image=folder / name,
            texts=tuple(sentences),
            split="train" if restval else image["split"],
            meta=meta | ({"restval": True} if restval else {}),
        )
