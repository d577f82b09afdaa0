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

from omni.interface import Omni, load
from omni.items import Audio, Item
from omni.pretrained import digest
from omni.search.index import Entry, Hit, Index
from omni.search.rerank import rerank as look_again
from omni.search.rerank import reread


@dataclass(frozen=True)
class About:
    """What there is to know of a model: the size of its vectors, pictures and sounds."""

    width: int
    image_size: int
    sample_rate: int


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
    index = folder and Index.open(folder, digest(name))
    verbs: dict[str, Callable] = {
        "embed": lambda items: [*model.embed(items).numpy()],
        "write": lambda items, language: model.generate(items, "text", language=language),
        "draw": lambda items, **how: [_png(x) for x in model.generate(items, "image", **how)],
        "speak": lambda items, kind, **how: [
            _sound(x, kind) for x in model.generate(items, "audio", **how)
        ],
    }
    if index is not None:
        verbs |= {
            "search": lambda items, **how: _search(model, index, root, items, **how),
            "add": lambda items: _add(model, index, items),
            "delete": lambda items: [index.delete([name]) > 0 for name in items],
        }

    def answer(request: tuple[str, tuple, list]) -> list:
        verb, options, items = request
        return _each(lambda some: verbs[verb](some, **dict(options)), items)

    config = model.config.model
    return About(config.embed_dim, config.image.size, config.audio.sample_rate), answer


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


def _png(picture: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _sound(sound: Audio, kind: str) -> bytes:
    import soundfile

    file = io.BytesIO()
    soundfile.write(file, sound.samples, sound.sample_rate, format=kind)
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
    again, left = look_again(model, item, hits, partial(_reread, root))
    if hits and len(left) == len(hits):
        raise ValueError(f"nothing that is found can be looked at again: {left[0]}")
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
