"""One pass over all samples of a split: what is wrong with each, and a record of 48 bytes.

Shards are examined first (headers, index), each by itself, so that a damaged one does not hide the
rest. Then blocks of samples are read and decoded in parallel processes. A record holds digests
only; everything about the whole is worked out from these and from the indexes.
"""

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from data.prepare.copies import digest, look
from data.prepare.engine import end_workers, fork_server, start_worker
from data.prepare.rules import CHECKS, Members, read_content
from omni.pipeline import remote
from omni.pipeline.dataset import Dataset, find_tars, open_index
from omni.pipeline.formats import SLOTS
from omni.pipeline.reader import Reader, SampleError
from omni.pipeline.tar import walk
from omni.progress import track

BLOCK = 256
"""samples of one job"""
EXAMPLES = 3
RECORD = np.dtype([(name, "<u8") for name in ("key", "image", "audio", "text", "look", "sound")])
"""digests of the key, of the bytes of picture and recording and of the first text; how the picture
looks; and the samples of the recording, decoded. 0 where there is none."""

UNFIT_SHARD = "shards that are damaged, cut or no shards"
UNFIT_INDEX = "indexes that do not fit their shard"
UNFIT_BYTES = "members whose crc32 does not fit the index"
EMPTY_SHARD = "shards without a sample, which are passed over"
UNREADABLE = "samples that the storage does not give"

Map = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]


class Source(NamedTuple):
    """The arguments of a `Dataset`."""

    path: str
    split: str = "train"
    ignore: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        named = remote.is_remote(self.path) or Path(self.path).is_dir()
        return f"{self.path} ({self.split})" if named else self.path


class Job(NamedTuple):
    """Samples `first` ... `last` - 1 of a data set, the first of which is number `base` of all."""

    source: Source
    first: int
    last: int
    base: int
    media: int
    """samples that are decoded, of all"""
    total: int


@dataclass
class Problem:
    """How often something was met, and where first."""

    count: int = 0
    examples: list[str] = field(default_factory=list)

    def add(self, example: str) -> None:
        """Counts; keeps the example while there are few."""
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


@dataclass
class Tally:
    """What a block of samples came to; problems by title, texts by language."""

    records: np.ndarray
    problems: dict[str, Problem] = field(default_factory=dict)
    languages: dict[str, Problem] = field(default_factory=dict)


@dataclass
class Survey:
    """What all samples of a split came to, in the order of its shards."""

    source: Source
    datasets: list[Dataset]
    records: np.ndarray
    problems: dict[str, Problem]
    languages: dict[str, Problem]

    def __len__(self) -> int:
        return len(self.records)

    @cached_property
    def starts(self) -> np.ndarray:
        return np.cumsum([0, *(len(dataset) for dataset in self.datasets)])

    @property
    def num_shards(self) -> int:
        return sum(len(dataset.shards) for dataset in self.datasets)

    def column(self, name: str) -> np.ndarray:
        """A column of the indexes, for all samples."""
        parts = [s.index.samples[name] for dataset in self.datasets for s in dataset.shards]
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def locate(self, number: int) -> tuple[int, int]:
        """The data set of a sample and its number there."""
        at = int(np.searchsorted(self.starts, number, "right")) - 1
        return at, number - int(self.starts[at])

    def where(self, number: int) -> str:
        """Shard and key of a sample."""
        at, row = self.locate(number)
        with closing(Reader(self.datasets[at])) as reader:
            return f"{self.datasets[at].locate(row)[0].name}/{reader.key(row)}"

    def members(self, number: int) -> Members:
        """The bytes of a sample."""
        at, row = self.locate(number)
        with closing(Reader(self.datasets[at])) as reader:
            return reader.content(row)

    def picture(self, number: int) -> bytes | bytearray:
        """The bytes of a sample's picture."""
        members = self.members(number)
        return next(data for name, data in members.items() if SLOTS.get(name) == "image")


@contextmanager
def processes(count: int) -> Iterator[Map]:
    """A `map` over that many processes; over none but this one, if it is one."""
    if count == 1:
        yield map
        return
    # Not forked from here: torch has threads by now. The server imports this module once for all.
    context = fork_server("data.prepare.survey")
    with ProcessPoolExecutor(count, context, start_worker) as pool:
        try:
            yield pool.map
        except KeyboardInterrupt:
            end_workers()
            raise


