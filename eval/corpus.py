"""The corpus as the tasks see it: samples of a split, as items for `embed` and `generate`."""

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import PIL.Image

from omni import Audio
from omni.batch import Sample
from omni.items import Item, to_sound
from omni.pipeline.sample import read_samples

SENSES = ("text", "image", "audio")
SPLITS = ("test", "new")


class Corpus:
    """The shards of one folder, read on first use.

    Args:
        path: folder that holds SPLIT-*.tar of every split in `splits`.

    Raises:
        ValueError: the folder holds no shard of one of the splits.
    """

    def __init__(self, path: str | Path, splits: Sequence[str] = ("train", *SPLITS)):
        self.path, self.splits = Path(path), splits
        self._samples: dict[str, list[Sample]] = {}
        for split in splits:
            if not any(self.path.glob(f"{split}-*.tar")):
                raise ValueError(
                    f"{self.path} holds no {split}-*.tar: run `python -m data.prepare`"
                )

    @cached_property
    def digest(self) -> str:
        """sha256 over the sha256 of every shard, in order of name."""
        whole = hashlib.sha256()
        for shard in sorted(self.path.glob("*.tar")):
            with shard.open("rb") as file:
                whole.update(hashlib.file_digest(file, "sha256").hexdigest().encode())
        return whole.hexdigest()

    def samples(self, split: str) -> list[Sample]:
        """All samples of a split."""
        if split not in self._samples:
            self._samples[split] = list(read_samples(str(self.path), split))
        return self._samples[split]

    @property
    def galleries(self) -> dict[str, int]:
        """Complete samples of every split in which something is sought."""
        sought = [split for split in self.splits if split not in ("train", "val")]
        return {split: len(self.gallery(split)) for split in sought}

    @property
    def licences(self) -> list[str]:
        """Who drew the pictures that the report shows, and under which licence, as far as told."""
        metas = [sample.meta for split in self.galleries for sample in self.gallery(split)]
        return sorted({f"{m['style']} ({m['licence']})" for m in metas if "licence" in m})

    @property
    def train(self) -> list[Sample]:
        """The training samples; some have no recording."""
        return self.samples("train")

    @cached_property
    def test(self) -> list[Sample]:
        """One complete sample a concept: drawing teams and voices of the training set."""
        return self._complete("test")

    @cached_property
    def new(self) -> list[Sample]:
        """One complete sample a concept: a drawing team or voice that training never met."""
        return self._complete("new")

    @cached_property
    def names(self) -> dict[str, str]:
        """English name of every concept."""
        samples = [*self.train, *self.test, *self.new]
        return {concept(sample): sample.text or "" for sample in samples}

    def gallery(self, split: str) -> list[Sample]:
        """The complete samples of a split: of emoji every concept once, unseen ones included."""
        return {"test": lambda: self.test, "new": lambda: self.new}.get(
            split, lambda: self._complete(split)
        )()

    def queries(self, split: str, limit: int | None = None, seed: int = 0) -> list[Sample]:
        """Samples of `split` whose concept is in training, at most `limit` chosen by `seed`."""
        seen = [sample for sample in self.gallery(split) if is_seen(sample)]
        return seen if limit is None else choose(seen, limit, seed)

    def _complete(self, split: str) -> list[Sample]:
        return [s for s in self.samples(split) if None not in (s.image, s.audio, s.text)]


def is_seen(sample: Sample) -> bool:
    """Whether the sample's concept occurs in training."""
    return not sample.meta.get("unseen", False)


def concept(sample: Sample) -> str:
    """The class of a sample: code points of the emoji, such as `1f600`."""
    return sample.meta["concept"]


def choose(samples: list[Sample], limit: int, seed: int) -> list[Sample]:
    """At most `limit` samples, chosen by `seed` and key, in their order in the shards.

    A smaller limit gives a subset of a larger one, so examples shown are among those measured.
    """
    kept = {id(s) for s in sorted(samples, key=lambda s: keyed(seed, s.key))[:limit]}
    return [sample for sample in samples if id(sample) in kept]


def keyed(seed: int, key: str) -> int:
    """A 64-bit number fixed by seed and key, the same on every machine."""
    return int.from_bytes(hashlib.sha256(f"{seed}/{key}".encode()).digest()[:8], "big")


def picture(sample: Sample) -> PIL.Image.Image:
    """The sample's picture, RGB."""
    assert sample.image is not None
    return PIL.Image.fromarray(sample.image.permute(1, 2, 0).numpy())


def recording(sample: Sample) -> Audio:
    """The sample's recording, float32 in [-1, 1] at 16 kHz."""
    assert sample.audio is not None
    return to_sound(sample.audio, 16_000)


def noisy(sample: Sample, snr: float, seed: int) -> Audio:
    """The recording with white noise at `snr` dB, fixed by seed and key; scaled where it clips."""
    assert sample.audio is not None
    samples = sample.audio.numpy().astype(np.float32) / 32768
    noise = np.random.default_rng(keyed(seed, sample.key)).standard_normal(len(samples))
    noise *= np.sqrt(np.mean(samples**2) / np.mean(noise**2)) * 10 ** (-snr / 20)
    mixed = (samples + noise).astype(np.float32)
    return Audio(mixed / max(1.0, float(np.abs(mixed).max())), 16000)


def item(sample: Sample, senses: str) -> Item:
    """The sample as an item of `senses`: `text`, `image`, `audio`, or several joined by `+`."""
    parts = {"text": lambda s: s.text, "image": picture, "audio": recording}
    items = tuple(parts[sense](sample) for sense in senses.split("+"))
    return items[0] if len(items) == 1 else items
