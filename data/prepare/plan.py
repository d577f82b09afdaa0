"""Which record goes into which shard, under which key: fixed by the order of the records alone."""

import hashlib
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator

from data.prepare.media import Form
from data.prepare.shard import convert
from data.record import Record, Rejection
from omni.pipeline.tar import BLOCK, padded

PROBE = 64
"""records that are converted to see how large a sample is"""
MAX_KEY = 80
"""characters: the name of a tar's member has at most 100"""


class Keys:
    """Makes keys safe, [0-9a-z_-]+, and unique: the second "a" becomes "a-2"."""

    def __init__(self) -> None:
        self.taken: set[int] = set()
        self.repeats: Counter[str] = Counter()

    def make(self, key: str) -> str:
        """A key that was not given before; it depends on those before it."""
        name = re.sub(r"[^0-9a-z_-]+", "-", key.lower()).strip("-")
        if not name or len(name) > MAX_KEY:
            digest = hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()[:12]
            name = f"{name[: MAX_KEY - 13]}-{digest}".lstrip("-")
        unique = name
        while (mark := _mark(unique)) in self.taken:
            self.repeats[name] += 1
            unique = f"{name}-{self.repeats[name] + 1}"
        self.taken.add(mark)
        return unique


def _mark(key: str) -> int:
    """Eight bytes instead of the key: there may be a hundred million."""
    return int.from_bytes(hashlib.blake2b(key.encode(), digest_size=8).digest(), "little")


def safe_split(split: str) -> str:
    """A name for the files of a split: the dash parts it from the number of the shard."""
    name = re.sub(r"[^0-9a-zA-Z_]+", "_", split)
    if not name.strip("_"):
        raise ValueError(f"a split must have letters or digits in its name, got {split!r}")
    return name


def shards(
    records: Iterable[Record | Rejection], shard_samples: int, claim: Callable[[str], None]
) -> Iterator[tuple[str, list[tuple[str, Record | Rejection]]]]:
    """Name and records of each shard: `shard_samples` records of one split in their order.

    `claim` is called with each split when it is first met.
    """
    keys, counts = Keys(), Counter[str]()
    open_shards: defaultdict[str, list[tuple[str, Record | Rejection]]] = defaultdict(list)
    for record in records:
        split = safe_split(record.split)
        if split not in open_shards:
            claim(split)
        filled = open_shards[split]
        filled.append((keys.make(record.key), record))
        if len(filled) == shard_samples:
            yield f"{split}-{counts[split]:06d}.tar", filled
            open_shards[split] = []
            counts[split] += 1
    for split, filled in open_shards.items():
        if filled:
            yield f"{split}-{counts[split]:06d}.tar", filled


def measure(head: list[Record | Rejection], form: Form, shard_bytes: int) -> int:
    """Samples that a shard of about `shard_bytes` holds, as the first records let expect.

    Media given as bytes count as they are given: those of a whole shard are in memory at once.
    """
    keys, packed, given, reason = Keys(), [], [], ""
    for record in head:
        key = keys.make(record.key)
        found = record if isinstance(record, Rejection) else convert(key, record, form)
        if isinstance(found, Rejection):
            reason = f"{found.key!r}, {found.member}: {found.reason}"
        else:
            packed.append(sum(BLOCK + padded(len(data)) for data in found.values()))
        if isinstance(record, Record):
            media = record.image, record.audio
            given.append(sum(len(data) for data in media if isinstance(data, bytes)))
    if not packed:
        raise ValueError(f"none of the first {len(head)} samples can be used; the last: {reason}")
    mean = max(sum(packed) / len(packed), sum(given) / len(given))
    return max(1, int(shard_bytes / mean))
