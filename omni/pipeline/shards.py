"""Webdataset shards: which there are, and the raw members of each sample.

A split is the files SPLIT-*.tar of a folder. Samples are yielded as webdataset yields them, as
bytes by extension; nothing is decoded by webdataset, whose own decoders unpickle members.
"""

from collections.abc import Iterator
from pathlib import Path

import webdataset as wds

from omni.batch import Sample
from omni.pipeline.decode import decode


def find_shards(path: str | Path, split: str) -> list[Path]:
    """The shards of a split in order. Raises `ValueError` when there are none."""
    shards = sorted(Path(path).glob(f"{split}-*.tar"))
    if not shards:
        found = sorted({p.name.rsplit("-", 1)[0] for p in Path(path).glob("*-*.tar")})
        raise ValueError(
            f"no shards {split}-*.tar in {str(path)!r}; splits there: {', '.join(found) or 'none'}"
        )
    return shards


def read_members(path: str | Path, split: str) -> Iterator[dict[str, bytes | str]]:
    """Each sample as {"__key__": key, extension: bytes}, in the order of the shards."""
    # Local files only: a `pipe:` address would start a shell.
    urls = [shard.resolve().as_posix() for shard in find_shards(path, split)]
    yield from wds.WebDataset(urls, shardshuffle=False, empty_check=False)


def read_samples(path: str | Path, split: str) -> list[Sample]:
    """All samples of a split, decoded, text in English where there is any."""
    return [decode(members) for members in read_members(path, split)]
