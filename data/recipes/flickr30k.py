"""Flickr30k: the images, and either Karpathy's split or the captions alone.

In `root`: `flickr30k-images/`, and `dataset_flickr30k.json` (Karpathy) or, where that is not
there, `results_20130124.token`, which has no split: all is train then. One sample an image, with
its five captions. Meta: `image_id`, `caption_ids`.
Young et al., "From image descriptions to visual denotations", 2014.
"""

from collections.abc import Iterator
from pathlib import Path

from torchvision.datasets import Flickr30k

from data.recipes import files, karpathy
from data.record import Record

PAGE = f"https://shannon.cs.illinois.edu/DenotationGraph/, the split from {karpathy.PAGE}"
NAMES = {"karpathy": "dataset_flickr30k.json", "token": "results_20130124.token"}


def read(root: Path) -> Iterator[Record]:
    """Yield the images of the user's copy."""
    return files.present(_records(root), "flickr30k", PAGE)


def _records(root: Path) -> Iterator[Record]:
    found = files.find(root, NAMES, PAGE)
    folder = root / "flickr30k-images"
    if "karpathy" in found:
        yield from karpathy.records(found["karpathy"], folder)
        return
    try:
        captions = Flickr30k(str(folder), str(found["token"])).annotations
    except ValueError as error:
        raise ValueError(
            f"{found['token']} must hold lines of NAME#N, tab, text: {error}"
        ) from error
    for name, texts in sorted(captions.items()):
        stem = Path(name).stem
        meta = {"image_id": stem, "caption_ids": [f"{name}#{n}" for n in range(len(texts))]}
        yield Record(key=stem, image=folder / name, texts=tuple(texts), meta=meta)
