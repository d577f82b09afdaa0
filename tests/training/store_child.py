"""Saves to be killed, and files that mean harm: what must not happen in the process of the tests.

`python -m tests.training.store_child FOLDER` prints one JSON with what came of each. Every attempt
is a fork of this process, which has imported everything once.
"""

import gc
import json
import os
import pickle
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from omni.training import manifest
from omni.training.pieces import Piece, Reader
from omni.training.store import Store, list_checkpoints
from tests.training.hostile_files import hostile_files

SHAPE = (5, 4)


def value(step: int, shape: tuple[int, ...] = SHAPE) -> torch.Tensor:
    """What a checkpoint of `step` holds."""
    return torch.arange(float(torch.Size(shape).numel())).reshape(shape) / 7 + step


def documents(step: int) -> dict[str, str]:
    return {name: json.dumps({"step": step, "of": name}) for name in manifest.DOCUMENTS}


def save_rank(store: Store, step: int, shape: tuple[int, ...] = SHAPE) -> None:
    """Rows of `value` by rank, unevenly."""
    whole = value(step, shape)
    rows = len(whole) // store.world
    first, last = store.rank * rows, (store.rank + 1) * rows
    data = whole[first:] if store.rank == store.world - 1 else whole[first:last]
    tensors = {"weight": Piece(data, shape, (first, 0))}
    leads = store.rank == 0
    weights, texts = ({"average": whole}, documents(step)) if leads else ({}, {})
    store.save(step, tensors, weights, texts, {"threads": 1})


def save(run: Path, *steps: int, world: int = 2) -> Store:
    """Saves by ranks of one process; the last to write is rank 0, whose store is returned."""
    stores = [Store(run, rank, world) for rank in range(world)]
    for step in steps:
        for store in reversed(stores):
            save_rank(store, step)
            store.wait()
    assert not any(store.failures for store in stores), [s.failures for s in stores]
    return stores[0]


def is_whole(folder: Path, shape: tuple[int, ...] = SHAPE) -> bool:
    """Whether a checkpoint holds, bit by bit, what belongs to its step."""
    step = manifest.step_of(folder)
    texts = {name: (folder / name).read_text() for name in manifest.DOCUMENTS}
    average = Reader(folder, manifest.WEIGHTS).read("average")
    weight = Reader(folder).read("weight")
    equal = torch.equal(average, value(step, shape)) and torch.equal(weight, value(step, shape))
    return equal and texts == documents(step)


class Fuse:
    """Kills this process just before its `last` file-system call."""

    def __init__(self, last: int) -> None:
        self.last, self.count, self.event = last, 0, ""

    def tick(self, event: str, damage: Callable[[], object] | None = None) -> None:
        self.count += 1
        if self.count == self.last:
            if damage is not None:
                self.last = -1
                damage()
            os.kill(os.getpid(), signal.SIGKILL)

    def arm(self) -> None:
        """From here on every call counts; those without an audit event are wrapped."""
        fsync, serialize = os.fsync, safetensors.torch.serialize_file

        def counted_fsync(descriptor: int) -> None:
            path = f"/proc/self/fd/{descriptor}"
            if os.path.isfile(path):
                self.tick("half of a file, not synced", lambda: halve(path))
            self.tick("fsync")
            fsync(descriptor)

        def counted_serialize(tensors: Any, path: Path, metadata: Any = None) -> None:
            self.tick("safetensors")
            serialize(tensors, path, metadata=metadata)
            self.tick("half of a safetensors file", lambda: halve(path))

        def hook(event: str, _: tuple[Any, ...]) -> None:
            if event == "open" or event.startswith(("os.", "shutil.")):
                self.tick(event)

        os.fsync, safetensors.torch.serialize_file = counted_fsync, counted_serialize
        sys.addaudithook(hook)