def survey(source: Source, limit: int | None, execute: Map) -> Survey:
    """Looks at everything; decodes the media of at most `limit` samples, evenly spread.

    Raises `ValueError` when there are no shards of that name.
    """
    open_source.cache_clear()  # the files may have changed since
    problems: dict[str, Problem] = {}
    sources = list(_fit_sources(source, problems, execute))
    found = Survey(source, [open_source(s) for s in sources], np.zeros(0, RECORD), problems, {})
    total = int(found.starts[-1])
    found.records = np.zeros(total, RECORD)
    media = total if limit is None else min(limit, total)
    jobs = [
        Job(s, first, min(first + BLOCK, len(dataset)), int(start) + first, media, total)
        for s, dataset, start in zip(sources, found.datasets, found.starts[:-1], strict=True)
        for first in range(0, len(dataset), BLOCK)
    ]
    tallies = track(execute(scan, jobs), f"blocks of samples, {source.split}", len(jobs))
    for job, tally in zip(jobs, tallies, strict=True):
        found.records[job.base : job.base + len(tally.records)] = tally.records
        _merge(found.problems, tally.problems)
        _merge(found.languages, tally.languages)
    return found


def _merge(into: dict[str, Problem], problems: dict[str, Problem]) -> None:
    for title, problem in problems.items():
        mine = into.setdefault(title, Problem())
        mine.examples = (mine.examples + problem.examples)[:EXAMPLES]
        mine.count += problem.count


def _fit_sources(source: Source, problems: dict[str, Problem], execute: Map) -> Iterator[Source]:
    """Each shard that can be used as a data set of its own; what is far away, as one."""
    if remote.is_remote(source.path):
        open_source(source)
        yield source
        return
    tars = find_tars(source.path, source.split)
    singles = [source._replace(path=str(tar)) for tar in tars]
    found = track(execute(examine, zip(tars, singles, strict=True)), "shards", len(tars))
    for tar, single, (title, reason) in zip(tars, singles, found, strict=True):
        if title:
            problems.setdefault(title, Problem()).add(f"{tar.name}: {reason}")
        else:
            yield single


def examine(shard: tuple[Path, Source]) -> tuple[str, str]:
    """What is wrong with a shard: title and reason, empty where nothing is.

    The index is not believed: every header is read again, and must be where the index says.
    """
    tar, source = shard
    title = UNFIT_SHARD
    try:
        with tar.open("rb") as file:
            places = {(entry.offset, entry.size) for entry in walk(file)}
        if tar.with_suffix(".idx").exists():
            title = UNFIT_INDEX
        index = open_index(tar, source.ignore)
        if not len(index):
            return EMPTY_SHARD, "its tar is empty"
        for row in range(len(index)):
            for m in index.members(row):
                if (m.offset, m.size) not in places:
                    raise ValueError(f"no .{m.extension} of {m.size} bytes at byte {m.offset}")
    except (ValueError, OSError) as error:
        return title, str(error)
    return "", ""


@lru_cache(maxsize=8)
def open_source(source: Source) -> Dataset:
    """The data set, kept for the next job."""
    return Dataset(source.path, source.split, source.ignore)


def scan(job: Job) -> Tally:
    """Reads and decodes a block of samples, and applies every rule."""
    dataset = open_source(job.source)
    tally = Tally(np.zeros(job.last - job.first, RECORD))
    with closing(Reader(dataset)) as reader:
        for number in range(job.first, job.last):
            at = job.base + number - job.first
            media = (at + 1) * job.media // job.total > at * job.media // job.total
            faults: dict[str, str] = {}
            try:
                key, members = reader.members(number, faults)
            except (SampleError, OSError) as error:
                title = UNFIT_BYTES if isinstance(error, SampleError) else UNREADABLE
                tally.problems.setdefault(title, Problem()).add(str(error))
                continue
            shard = dataset.locate(number)[0].name
            for member, reason in faults.items():
                problem = tally.problems.setdefault(UNFIT_BYTES, Problem())
                problem.add(str(SampleError(shard, key, member, reason)))
            tally.records[number - job.first] = _look_at(tally, shard, key, members, media)
    return tally


def _look_at(tally: Tally, shard: str, key: str, members: Members, media: bool) -> tuple:
    """Applies every rule to one sample, each of which counts it once; returns its record."""
    content = read_content(key, members, media)
    for check in CHECKS:
        if met := next(check.rule(content), None):
            problem = tally.problems.setdefault(check.title, Problem())
            problem.add(f"{shard}/{key}.{met[0]}: {met[1]}")
    for language, _ in content.texts:
        tally.languages.setdefault(language, Problem()).add(f"{shard}/{key}")
    digests = {SLOTS[e]: digest(data) for e, data in members.items() if data and e in SLOTS}
    text = content.texts[0][1].encode() if content.texts else b""
    return (
        digest(key.encode()),
        0 if content.blank else digests.get("image", 0),
        0 if content.silent else digests.get("audio", 0),
        digest(text) if text else 0,
        0 if content.image is None or content.blank else look(content.image),
        0 if content.audio is None or content.silent else digest(content.audio.tobytes()),
    )
