"""A doctor for shards: finds before training what would spoil it.

It surveys a split once, then asks every question of what it found. Its exit status is 0 when there
is no error, 1 when there is one, and 2 for arguments that cannot be meant.
"""

import argparse
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table
from rich.text import Text

from data.prepare import findings, leaks, speed
from data.prepare.findings import ERROR, OK, WARNING, Finding
from data.prepare.survey import Source, Survey, processes, survey
from omni.config import DataConfig
from omni.modality.text import Tokenizer
from omni.pipeline import remote
from omni.pipeline.formats import BITS, senses_of

TESTS = ("test", "valid", "val", "dev", "new")
"""names of splits that are tested on"""
COLOURS = {ERROR: "bold red", WARNING: "yellow", OK: "green"}
LANGUAGES = 12
"""in the table; the others are added up"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `python -m data.prepare check`."""
    # Written by hand: --against takes all words behind it, so PATH must come first.
    parser.usage = "%(prog)s [options] path [--against [PATH[:SPLIT] ...]]"
    parser.add_argument("path", help="folder of shards SPLIT-*.tar, or a pattern of tars")
    parser.add_argument("--split", default="train")
    parser.add_argument(
        "--against", nargs="*", metavar="PATH[:SPLIT]",
        help="test sets no medium of which may be here (default: those of the folder: "
        f"{', '.join(TESTS)}); none: no comparison",
    )  # fmt: skip
    ignore = "an extension to pass over; may be given several times"
    parser.add_argument("--ignore", action="append", default=[], metavar="EXT", help=ignore)
    parser.add_argument("--ranks", type=_positive, default=1, help="processes that train")
    data = DataConfig()
    parser.add_argument("--workers", type=int, default=data.workers, help="loader processes a rank")
    parser.add_argument("--batch-size", type=_positive, default=data.batch_size)
    parser.add_argument("--step-seconds", type=float, help="one step without waiting for data")
    parser.add_argument("--limit", type=_positive, help="samples decoded, evenly spread")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--processes", type=_positive, default=cores, help="(default: %(default)s)")


