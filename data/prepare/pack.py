"""Pack a folder, a table, foreign tars or a known data set into shards with indexes.

A run that was stopped in any way goes on where it was when it is started again with the same
options, and what it writes is the same to the byte, whatever the number of processes.
"""

import argparse
import os
import sys
from collections import Counter
from collections.abc import Iterable
from functools import partial
from itertools import chain, islice
from pathlib import Path

from data.prepare.engine import run_local, run_ray
from data.prepare.ledger import REJECTED, Ledger, normal_path
from data.prepare.media import Form
from data.prepare.plan import PROBE, measure, shards
from data.prepare.shard import Done, Job
from data.prepare.sources import Source, open_source
from data.prepare.tables import TABLES
from omni.interrupt import advise
from omni.progress import Progress

SHARD_MB = 256


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Source, output, what media become, and who does the work."""
    form = Form()
    parser.add_argument(
        "source", help="folder, table, tars (also as a pattern), or recipe's folder"
    )
    parser.add_argument("out", type=Path, help="folder of the shards")
    parser.add_argument(
        "--split", help="of all samples; else what folders, files or a column are called, or train"
    )
    parser.add_argument("--recipe", metavar="NAME", help="SOURCE is a copy of this known data set")
    parser.add_argument("--size", type=_positive, default=form.size, help="short side, pixels")
    parser.add_argument("--quality", type=_positive, default=form.quality, help="of JPEG")
    parser.add_argument("--audio", choices=["flac", "wav"], default=form.audio)
    parser.add_argument("--sample-rate", type=_positive, default=form.sample_rate, metavar="HZ")
    parser.add_argument("--keep-originals", action="store_true", help="media stay as they are")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--shard-mb", type=_positive, default=SHARD_MB, help="about so large")
    length.add_argument("--shard-samples", type=_positive, help="exactly so long, but the last")
    parser.add_argument("--processes", type=_positive, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--engine", choices=["local", "ray"], default="local")


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def run(arguments: argparse.Namespace) -> int:
    """Packs. Raises `ValueError` for a source that cannot be used, or of which most cannot."""
    a = arguments
    if a.quality > 100:
        raise ValueError(f"--quality must be 1 to 100, got {a.quality}")
    if not a.recipe and a.out.resolve().is_relative_to(Path(a.source).resolve()):
        raise ValueError(f"the output must not lie within the source, got {str(a.out)!r}")
    form = Form(a.size, a.quality, a.audio, a.sample_rate, a.keep_originals)
    source = open_source(a.source, a.recipe, a.split)
    length = {"shard_mb": None if a.shard_samples else a.shard_mb, "shard_samples": a.shard_samples}
    settings = {"source": a.source, "recipe": a.recipe, **vars(form), **length}
    settings["source"] = normal_path(a.source)
    with Ledger.opened(a.out) as ledger:
        records = iter(source)
        shard_samples = a.shard_samples or ledger.shard_samples(settings)
        if not shard_samples:
            head = list(islice(records, PROBE))
            shard_samples = measure(head, form, a.shard_mb << 20) if head else 1
            records = chain(head, records)
        claim = partial(ledger.claim, settings=settings, shard_samples=shard_samples)
        planned = shards(records, shard_samples, claim)
        jobs = (Job(a.out, ledger.work, name, filled, form) for name, filled in planned)
        engine = run_ray if a.engine == "ray" else run_local
        with advise("the same command goes on with the shards that are missing"):
            done = _watch(engine(jobs, a.processes), source.total)
        _tell(source)
        if not done:
            raise ValueError(f"{a.source!r} holds no samples")
        ledger.drop(settings, {shard.name for shard in done})
        ledger.finish()
    return _report(a.out, done)


def _watch(results: Iterable[Done], total: int | None) -> list[Done]:
    """What comes of the shards, while it is shown."""
    done: list[Done] = []
    samples = rejected = damaged = 0
    with Progress("packing", total) as progress:
        for shard in results:
            done.append(shard)
            samples += shard.samples
            rejected += shard.rejected
            damaged += shard.damaged
            progress.update(samples + rejected, "packing" + _noted(rejected, damaged))
    return done


def _noted(rejected: int, damaged: int) -> str:
    """What was not packed, in words: nothing where there is nothing to tell."""
    noted = f", {rejected} rejected" if rejected else ""
    return noted + (f", {damaged} without a damaged part" if damaged else "")


def _tell(source: Source) -> None:
    """Says what became of the files and fields of a source."""
    for line in source.census.lines():
        print(line)
    for extension, count in sorted(source.passed_over.items()):
        what = "a table: pack it by itself" if extension.lower() in TABLES else extension
        named = f"{extension} ({what})" if what != extension else extension
        print(f"passed over: {count} x {named}", file=sys.stderr)


def _report(out: Path, done: list[Done]) -> int:
    """Says what was done. Raises `ValueError` when most samples were rejected."""
    samples, rejected = sum(d.samples for d in done), sum(d.rejected for d in done)
    damaged = sum(d.damaged for d in done)
    if 2 * (rejected + damaged) > rejected + samples:
        raise ValueError(
            f"{rejected} of {rejected + samples} samples were rejected and {damaged} damaged in "
            f"part, which is more than half: see {out / REJECTED}"
        )
    noted = _noted(rejected, damaged)
    noted += f" (see {REJECTED})" if noted else ""
    splits = Counter[str]()
    for shard in done:
        splits[shard.name.rpartition("-")[0]] += shard.samples
    parts = ", ".join(f"{split} {count}" for split, count in sorted(splits.items()))
    named = f" ({parts})" if len(splits) > 1 else ""
    print(f"{out}: {samples} samples in {len(done)} shards{named}{noted}")
    return 0
