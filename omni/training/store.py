"""Checkpoints: a new folder each, complete or absent; the newest valid one is resumed from.

RUN/checkpoints/step-000123 holds a model folder (config.json, tokenizer.json, model.safetensors),
state.json, training-00000.safetensors and so on, one of each rank, and manifest.json. A thread
writes it under a hidden name, the manifest last; then it is renamed, and only then are old ones
removed: a kill at any moment leaves a valid one. Ranks meet in the file system alone.
"""

import contextlib
import fcntl
import json
import os
import platform
import shutil
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from omni.learned import KEY
from omni.training import manifest
from omni.training.manifest import DOCUMENTS, MANIFEST, WEIGHTS, list_checkpoints, seal
from omni.training.pieces import Piece, write_pieces

KEEP = 2
POLL_SECONDS = 0.02
THREAD = "checkpoint"


class Store:
    """The checkpoints of a run, as one of `world` ranks writes them; rank 0 completes them.

    Every rank makes one, rank 0 before any of them saves, and all save in the same order.
    `failures` tells of each save that failed, by step and reason, as does stderr; none is raised.
    One in which a rank is not done within `timeout` seconds of rank 0 has failed.
    """

    def __init__(self, run: Path, rank: int = 0, world: int = 1, timeout: float = 600.0) -> None:
        self.run, self.rank, self.world, self.timeout = run, rank, world, timeout
        self.failures: list[str] = []
        self._root = run / "checkpoints"
        self._saves = 0
        self._thread: threading.Thread | None = None
        if rank == 0:
            self._finish_interrupted()

    def save(
        self,
        step: int,
        tensors: dict[str, Piece],
        whole: dict[str, Tensor],
        documents: dict[str, str],
        facts: dict[str, Any],
    ) -> None:
        """Copies the tensors to host memory and returns; a thread does the rest.

        A save that is still under way is waited for. Of rank 0 alone are `whole`, the weights of
        model.safetensors, `documents`, the text of each of DOCUMENTS, and `facts`, what the
        manifest is to say besides.
        """
        assert self.rank or documents.keys() == DOCUMENTS, documents.keys()
        self.wait()
        self._saves += 1
        copies = {k: replace(piece, data=_to_host(piece.data)) for k, piece in tensors.items()}
        weights = {name: _to_host(value) for name, value in whole.items()}
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        facts = json.loads(json.dumps(facts))  # a copy too
        work = (step, copies, weights, dict(documents), facts)
        # A daemon: at an exit nobody must wait for a rank that is gone.
        self._thread = threading.Thread(target=self._write, args=work, name=THREAD, daemon=True)
        self._thread.start()

    def wait(self) -> None:
        """Returns when this rank's save is over; the checkpoint is complete when rank 0's is.

        A process that ends without it gives up the save.
        """
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def newest(self) -> tuple[Path, list[str]] | None:
        """The newest checkpoint whose digests agree, and why newer ones were passed over.

        None where there is no checkpoint. Raises `ValueError` where there are, but none is valid.
        """
        reasons = []
        for folder in reversed(manifest.list_folders(self._root)):
            try:
                manifest.verify(folder)
                return folder, reasons
            except ValueError as error:
                reasons.append(str(error))
        if reasons:
            raise ValueError(f"{self._root} holds no valid checkpoint: {'; '.join(reasons)}")
        return None

    def check_room(self, num_bytes: int) -> None:
        """Raises `ValueError` where the disk has no room for two checkpoints of `num_bytes`."""
        folder = next(f for f in (self.run, *self.run.absolute().parents) if f.exists())
        free = shutil.disk_usage(folder).free
        if free < 2 * num_bytes:
            need = f"two checkpoints of {num_bytes:,} bytes"
            raise ValueError(f"{self.run} needs room for {need}, but {free:,} are free")

    def _write(
        self,
        step: int,
        pieces: dict[str, Piece],
        weights: dict[str, Tensor],
        documents: dict[str, str],
        facts: dict[str, Any],
    ) -> None:
        """All of a save that the training does not wait for."""
        name, own = manifest.folder_name(step), manifest.shard_name(self.rank)
        # The same on all ranks, and another for each attempt: a late rank spoils no later one.
        partial = self._root / f".{name}.{self._saves}.partial"
        try:
            partial.mkdir(parents=True, exist_ok=True)
            write_pieces(partial / own, pieces)
            _sync(partial / own)
            if self.rank:
                _write_bytes(partial / f"{own}.json", json.dumps(seal(partial / own)).encode())
                return
            learned = facts.pop(KEY, None)
            save_file(weights, partial / WEIGHTS, learned and {KEY: learned})
            _sync(partial / WEIGHTS)
            for document, text in documents.items():
                _write_bytes(partial / document, text.encode())
            files = {file: seal(partial / file) for file in (*documents, WEIGHTS, own)}
            files |= self._collect(partial)
            _write_bytes(partial / MANIFEST, manifest.render(step, files, self.world, facts))
            _commit(partial)
            self._prune(step)
        except Exception as error:  # whatever it is, the training goes on
            self.failures.append(f"{name}: {type(error).__name__}: {error}")
            print(f"{self.run}: not saved: {self.failures[-1]}", file=sys.stderr)
            self._give_up(partial, own)

    def _collect(self, partial: Path) -> dict[str, dict[str, Any]]:
        """What the other ranks say of their files, as soon as each has said it."""
        deadline, files = time.monotonic() + self.timeout, {}
        for rank in range(1, self.world):
            name = manifest.shard_name(rank)
            said = partial / f"{name}.json"
            while not said.exists():
                if time.monotonic() > deadline:
                    raise TimeoutError(f"rank {rank} was not done within {self.timeout:g} s")
                time.sleep(POLL_SECONDS)
            files[name] = json.loads(said.read_bytes())
            if "failed" in files[name]:
                raise OSError(f"rank {rank} failed: {files[name]['failed']}")
            said.unlink()
        return files

    def _give_up(self, partial: Path, own: str) -> None:
        """Rank 0 removes all, unless nothing but the name is missing; others let it know."""
        if self.rank == 0 and not (partial / MANIFEST).exists():
            shutil.rmtree(partial, ignore_errors=True)
        elif self.rank and partial.exists():
            with contextlib.suppress(OSError):
                said = json.dumps({"failed": self.failures[-1]})
                _write_bytes(partial / f"{own}.json", said.encode())

    def _prune(self, step: int) -> None:
        """Keeps the KEEP newest up to `step`, which is valid; later ones are of an undone past."""
        keep = [f for f in list_checkpoints(self.run) if manifest.step_of(f) <= step][-KEEP:]
        for folder in manifest.list_folders(self._root):
            if folder not in keep:
                _discard(folder)
        for partial in self._root.glob(".step-*.partial"):
            if int(partial.name.split(".")[2]) < self._saves:
                shutil.rmtree(partial)

    def _finish_interrupted(self) -> None:
        """What an earlier process left: a folder that got its manifest gets its name too."""
        for left in sorted(self._root.glob(".step-*")):
            unnamed = left.suffix == ".partial" and (left / MANIFEST).exists()
            if unnamed and not _final(left).exists():
                _commit(left)
            else:
                shutil.rmtree(left)


