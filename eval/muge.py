"""MUGE: `python -m eval.muge score TRUTH.jsonl PREDICTION.jsonl`, and submissions to it.

`python -m eval.muge retrieve | caption | draw RUN OUT --data SHARDS` writes one.

`score` prints what the official scorer of the retrieval task would, and exits with 1 where it
refuses the prediction. The others write a submission with a model of ours, from shards that
`python -m data.prepare pack --recipe muge ROOT OUT` has made. What is written is read back by the
rules of `eval.submission` before it gets its name.
Lin et al., "M6: A Chinese Multimodal Pretrainer", 2021.
"""

import argparse
import base64
import io
import json
import sys
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import PIL.Image
import torch

import omni
from eval import submission
from eval.corpus import picture
from eval.ranking import nearest
from eval.submission import DEPTH, DIALECTS, Dialect
from omni import Omni
from omni.batch import Sample
from omni.interrupt import interruptible
from omni.pipeline.dataset import Dataset
from omni.pipeline.reader import SampleError
from omni.pipeline.sample import numbered_samples
from omni.progress import track

LANGUAGE = "zh"
BATCH = 64
"""samples that are decoded, and embedded or made, at once"""
Entry = tuple[Any, str]
"""what a line is about, and the line"""


@dataclass(frozen=True)
class Source:
    """A split of packed shards; what is damaged in it is passed over and told in `damaged`."""

    data: str
    split: str
    damaged: list[SampleError] = field(default_factory=list)


def batches(source: Source, task: str, *senses: str) -> Iterator[list[Sample]]:
    """The samples of a task that hold one of some senses, while a bar shows how many are read.

    Raises `ValueError` where there is none.
    """
    data, split = source.data, source.split
    count, about = len(Dataset(data, split)), f"{task} of {split}"
    samples = numbered_samples(data, split, damaged=source.damaged.append)
    read = track(samples, about, count)
    chosen = (
        sample
        for _, sample in read
        if sample.meta.get("task") == task
        and any(getattr(sample, sense) is not None for sense in senses)
    )
    if not (some := [*islice(chosen, BATCH)]):
        raise ValueError(f"{data} must hold {' or '.join(senses)} of {about}, it has none")
    while some:
        yield some
        some = [*islice(chosen, BATCH)]


def retrieve(model: Omni, source: Source, dialect: Dialect) -> Iterator[Entry]:
    """The ten best images of each query. Raises `ValueError` for a gallery of fewer."""
    texts, images, vectors = {}, [], []
    for some in batches(source, "MR", "image", "text"):
        for sample in some:
            texts |= asked(sample)
        if shown := [sample for sample in some if sample.image is not None]:
            images += [sample.meta["image_id"] for sample in shown]
            vectors.append(model.embed([picture(sample) for sample in shown]))
    if len(images) < DEPTH or not texts:
        has = f"{len(images)} and {len(texts)}"
        where = f"{source.data} ({source.split})"
        raise ValueError(f"{where} must hold {DEPTH} images and a query, it has {has}")
    _, best = nearest(model.embed([*texts.values()]), torch.cat(vectors), DEPTH)
    for query, row in zip(texts, best.tolist(), strict=True):
        found = dict(zip(dialect, (query, [images[place] for place in row]), strict=True))
        yield query, json.dumps(found)


def asked(sample: Sample) -> dict[int, str]:
    """The queries of a sample by their numbers: its own, or those that its image answers."""
    meta = sample.meta
    texts = meta.get("captions", [])
    numbers = [meta["query_id"]] if "query_id" in meta else meta.get("query_ids", [])
    if len(numbers) != len(texts):
        raise ValueError(f"sample {sample.key}: {len(texts)} queries have {len(numbers)} numbers")
    return dict(zip(numbers, texts, strict=True))


