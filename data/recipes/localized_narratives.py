"""Localized Narratives: images described aloud, of COCO, Open Images and Flickr30k.

In `root`, any part of it:

- `{coco_train,coco_val,open_images_train_v6,open_images_validation,open_images_test,
  flickr30k_train,flickr30k_val,flickr30k_test}_localized_narratives*.jsonl`
- `voice-recordings/coco_val/coco_val_137576_93.ogg` and the like, as on the server
- the images: `train2017/`, `val2017/` (COCO); `train/`, `validation/`, `test/` (Open Images);
  `flickr30k-images/`

One sample a narrative; image or recording may be missing. Mouse traces and the times of words are
left out. Meta: `dataset`, `image_id`, `annotator_id`.
Pont-Tuset et al., "Connecting Vision and Language with Localized Narratives", 2020.
"""

from collections.abc import Iterator
from pathlib import Path

from data.recipes import files
from data.record import Record

PAGE = "https://google.github.io/localized-narratives/"
FIELDS = ("dataset_id", "image_id", "annotator_id", "caption", "voice_recording")
SOURCES = {
    "coco_train": ("train", "train2017/{:0>12}.jpg"),
    "coco_val": ("val", "val2017/{:0>12}.jpg"),
    "open_images_train_v6": ("train", "train/{}.jpg"),
    "open_images_validation": ("val", "validation/{}.jpg"),
    "open_images_test": ("test", "test/{}.jpg"),
    "flickr30k_train": ("train", "flickr30k-images/{}.jpg"),
    "flickr30k_val": ("val", "flickr30k-images/{}.jpg"),
    "flickr30k_test": ("test", "flickr30k-images/{}.jpg"),
}
"""name of the annotations -> split, path of an image"""


def read(root: Path) -> Iterator[Record]:
    """Yield the narratives of the user's copy."""
    return files.present(_records(root), "localized_narratives", PAGE)


def _records(root: Path) -> Iterator[Record]:
    shards = {name: sorted(root.glob(f"{name}_localized_narratives*.jsonl")) for name in SOURCES}
    if not any(shards.values()):
        expected = " or ".join(f"{name}_localized_narratives*.jsonl" for name in SOURCES)
        raise ValueError(f"{root} must hold {expected}; to be had from {PAGE}")
    for name, (split, image) in SOURCES.items():
        for shard in shards[name]:
            for line in files.lines(shard, FIELDS):
                yield Record(
                    key=Path(line["voice_recording"]).stem,
                    image=root / image.format(line["image_id"]),
                    audio=_recording(root / "voice-recordings" / line["voice_recording"]),
                    texts=(line["caption"].strip(),),
                    split=split,
                    meta={
                        "dataset": line["dataset_id"],
                        "image_id": line["image_id"],
                        "annotator_id": line["annotator_id"],
                    },
                )


def _recording(path: Path) -> Path:
    """Where a recording is: of Flickr30k, the files have 16 digits and the annotations fewer."""
    if path.parent.name.startswith("flickr30k") and not path.is_file():
        prefix, image_id, annotator = path.name.rsplit("_", 2)
        padded = path.with_name(f"{prefix}_{image_id:0>16}_{annotator}")
        return padded if padded.is_file() else path
    return path