class Lock:
    """One trainer to a run: held until closed or until the process ends, however it ends."""

    def __init__(self, run: Path) -> None:
        run.mkdir(parents=True, exist_ok=True)
        self._file = (run / ".lock").open("a+")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.seek(0)
            holder = self._file.read(100).strip()
            self._file.close()
            raise ValueError(f"{run} is being trained by process {holder}") from error
        # In a forked child the lock would outlive this process.
        os.register_at_fork(after_in_child=self._file.close)
        self._file.truncate(0)
        self._file.write(f"{os.getpid()} on {platform.node()}\n")
        self._file.flush()

    def close(self) -> None:
        self._file.close()


def _final(partial: Path) -> Path:
    return partial.with_name(partial.name.split(".")[1])


def _commit(partial: Path) -> None:
    """Gives a complete folder its name; one that bears it already makes room."""
    folder = _final(partial)
    _sync(partial)
    if folder.exists():
        _discard(folder)
    partial.rename(folder)
    for above in folder.parents[:2]:
        _sync(above)


def _discard(folder: Path) -> None:
    """Removed under another name: never is there half a checkpoint under its own."""
    hidden = folder.with_name(f".{folder.name}.pruned")
    shutil.rmtree(hidden, ignore_errors=True)
    folder.rename(hidden)
    shutil.rmtree(hidden)


def _to_host(tensor: Tensor) -> Tensor:
    """A copy in host memory; of a tensor on a GPU it is there after the next synchronization."""
    data = tensor.detach()
    host = torch.empty(data.shape, dtype=data.dtype, pin_memory=data.is_cuda)
    return host.copy_(data, non_blocking=True)


def _write_bytes(path: Path, data: bytes) -> None:
    """Whole or not at all."""
    partial = path.with_name(path.name + ".tmp")
    partial.write_bytes(data)
    _sync(partial)
    partial.replace(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
