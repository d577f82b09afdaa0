"""Workers that die, freeze or run out of memory are named, with what they were at."""

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import simplejpeg

from omni.config import DataConfig
from omni.modality.text import Tokenizer
from omni.pipeline.loader import Loader
from omni.pipeline.worker import WorkerError, Workers
from omni.pipeline.writer import write_shard
from tests.pipeline.shards import MODEL


@contextmanager
def started(path: Path, tokenizer: Tokenizer) -> Iterator[Workers]:
    """Two workers, which count as frozen after a second."""
    config = DataConfig(path=(str(path),), batch_size=8, extra_texts=4, workers=2)
    workers = Workers(2, Loader(config, seed=3)._rules(tokenizer, MODEL), patience=1.0)
    try:
        yield workers
    finally:
        workers.close()


@pytest.fixture
def workers(data: Path, tokenizer: Tokenizer) -> Iterator[Workers]:
    with started(data, tokenizer) as made:
        yield made


def test_a_killed_worker_is_named(workers):
    batches = workers.batches(0, 40)
    next(batches)
    next(batches)  # the second worker's: it has begun
    os.kill(workers.processes[1].pid, signal.SIGKILL)
    where = r"step \d+, shard 'train-00000\d.tar', sample in row \d+"
    with pytest.raises(
        WorkerError, match=rf"loader worker 1 \(process \d+\) died by signal 9 .*; {where}"
    ):
        list(batches)


def test_a_frozen_worker_is_named(workers):
    batches = workers.batches(0, 40)
    next(batches)
    os.kill(workers.processes[0].pid, signal.SIGSTOP)
    with pytest.raises(WorkerError, match=r"loader worker 0 .* no sign of life for \d+ s; step"):
        list(batches)


def test_a_worker_out_of_memory_is_named(tmp_path, tokenizer):
    """Pictures of 48 MB, and a process that may have 32 MB less than it has at some moment."""
    large = simplejpeg.encode_jpeg(np.zeros((4000, 4000, 3), np.uint8))
    write_shard(tmp_path / "train-000000.tar", [(f"s{n}", {"jpg": large}) for n in range(8)])
    with started(tmp_path, tokenizer) as workers:
        batches = workers.batches(0, 40)
        next(batches)
        process = workers.processes[1].pid
        pages = int(Path(f"/proc/{process}/statm").read_text().split()[0])
        most = pages * resource.getpagesize() - (32 << 20)
        resource.prlimit(process, resource.RLIMIT_AS, (most, most))
        with pytest.raises(
            WorkerError, match=r"worker 1 .* failed: .*[Mm]emory.*; step \d+, shard"
        ):
            list(batches)
