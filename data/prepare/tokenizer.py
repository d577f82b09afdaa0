"""Train a tokenizer on the texts of a split, and write it beside the shards.

Byte-level BPE with one token for each language met. Texts are read twice, never held.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

from omni.modality.text import Tokenizer
from omni.pipeline.dataset import Dataset
from omni.pipeline.formats import BITS
from omni.pipeline.reader import Reader
from omni.pipeline.sample import decode_sample
from omni.progress import track

NAME = "tokenizer.json"
MIN_SIZE = 256
"""of the vocabulary: the bytes"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the texts are, how many tokens to learn, and where to put them."""
    parser.add_argument("path", type=Path, help="folder of shards")
    parser.add_argument("--vocab-size", type=int, required=True, help="0: letters alone")
    parser.add_argument("--split", default="train")
    parser.add_argument("--out", type=Path, metavar="FILE", help=f"PATH/{NAME}")


def run(arguments: argparse.Namespace) -> int:
    """Trains. Raises `ValueError` where there are no texts, or too few tokens for the bytes."""
    dataset = Dataset(str(arguments.path), arguments.split)
    languages = sorted({language for language, _ in _texts(dataset, "looking for languages")})
    if not languages:
        raise ValueError(f"no sample of {dataset.name} has a text")
    smallest = MIN_SIZE + 2 + len(languages)  # padding, end, and one a language
    if 0 != arguments.vocab_size < smallest:
        raise ValueError(
            f"--vocab-size must be at least {smallest} for {len(languages)} languages, or 0 for "
            f"letters, got {arguments.vocab_size}"
        )
    texts = (text for _, text in _texts(dataset, "training"))
    tokenizer = Tokenizer.train(texts, languages, arguments.vocab_size)
    out = arguments.out or arguments.path / NAME
    partial = out.with_name(out.name + ".partial")
    tokenizer.save(partial)
    partial.replace(out)
    print(f"{out}: {tokenizer.vocab_size} tokens, {', '.join(languages)}")
    return 0


def _texts(dataset: Dataset, what: str) -> Iterator[tuple[str, str]]:
    """Language and text of all texts, once a sample; what cannot be read is counted."""
    reader, skipped = Reader(dataset), 0
    try:
        for number in track(range(len(dataset)), what):
            shard, row = dataset.locate(number)
            if not shard.index.samples["senses"][row] & BITS["text"]:
                continue
            try:
                members = reader.content(number, only=("txt", "json"))
                texts = decode_sample("", members, 0).texts
            except ValueError:
                skipped += 1
                continue
            for language, values in texts.items():
                yield from ((language, text) for text in dict.fromkeys(values))
    finally:
        reader.close()
    if skipped:
        print(f"{skipped} samples passed over: their texts are damaged", file=sys.stderr)