def halve(path: str | Path) -> None:
    os.truncate(path, os.path.getsize(path) // 2)


def in_fork(work: Callable[[], None]) -> int:
    """The status with which a fork of this process ends."""
    child = os.fork()
    if child == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(3)
        os._exit(0)
    return os.waitpid(child, 0)[1]


def kill_everywhere(before: Path, run: Path, action: Callable[[Path], object]) -> Iterator[dict]:
    """What a resumed run finds after a kill at the first file-system call, the second, ..."""
    for last in range(1, 1000):
        shutil.rmtree(run, ignore_errors=True)
        shutil.copytree(before, run)

        def work(last: int = last) -> None:
            Fuse(last).arm()
            action(run)

        status = in_fork(work)
        assert status in (0, signal.SIGKILL), f"{run}: status {status} at call {last}"
        yield outcome(run) | {"call": last, "killed": status != 0}
        if status == 0:
            return


def outcome(run: Path) -> dict[str, Any]:
    store = Store(run)
    try:
        found = store.newest()
    except ValueError as error:
        return {"step": None, "whole": False, "error": str(error)}
    left = [path.name for path in (run / "checkpoints").glob(".*")]
    step = manifest.step_of(found[0]) if found else None
    result = {"step": step, "whole": bool(found) and is_whole(found[0]), "left": left}
    save(run, 9, world=1)
    after = [manifest.step_of(folder) for folder in list_checkpoints(run)]
    return result | {"after": after, "names": sorted(os.listdir(run / "checkpoints"))}


def kills(folder: Path) -> dict[str, list[dict]]:
    """By what is done when the kill comes."""
    (folder / "none").mkdir(parents=True)
    save(folder / "two", 1, 2)
    shutil.copytree(folder / "two", folder / "interrupted")
    checkpoints = folder / "interrupted/checkpoints"
    shutil.copytree(checkpoints / "step-000001", checkpoints / ".step-000001.pruned")
    (checkpoints / "step-000002").rename(checkpoints / ".step-000002.5.partial")
    (checkpoints / ".step-000003.6.partial").mkdir()
    (checkpoints / ".step-000003.6.partial/training-00000.safetensors").write_bytes(b"half")

    def reckless(run: Path) -> None:
        shutil.rmtree(run / "checkpoints")
        save(run, 3)

    actions = {
        "first": ("none", lambda run: save(run, 3)),
        "next": ("two", lambda run: save(run, 3)),
        "again": ("two", lambda run: save(run, 2)),
        "start": ("interrupted", Store),
        "reckless": ("two", reckless),  # the control
    }
    gc.freeze()  # forks then share what was imported
    results = {}
    for name, (before, action) in actions.items():
        attempts = kill_everywhere(folder / before, folder / f"run-{name}", action)
        results[name] = list(islice(attempts, 30 if name == "reckless" else None))
    return results


def full_disk(folder: Path) -> dict[str, Any]:
    """Files may not grow beyond 64 kB, in the middle of the tensors; then they may again."""
    shape = (100, 400)
    store = Store(folder / "full")
    save_rank(store, 1, shape)
    store.wait()
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    save_rank(store, 2, shape)
    store.wait()
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    failures, names = list(store.failures), os.listdir(folder / "full/checkpoints")
    whole = is_whole(store.newest()[0], shape)
    save_rank(store, 3, shape)
    store.wait()
    return {
        "failures": failures,
        "names": names,
        "whole": whole and is_whole(store.newest()[0], shape),
        "after": [f.name for f in list_checkpoints(folder / "full")],
    }


WATCHED = {
    *("pickle.find_class", "marshal.loads", "compile", "exec", "import", "ctypes.dlopen"),
    *("os.system", "os.exec", "os.fork", "os.posix_spawn", "subprocess.Popen", "socket.connect"),
}


@contextmanager
def watched(events: list[str]) -> Iterator[None]:
    """Lists whatever could run code; an audit hook stays for good, so it is only switched off."""
    on = [True]
    sys.addaudithook(lambda event, _: events.append(event) if on and event in WATCHED else None)
    yield
    on.clear()


def hostile(folder: Path) -> dict[str, Any]:
    """What comes of each file when all digests agree, because the attacker wrote the manifest."""
    run, canary = folder / "hostile", folder / "canary"
    newest = save(run, 1, 2).newest()[0]
    target = newest / manifest.shard_name(1)
    said = json.loads((newest / "manifest.json").read_text())
    files = hostile_files(canary)
    events: list[str] = []
    results, peak = {}, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with watched(events):
        for name, data in files.items():
            target.write_bytes(data)
            said["files"][target.name] = manifest.seal(target)
            text = manifest.render(2, said["files"], 2, {})
            (newest / "manifest.json").write_bytes(text)
            found = Store(run).newest()
            try:
                Reader(newest).read("a")
                results[name] = "read"
            except ValueError as error:
                results[name] = f"{found[0].name}: {error}"[:300]
        (newest / ".metadata").write_bytes(files["pickle"])
        found = Store(run).newest()
        results[".metadata"] = f"{found[0].name}: {found[1]}"
    result = {"results": results, "events": list(events), "canary": canary.exists()}
    result["kilobytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - peak
    with watched(events):  # the control: it does run, if it is unpickled
        pickle.loads(files["pickle"])
    return result | {"control": [canary.exists(), events]}


def report(work: Callable[[Path], Any], folder: Path) -> Any:
    """What `work` returns, done in a fork."""
    path = folder / "report.json"
    status = in_fork(lambda: path.write_text(json.dumps(work(folder))))
    assert status == 0, f"{work.__name__} ended with {status}"
    return json.loads(path.read_text())


if __name__ == "__main__":
    torch.set_num_threads(1)
    ground = Path(sys.argv[1])
    print(json.dumps({work.__name__: report(work, ground) for work in (hostile, full_disk, kills)}))
