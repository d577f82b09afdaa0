"""COCO captions: the official train and val of 2017 or 2014, or Karpathy's split of 2014.

In `root`, as unpacked, the first of

1. `dataset_coco.json` (Karpathy), `train2014/` and `val2014/`
2. `annotations/captions_{train,val}2017.json`, `train2017/` and `val2017/`
3. `annotations/captions_{train,val}2014.json`, `train2014/` and `val2014/`

decides. One sample an image, with all its captions. Meta: `image_id`, `caption_ids`.
Lin et al., "Microsoft COCO: Common Objects in Context", 2014; captions: Chen et al., 2015.
"""

import contextlib
import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from torchvision.datasets import CocoCaptions

from data.recipes import files, karpathy
from data.record import Record

PAGE = f"https://cocodataset.org/#download, the split from {karpathy.PAGE}"
FOLDERS = ("train2017", "val2017", "train2014", "val2014")
NAMES = {folder: f"annotations/captions_{folder}.json" for folder in FOLDERS}


def read(root: Path) -> Iterator[Record]:
    """Yield the images of the user's copy."""
    return files.present(_records(root), "coco", PAGE)


def _records(root: Path) -> Iterator[Record]:
    found = files.find(root, {"karpathy": "dataset_coco.json"} | NAMES, PAGE)
    if "karpathy" in found:
        yield from karpathy.records(found["karpathy"], root, ("filepath", "cocoid"))
        return
    year = next(iter(found))[-4:]
    for folder, path in found.items():
        if folder.endswith(year):
            yield from _captions(path, root / folder, folder.removesuffix(year))


def _captions(path: Path, folder: Path, split: str) -> Iterator[Record]:
    coco = _open(path, folder).coco
    files.check(coco.dataset, ("images", "annotations"), str(path))
    for image_id, image in sorted(coco.imgs.items()):
        files.check(image, ("file_name",), f"image {image_id} of {path}")
        # pyright knows the annotations of instances only
        captions = cast(list[dict[str, Any]], coco.imgToAnns[image_id])
        for caption in captions:
            files.check(caption, ("caption",), f"caption {caption['id']} of {path}")
        yield Record(
            key=Path(image["file_name"]).stem,
            image=folder / image["file_name"],
            texts=tuple(caption["caption"].strip() for caption in captions),
            split=split,
            meta={"image_id": image_id, "caption_ids": [caption["id"] for caption in captions]},
        )


def _open(path: Path, folder: Path) -> CocoCaptions:
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # pycocotools prints its progress
            return CocoCaptions(str(folder), str(path))
    except ImportError as error:
        raise ValueError("COCO is read by pycocotools: pip install pycocotools") from error
    except (AssertionError, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} must be captions as COCO has them: {error!r}") from error
