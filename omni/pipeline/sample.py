"""Members of a sample to a `Sample`: decoded, in English where there is English."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from omni.batch import Sample
from omni.modality.audio import to_int16
from omni.pipeline.dataset import Dataset
from omni.pipeline.decode import (
    answers_of,
    decode_audio,
    decode_image,
    decode_json,
    decode_text,
    texts_of,
)
from omni.pipeline.formats import SLOTS
from omni.pipeline.reader import Reader, SampleError

MANY_TEXTS = 200_000
"""samples from which tokenizers and lists of answers are made; more change them little"""


class MemberError(ValueError):
    """A member that cannot be decoded, and why."""

    def __init__(self, member: str, reason: str) -> None:
        super().__init__(f"member .{member}: {reason}")
        self.member, self.reason = member, reason


def decode_members(
    members: Mapping[str, bytes | bytearray],
    sample_rate: int,
    out: np.ndarray | None = None,
    faults: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What the members of a sample hold, by sense, and as `meta` what json says of them.

    An empty file, or a blank text, is a sense that the sample does not have. A JPEG may go
    straight into `out` (see `decode_image`). A member that is damaged raises `MemberError`; or,
    where there are `faults`, its reason goes there and its sense is absent. With a json the text
    is absent too: what language it is in, and whether it is a question, stood there.
    """
    found: dict[str, Any] = {"meta": {}}
    for extension, data in members.items():
        slot = SLOTS.get(extension)
        try:
            if not data:
                continue
            if slot == "image":
                found[slot] = decode_image(data, out)
            elif slot == "audio":
                found[slot] = to_int16(*decode_audio(data), sample_rate)
            elif slot == "text":
                found[slot] = decode_text(data) or None
            else:
                found["meta"] = decode_json(data)
        except ValueError as error:
            if faults is None:
                raise MemberError(extension, str(error)) from error
            faults[extension] = str(error)
    if faults and "json" in faults:
        found.pop("text", None)
    return found


def make_sample(key: str, found: dict[str, Any]) -> Sample:
    """A sample of what `decode_members` found; those of one concept, or one text, are a group.

    But for questions: what is asked of two things does not make them one.
    """
    meta = found["meta"]
    texts, language = texts_of(meta), meta.get("language") or "en"
    if (text := found.get("text")) is not None:
        others = [other for other in texts.get(language, ()) if other != text]
        texts[language] = [text, *others]
    elif texts:
        language = language if language in texts else next(iter(texts))
        text = texts[language][0]
    answers = [] if text is None else answers_of(meta)
    concept = meta.get("concept")
    alike = key if text is None or answers else text
    group = alike if concept is None else str(concept)
    senses = found.get("image"), found.get("audio"), text
    return Sample(key, *senses, language, group, texts, answers, meta)


def decode_sample(
    key: str,
    members: Mapping[str, bytes | bytearray],
    sample_rate: int,
    shard: str = "",
    faults: dict[str, str] | None = None,
) -> Sample:
    """One sample; without `faults` whole, or there is a `SampleError` that names the member."""
    try:
        return make_sample(key, decode_members(members, sample_rate, faults=faults))
    except MemberError as error:
        raise SampleError(shard, key, error.member, error.reason) from error


def read_samples(path: str, split: str, sample_rate: int = 16_000) -> Iterator[Sample]:
    """All samples of a split in the order of the shards. Raises `SampleError` for a damaged one."""
    for _, sample in numbered_samples(path, split, sample_rate):
        yield sample


def numbered_samples(
    path: str,
    split: str,
    sample_rate: int = 16_000,
    damaged: Callable[[SampleError], None] | None = None,
) -> Iterator[tuple[int, Sample]]:
    """The same with their numbers in the data set.

    With `damaged`, what is damaged goes there, and the rest of the sample is given if there is any.
    """
    dataset = Dataset(path, split)
    reader = Reader(dataset)
    try:
        for number in range(len(dataset)):
            shard, _ = dataset.locate(number)
            faults: dict[str, str] | None = None if damaged is None else {}
            try:
                key, members = reader.members(number, faults)
                sample = decode_sample(key, members, sample_rate, shard.name, faults)
            except SampleError as error:  # with `faults`, its headers cannot be read
                if damaged is None:
                    raise
                damaged(error)
                continue
            for member, reason in (faults or {}).items():
                assert damaged is not None
                damaged(SampleError(shard.name, key, member, reason))
            if not faults or sample.senses:
                yield number, sample
    finally:
        reader.close()


def read_texts(dataset: Dataset) -> Iterator[Sample]:
    """Samples as far as their texts and answers go, of a large data set the first `MANY_TEXTS`.

    Damaged ones are passed over: they are told of when their turn comes in training.
    """
    reader = Reader(dataset)
    try:
        for number in range(min(len(dataset), MANY_TEXTS)):
            try:
                yield decode_sample("", reader.content(number, only=("txt", "json")), 0)
            except SampleError:
                continue
    finally:
        reader.close()