def caption(model: Omni, source: Source) -> Iterator[Entry]:
    """A caption for each image."""
    for some in batches(source, "IC", "image"):
        pictures = [picture(sample) for sample in some]
        texts = model.generate(pictures, to="text", language=LANGUAGE)
        for sample, text in zip(some, texts, strict=True):
            image = sample.meta["image_id"]
            yield image, json.dumps({"image_id": image, "text": text}, ensure_ascii=False)


def draw(model: Omni, source: Source, seed: int) -> Iterator[Entry]:
    """A picture for each prompt; the batches, and what is in them, have noise of their own."""
    for number, some in enumerate(batches(source, "T2I", "text")):
        drawn = model.generate([s.text for s in some if s.text], to="image", seed=seed + number)
        for sample, made in zip(some, drawn, strict=True):
            image = sample.meta["image_id"]
            yield image, f"{image}\t{encode(made)}"


def encode(made: PIL.Image.Image) -> str:
    """A PNG in base64, in the alphabet of the official baseline."""
    made.save(file := io.BytesIO(), "PNG")
    return base64.b64encode(file.getvalue()).decode()


def write(
    path: Path, entries: Iterable[Entry], read: Callable[[Path, Collection[Any]], Any]
) -> int:
    """Writes the lines, reads them back as a scorer would, and returns how many there are."""
    whole, about = path.with_name(path.name + ".partial"), {}
    with whole.open("w", encoding="utf-8") as file:
        for what, line in entries:
            about[what] = None
            file.write(line + "\n")
    read(whole, about)
    whole.replace(path)
    return len(about)


def parser() -> argparse.ArgumentParser:
    """The arguments of the four commands."""
    summary = (__doc__ or "").partition("\n")[0]
    built = argparse.ArgumentParser("python -m eval.muge", description=summary)
    commands = built.add_subparsers(dest="command", required=True)
    scorer = commands.add_parser("score", help="of a retrieval submission")
    scorer.add_argument("truth", type=Path, help="jsonl, in either dialect")
    scorer.add_argument("prediction", type=Path, help="jsonl, in the same dialect")
    made = {"retrieve": "best images of queries", "caption": "captions", "draw": "pictures"}
    for name, told in made.items():
        command = commands.add_parser(name, help=f"write {told}")
        command.add_argument("run", help="the model: folder of a run, or hub name")
        command.add_argument("out", type=Path, help="the file to write")
        command.add_argument("--data", required=True, help="folder of the shards")
        command.add_argument("--split", default="test", help="train, val or test")
    retriever, drawer = commands.choices["retrieve"], commands.choices["draw"]
    retriever.add_argument("--dialect", choices=[*DIALECTS], default="original", help="of OUT")
    drawer.add_argument("--seed", type=int, default=0, help="of the noise")
    return built


def submit(given: argparse.Namespace) -> list[SampleError]:
    """Writes a submission, and says so; returns what was damaged and is not in it.

    Raises `ValueError` or `OSError` for the user.
    """
    model, source = omni.load(given.run), Source(given.data, given.split)
    if given.command == "retrieve":
        dialect = DIALECTS[given.dialect]
        entries = retrieve(model, source, dialect)
        read = partial(submission.read_ranked, dialect=dialect)
    elif given.command == "caption":
        entries, read = caption(model, source), submission.read_captions
    else:
        entries, read = draw(model, source, given.seed), submission.read_pictures
    print(f"{given.out}: {write(given.out, entries, read)} lines")
    return source.damaged


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; what the user got wrong, or is damaged, is one line, and 2."""
    with interruptible("muge"):
        return run(parser().parse_args(arguments))


def run(given: argparse.Namespace) -> int:
    """The exit status of one command."""
    if given.command == "score":
        result = submission.judge(given.truth, given.prediction)
        print(json.dumps(result, ensure_ascii=False))
        return 0 if result["success"] else 1
    try:
        wrong: Sequence[Exception] = submit(given)
    except (ValueError, OSError) as error:
        wrong = [error]
    for error in wrong:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
    return 2 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