def _positive(text: str) -> int:
    if (value := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {value}")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Prints what the split holds and all findings; 1 where one is an error."""
    ours, found = diagnose(arguments)
    console = Console()
    console.print(_numbers(ours))
    console.print(_table(found))
    errors, warnings = (sum(f.severity == s for f in found) for s in (ERROR, WARNING))
    console.print(f"errors: {errors}, warnings: {warnings}")
    return 1 if errors else 0


def diagnose(arguments: argparse.Namespace) -> tuple[Survey, list[Finding]]:
    """Surveys the split and those it is compared with.

    Raises `ValueError` for arguments that cannot be meant.
    """
    if arguments.workers < 0:
        raise ValueError(f"--workers must be at least 0, got {arguments.workers}")
    if arguments.step_seconds is not None and not arguments.step_seconds > 0:
        raise ValueError(f"--step-seconds must be above 0, got {arguments.step_seconds}")
    source = Source(arguments.path, arguments.split, tuple(arguments.ignore))
    tests = list(_tests(source, arguments.against))
    known = _known_languages(arguments.path)
    with processes(arguments.processes) as execute:
        ours = survey(source, arguments.limit, execute)
        theirs = [survey(test, arguments.limit, execute) for test in tests]
    return ours, list(_findings(ours, theirs, known, arguments))


def _tests(source: Source, against: list[str] | None) -> Iterator[Source]:
    """What the split is compared with. Raises `ValueError` where there is nothing of that name."""
    for name in [source.path] if against is None else against:
        path, colon, split = name.rpartition(":")
        if colon and path and "/" not in split:
            yield Source(path, split, source.ignore)
        elif Path(name).is_dir():
            splits = [s for s in TESTS if any(Path(name).glob(f"{s}-*.tar"))]
            own = source.split if Path(name) == Path(source.path) else ""
            others = [s for s in splits if s != own]
            if against is not None and not others:
                raise ValueError(f"{name!r} has no split called {', '.join(TESTS)}: name it")
            yield from (Source(name, split, source.ignore) for split in others)
        elif against is not None:
            yield Source(name, "test", source.ignore)


def _findings(
    ours: Survey,
    theirs: list[Survey],
    known: dict[str, int] | None,
    arguments: argparse.Namespace,
) -> Iterator[Finding]:
    yield from findings.shards(ours)
    yield from findings.samples(ours)
    yield findings.languages(ours, known)
    yield leaks.duplicates(ours)
    for other in theirs:
        yield from leaks.leaks(ours, other)
    readers = arguments.ranks * max(1, arguments.workers)
    yield from findings.amounts(ours, readers, arguments.batch_size)
    measured = speed.measure(ours, readers)
    yield speed.keeps_up(ours, measured, arguments.batch_size, arguments.step_seconds)
    yield findings.keys(ours)
    yield findings.rates(ours)
    yield findings.large(ours)


def _known_languages(path: str) -> dict[str, int] | None:
    """Of the tokenizer beside the shards. Raises `ValueError` for a file that is none."""
    if remote.is_remote(path):
        return None
    folder = Path(path) if Path(path).is_dir() else Path(path).parent
    file = folder / "tokenizer.json"
    if not file.exists():
        return None
    try:
        return Tokenizer.load(file).languages
    except Exception as error:  # the library raises nothing more special
        raise ValueError(f"{str(file)!r} is no tokenizer: {error}") from error


def _table(found: list[Finding]) -> Table:
    """Errors first. What shards say is shown as it is, never as markup."""
    table = Table("", "what", "how many", "first")
    table.columns[2].justify = "right"
    for severity in (ERROR, WARNING, OK):
        for finding in found:
            if finding.severity == severity:
                number = f"{finding.count:,}" if finding.count else ""
                examples = Text("\n".join(finding.examples), overflow="fold")
                table.add_row(
                    Text(severity, COLOURS[severity]), Text(finding.title), number, examples
                )
    return table


def _numbers(ours: Survey) -> Table:
    """What the split holds."""
    table = Table(title=Text(ours.source.name), show_header=False)
    size = sum(shard.index.tar_bytes for d in ours.datasets for shard in d.shards)
    table.add_row("samples", f"{len(ours):,} in {ours.num_shards:,} shards, {size / 1e6:,.1f} MB")
    masks, counts = np.unique(ours.column("senses"), return_counts=True)
    for mask, count in zip(masks.tolist(), counts.tolist(), strict=True):
        table.add_row("+".join(senses_of(mask)) or "no sense", f"{count:,}")
    senses, rate = ours.column("senses"), np.maximum(ours.column("rate"), 1)
    seconds = (ours.column("frames") / rate)[senses & BITS["audio"] != 0]
    side = np.minimum(ours.column("width"), ours.column("height"))[senses & BITS["image"] != 0]
    text = ours.column("text")[senses & BITS["text"] != 0]
    if len(seconds):
        table.add_row(
            "recordings", f"{_spread(seconds, 's', 2)}, {seconds.sum() / 3600:,.2f} hours"
        )
    if len(side):
        table.add_row("pictures, shorter side", _spread(side, "pixels"))
    if len(text):
        table.add_row("texts", _spread(text, "bytes"))
    counted = sorted(((p.count, language) for language, p in ours.languages.items()), reverse=True)
    for count, language in counted[:LANGUAGES]:
        table.add_row(Text(f"texts in {language!r}"), f"{count:,}")
    if rest := counted[LANGUAGES:]:
        table.add_row(f"texts in {len(rest)} other languages", f"{sum(n for n, _ in rest):,}")
    return table


def _spread(values: np.ndarray, unit: str, digits: int = 0) -> str:
    low, middle, high = np.quantile(values, (0, 0.5, 1))
    return f"{low:,.{digits}f} ... {middle:,.{digits}f} ... {high:,.{digits}f} {unit}"
