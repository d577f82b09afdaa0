"""Whether the data comes fast enough: what a step needs against what is measured here."""

import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from data.prepare.findings import ERROR, OK, WARNING, Finding
from data.prepare.rules import read_content
from data.prepare.survey import Survey
from omni.pipeline import remote
from omni.pipeline.reader import Reader, SampleError

READ = 512
"""samples that are read, in random order"""
DECODED = 128
"""of these, samples that are decoded"""
MARGIN = 2.0
"""times what is needed, below which it is a warning"""


@dataclass(frozen=True)
class Speed:
    """Measured by as many threads as there are loader processes, but at most one a core."""

    read_bytes: float
    """a second, from storage: the system was asked to forget what it holds of the files"""
    read_samples: float
    decoded_samples: float
    """a second, media and texts, in one process times the number of processes"""


def measure(survey: Survey, readers: int, seed: int = 0) -> Speed | None:
    """Reads and decodes some samples; None where there is nothing that can be read."""
    readers = min(readers, len(os.sched_getaffinity(0)))
    drawn = np.random.default_rng(seed).permutation(len(survey))[:READ].tolist()
    _forget(survey)
    start = time.perf_counter()
    with ThreadPoolExecutor(readers) as pool:
        sizes = [*pool.map(lambda first: _read(survey, drawn[first::readers]), range(readers))]
    reading = time.perf_counter() - start
    found = sum(len(part) for part in sizes)
    if not found:
        return None
    total = sum(sum(part) for part in sizes)
    return Speed(total / reading, found / reading, readers * _decode(survey, drawn[:DECODED]))


def _read(survey: Survey, numbers: list[int]) -> list[int]:
    """Bytes of each sample that is whole; the others have been reported."""
    readers = [Reader(dataset) for dataset in survey.datasets]
    sizes = []
    for number in numbers:
        at, row = survey.locate(number)
        try:
            members = readers[at].content(row)
        except (SampleError, OSError):
            continue
        sizes.append(sum(len(data) for data in members.values()))
    for reader in readers:
        reader.close()
    return sizes


def _decode(survey: Survey, numbers: list[int]) -> float:
    """Samples decoded a second, without their reading."""
    seconds, count = 0.0, 0
    for number in numbers:
        try:
            members = survey.members(number)
        except (SampleError, OSError):
            continue
        start = time.perf_counter()
        read_content("", members)
        seconds, count = seconds + time.perf_counter() - start, count + 1
    return count / max(seconds, 1e-9)


def _forget(survey: Survey) -> None:
    """Drops the files from the page cache, where the system can: memory would look like a disk."""
    if sys.platform != "linux":
        return
    for dataset in survey.datasets:
        for shard in dataset.shards:
            if not remote.is_remote(shard.url):
                file = os.open(shard.url, os.O_RDONLY)
                os.posix_fadvise(file, 0, 0, os.POSIX_FADV_DONTNEED)
                os.close(file)


def keeps_up(
    survey: Survey, speed: Speed | None, batch_size: int, step_seconds: float | None
) -> Finding:
    """Compares; without a step to compare with, says what was measured."""
    title = "reading and decoding against the length of a step"
    if speed is None:
        return Finding(OK, title, 0, ("not measured: no sample can be read",))
    there = (
        f"there: {speed.read_bytes / 1e6:,.1f} MB/s, {speed.read_samples:,.0f} samples/s read, "
        f"{speed.decoded_samples:,.0f} samples/s decoded"
    )
    if step_seconds is None:
        return Finding(OK, title, 0, (there, "needed: unknown, name --step-seconds"))
    sizes = sum(shard.index.tar_bytes for d in survey.datasets for shard in d.shards)
    rate = batch_size / step_seconds
    needed = rate * sizes / len(survey)
    times = min(speed.read_bytes / needed, min(speed.read_samples, speed.decoded_samples) / rate)
    severity = ERROR if times < 1 else WARNING if times < MARGIN else OK
    wanted = f"needed: {needed / 1e6:,.1f} MB/s, {rate:,.0f} samples/s"
    return Finding(severity, title, int(severity != OK), (wanted, there, f"{times:.3g} times that"))
