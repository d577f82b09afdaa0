"""What a model does with a batch of requests, in its own process."""

import io
import json
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from omni import chunks
from omni.interface import Omni, load
from omni.items import Audio, Item
from omni.modality.audio import to_int16
from omni.pretrained import digest
from omni.search.index import CATALOGUE, Entry, Hit, Index
from omni.search.rerank import rerank as look_again
from omni.search.rerank import reread
from omni.serve.subtitles import Segment

SPOKEN = {"wav": ("WAV", "PCM_16"), "flac": ("FLAC", "PCM_16"), "mp3": ("MP3", None),
          "opus": ("OGG", "OPUS")}  # fmt: skip
"""how libsndfile names the formats of speech"""
RATE = 24_000
"""Hz of samples without a header, as OpenAI sends them, and one that Opus knows"""


@dataclass(frozen=True)
class About:
    """What there is to know of a model: the size of its vectors, pictures and sounds."""

    width: int
    image_size: int
    sample_rate: int


@dataclass(frozen=True)
class Written:
    """A text, how many tokens it has, and whether more was left out of it."""

    text: str
    num_tokens: int
    is_cut: bool


@dataclass(frozen=True)
class Refused:
    """Why there is no answer; `fault` says that it is ours."""

    reason: str
    fault: bool = False


def open_model(
    name: str, device: str, folder: Path | None, root: Path | None
) -> tuple[About, Callable[[tuple[str, tuple, list]], list]]:
    """A model, and the function that answers its requests: (verb, options, items), a batch.

    Raises `ValueError` where there is none, or the index is of another.
    """
    Path("/proc/self/comm").write_text("omni-model", encoding="ascii")  # as top shows it
    model = load(name, device)
    model.reads_files = False  # clients must not learn which files there are
    index = folder and _Late(folder, digest(name))
    verbs: dict[str, Callable] = {
        "embed": lambda items: [*model.embed(items).numpy()],
        "write": partial(_write, model),
        "segments": partial(_segments, model),
        "draw": lambda items, side, form, quality, **how: [
            _picture(x, side, form, quality) for x in model.generate(items, "image", **how)
        ],
        "speak": lambda items, kind, **how: [
            _sound(x, kind) for x in model.generate(items, "audio", **how)
        ],
    }
    if index is not None:
        verbs |= {
            "search": lambda items, **how: _search(model, index.open(), root, items, **how),
            "add": lambda items: _add(model, index.open(), items),
            "delete": lambda items: [index.open().delete([name]) > 0 for name in items],
        }

    def answer(request: tuple[str, tuple, list]) -> list:
        verb, options, items = request
        return _each(lambda some: verbs[verb](some, **dict(options)), items)

    config = model.config.model
    return About(config.embed_dim, config.image.size, config.audio.sample_rate), answer


class _Late:
    """An index that is opened at once where it is there, and else when it is first needed.

    Raises `ValueError`, when it is opened, for an index of another model.
    """

    def __init__(self, folder: Path, model: str) -> None:
        self.folder, self.model = folder, model
        self._index: Index | None = None
        if (folder / CATALOGUE).is_file():
            self.open()

    def open(self) -> Index:
        """Return the index."""
        if self._index is None:
            self._index = Index.open(self.folder, self.model)
        return self._index


def _each(do: Callable[[list], list], items: list) -> list:
    """All at once; one by one where that fails, so that one that is at fault fails alone."""
    try:
        return do(items)
    except Exception as error:
        if len(items) > 1:
            return [answer for item in items for answer in _each(do, [item])]
        if isinstance(error, ValueError):
            return [Refused(str(error))]
        traceback.print_exc()
        return [Refused("the model failed on this", fault=True)]


def _write(model: Omni, items: list[tuple[Item, int | None]], language: str) -> list[Written]:
    """What each item says, with at most so many tokens as stand beside it."""
    texts = model.generate([item for item, _ in items], "text", language=language)
    written = []
    for text, (_, most) in zip(texts, items, strict=True):
        tokens = model.tokenizer.encode(text, len(text.encode()) + 2)[:-1]
        is_cut = most is not None and len(tokens) > most
        if is_cut:
            tokens = tokens[:most]
            text = model.tokenizer.decode(tokens).rstrip("\ufffd")  # half a letter
        written.append(Written(text, len(tokens), is_cut))
    return written


def _segments(model: Omni, items: list[Audio], language: str) -> list[list[Segment]]:
    """The pieces in which each recording is written down; of those that say nothing, none."""
    config, tokenizer = model.config.model, model.tokenizer
    pieces = [chunks.split(sound, "text", config, tokenizer) for sound in items]
    flat = [piece for some in pieces for piece in some]
    texts = iter(model.generate(flat, "text", language=language))
    answers = []
    for sound, some in zip(items, pieces, strict=True):
        segments, start = [], 0
        for piece in some:
            assert isinstance(piece, Audio)
            end = start + len(piece.samples)
            text = next(texts)
            if text:
                segments.append(Segment(start / sound.sample_rate, end / sound.sample_rate, text))
            start = end
        answers.append(segments)
    return answers


def _picture(picture: Image.Image, side: int, form: str, quality: int) -> bytes:
    """A file of a picture, made larger or smaller where it is of another size."""
    if picture.width != side:
        picture = picture.resize((side, side), Image.Resampling.LANCZOS)
    file = io.BytesIO()
    picture.save(file, form, quality=quality)
    return file.getvalue()


def _sound(sound: Audio, kind: str) -> bytes:
    """A file of speech, or its samples alone."""
    import soundfile

    samples, rate = sound.samples, sound.sample_rate
    if kind in ("pcm", "opus"):
        samples, rate = to_int16(torch.from_numpy(samples), rate, RATE).numpy(), RATE
    if kind == "pcm":
        return samples.astype("<i2").tobytes()
    form, subtype = SPOKEN[kind]
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", rate, 1, subtype, format=form) as writer:
        for start in range(0, len(samples), rate):  # Ogg at once takes a stack of its length
            writer.write(samples[start : start + rate])
    return file.getvalue()


def _search(
    model: Omni,
    index: Index,
    root: Path | None,
    items: list[Item],
    k: int,
    senses: tuple[str, ...],
    where: str,
    rerank: int,
) -> list[list[dict[str, Any]]]:
    """The best of the index for each item; `where` is a JSON object."""
    vectors = model.embed(items).numpy()
    found = index.search(vectors, max(k, rerank), senses, json.loads(where))
    if rerank:
        found = [_look(model, root, *pair) for pair in zip(items, found, strict=True)]
    return [[asdict(hit) for hit in hits[:k]] for hits in found]


def _look(model: Omni, root: Path | None, item: Item, hits: list[Hit]) -> list[Hit]:
    again, reason = look_again(model, item, hits, partial(_reread, root))
    if reason:
        raise ValueError(f"what is found cannot be re-ranked: {reason}")
    return again


def _reread(root: Path | None, sense: str, where: str) -> Item:
    if root is None:
        raise ValueError("nothing of this index may be given out")
    try:
        return reread(root, sense, where)
    except ValueError as error:  # which tells of a path
        raise ValueError(f"the {sense} of what is found cannot be read again") from error


def _add(model: Omni, index: Index, items: list[tuple[str, dict, dict]]) -> list[int]:
    """Puts (name, item a sense, metadata) into the index; their ids."""
    entries = []
    for name, content, meta in items:
        vectors: list[np.ndarray] = [*model.embed([*content.values()]).numpy()]
        entries.append(Entry(name, dict(zip(content, vectors, strict=True)), meta))
    index.add(entries)
    return [index.catalogue.id_of(name) for name, _, _ in items]
