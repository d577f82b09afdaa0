"""What a model does with a batch of requests, in its own process."""

import io
import json
import traceback
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from omni.interface import Omni, load
from omni.items import Audio, Item
from omni.pretrained import digest
from omni.search.index import Entry, Index
from omni.search.things import thing


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
    told = [[asdict(hit) for hit in hits] for hits in found]
    if rerank:
        told = [_rerank(model, root, *pair) for pair in zip(items, told, strict=True)]
    return [hits[:k] for hits in told]


def _rerank(
    model: Omni, root: Path | None, item: Item, hits: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """The same, after a closer look at what the index knows of them."""
    several = item if isinstance(item, tuple) else (item,)
    asked = any(isinstance(one, str) for one in several)
    gallery = [
        _thing(root, hit["meta"], ("image", "audio") if asked else ("text",)) for hit in hits
    ]
    if not gallery:
        return hits
    cosines = torch.tensor([[hit["score"] for hit in hits]])
    scores = model.rerank([item], gallery, torch.arange(len(hits))[None], cosines)[0].tolist()
    again = [hit | {"score": score} for hit, score in zip(hits, scores, strict=True)]
    return sorted(again, key=lambda hit: -hit["score"])


def _thing(root: Path | None, meta: dict[str, Any], senses: tuple[str, ...]) -> Item:
    for sense in senses:
        if sense == "text" and "text" in meta:
            return meta["text"]
        where = meta.get(sense) if sense != "text" else None
        if root and isinstance(where, str) and (found := thing(root, where, sense)) is not None:
            return found
    raise ValueError(f"what is found cannot be looked at again: it has no {' or '.join(senses)}")


def _add(model: Omni, index: Index, items: list[tuple[str, dict, dict]]) -> list[int]:
    """Puts (name, item a sense, metadata) into the index; their ids."""
    entries = []
    for name, content, meta in items:
        vectors: list[np.ndarray] = [*model.embed([*content.values()]).numpy()]
        entries.append(Entry(name, dict(zip(content, vectors, strict=True)), meta))
    index.add(entries)
    return [index.catalogue.id_of(name) for name, _, _ in items]
