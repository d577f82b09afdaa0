"""Webdataset shards: which there are, and the raw members of each sample.

A split is the files SPLIT-*.tar of a folder. Samples are yielded as webdataset yields them, as
bytes by extension; nothing is decoded by webdataset, whose own decoders unpickle members.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from webdataset.tariterators import group_by_keys, tar_file_iterator

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
    for shard in find_shards(path, split):
        # Opened and closed here: webdataset's own opener leaves files open, and starts a shell for
        # addresses that begin with `pipe:`.
        with shard.open("rb") as file:
            found: Any = tar_file_iterator(cast(Any, file))  # annotated as if it took a TarFile
            members = ({**m, "__url__": str(shard)} for m in found)
            yield from group_by_keys(members)


def read_samples(path: str | Path, split: str) -> list[Sample]:
    """All samples of a split, decoded, text in English where there is any."""
    return [decode(members) for members in read_members(path, split)]
