"""Who does the work: this process, several, or a Ray cluster. What is done is the same."""

import itertools
import logging
import multiprocessing
import os
import threading
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import forkserver
from multiprocessing.context import BaseContext
from typing import Any

from data.prepare.shard import Done, Job, pack_shard
from omni.interrupt import unheard

WINDOW = 8
"""shards a process that Ray is given at a time: what they hold as bytes is in memory"""


def run_local(jobs: Iterable[Job], processes: int) -> Iterator[Done]:
    """Packs shards in this process, or in several, in any order."""
    if processes == 1:
        yield from map(pack_shard, jobs)
        return
    # Not fork, as torch must not be forked at work; what workers import is imported once.
    pool = ProcessPoolExecutor(processes, fork_server("data.prepare.shard"), start_worker)
    pending: set[Future[Done]] = set()
    try:
        for job in jobs:
            pending.add(pool.submit(pack_shard, job))
            if len(pending) > processes:  # one is ready for whoever is free first
                done, pending = wait(pending, return_when=FIRST_COMPLETED)
                yield from (future.result() for future in done)
        yield from (future.result() for future in pending)
    except BrokenProcessPool as error:
        raise ValueError(
            "a worker was killed, most likely for want of memory: "
            "run again with fewer --processes, or with smaller shards"
        ) from error
    except KeyboardInterrupt:
        end_workers()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def fork_server(module: str) -> BaseContext:
    """Where processes are forked that have imported a module, once for all; deaf to Ctrl-C."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([module])
    with unheard():
        forkserver.ensure_running()
    return context


def end_workers() -> None:
    """Ends the processes of a pool in the middle of what they do, which a shard may make long."""
    for worker in multiprocessing.active_children():
        worker.terminate()


def start_worker() -> None:
    """Workers die with their parent."""
    threading.Thread(target=_die_with_parent, daemon=True).start()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def run_ray(jobs: Iterable[Job], processes: int) -> Iterator[Done]:
    """Packs shards by Ray Data: on the cluster that RAY_ADDRESS names, or else on this machine.

    Every node must see the source and the output under the same paths, and import this checkout.
    """
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise ValueError("--engine ray needs Ray Data: pip install 'ray[data]'") from error
    started = not ray.is_initialized()
    if started and "RAY_ADDRESS" in os.environ:
        ray.init(logging_level=logging.WARNING)
    elif started:
        ray.init(num_cpus=processes, include_dashboard=False, logging_level=logging.WARNING)
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    ray.data.DataContext.get_current().enable_progress_bars = False
    jobs = iter(jobs)
    try:
        while window := list(itertools.islice(jobs, WINDOW * processes)):
            held = [ray.put(job) for job in window]
            rows = ray.data.range(len(held), override_num_blocks=len(held))
            for row in rows.map(lambda row, held=held: _pack_held(held[row["id"]])).iter_rows():
                counts = (int(row[name]) for name in ("samples", "rejected", "damaged"))
                yield Done(str(row["name"]), *counts)
    finally:
        if started:
            ray.shutdown()


def _pack_held(job: Any) -> dict[str, str | int]:
    """Packs a job that Ray holds; as a row."""
    import ray

    return vars(pack_shard(ray.get(job)))
