"""What has been packed into a folder, and how: kept, so that a run can be taken up again.

OUT/pack.json         the settings of each split
OUT/.pack/NAME.json   one entry a shard (see `data.prepare.shard`)
"""

import fcntl
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data.prepare.shard import ENTRIES, entry_path
from omni.pipeline.writer import write_manifest

SETTINGS = "pack.json"
REJECTED = "rejected.jsonl"
VERSION = 1


def normal_path(source: str) -> str:
    """Return the one form of a source, however it is written: absolute, links followed."""
    return os.path.realpath(source)


class Ledger:
    """The folder that is packed into. Use `opened`, which keeps other runs out of it."""

    def __init__(self, out: Path, work: Path) -> None:
        self.out, self.work = out, work
        self.splits: dict[str, dict[str, Any]] = {}
        if (path := out / SETTINGS).exists():
            self.splits = json.loads(path.read_text("utf-8"))["splits"]
        for split in self.splits.values():  # as earlier versions wrote it
            split["settings"]["source"] = normal_path(split["settings"]["source"])

    @staticmethod
    @contextmanager
    def opened(out: Path) -> "Iterator[Ledger]":
        """Raises `ValueError` where another run is at work, or shards of another origin lie."""
        (out / ENTRIES).mkdir(parents=True, exist_ok=True)
        with (out / ENTRIES / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                raise ValueError(f"another run is packing into {str(out)!r}") from error
            for tar in out.glob("*.tar"):
                if not entry_path(out, tar.name).exists():
                    raise ValueError(f"{str(tar)!r} was not written by pack: take another folder")
            for left in (out / ENTRIES).glob("run-*"):  # by a run that was killed
                shutil.rmtree(left)
            work = Path(tempfile.mkdtemp(prefix="run-", dir=out / ENTRIES))
            try:
                yield Ledger(out, work)
            finally:
                shutil.rmtree(work, ignore_errors=True)

    def shard_samples(self, settings: dict[str, Any]) -> int | None:
        """The samples of a shard as a former run with the same settings has measured them."""
        for kept in self.splits.values():
            if kept["settings"] == settings:
                return kept["shard_samples"]
        return None

    def claim(self, split: str, settings: dict[str, Any], shard_samples: int) -> None:
        """Takes a split for this run. Raises `ValueError` if it was packed in another way."""
        claimed = {"settings": settings, "shard_samples": shard_samples}
        kept = self.splits.setdefault(split, claimed)
        for name, value in settings.items():
            if kept["settings"].get(name) != value:
                option = name if name == "source" else f"--{name.replace('_', '-')}"
                raise ValueError(
                    f"split {split!r} of {str(self.out)!r} was packed with "
                    f"{option} {kept['settings'].get(name)}, now it is {value}: "
                    f"take that again, or another folder"
                )
        if kept["shard_samples"] != shard_samples:
            raise ValueError(
                f"split {split!r} of {str(self.out)!r} was packed with "
                f"{kept['shard_samples']} samples a shard, now it is {shard_samples}"
            )
        self._write(
            SETTINGS, json.dumps({"version": VERSION, "splits": self.splits}, indent=1) + "\n"
        )

    def drop(self, settings: dict[str, Any], written: set[str]) -> None:
        """Removes shards that the source no longer fills: it was longer in a former run."""
        for name in self._entries():
            split = name.rpartition("-")[0]
            if name not in written and self.splits[split]["settings"] == settings:
                (self.out / name).unlink(missing_ok=True)
                (self.out / name).with_suffix(".idx").unlink(missing_ok=True)
                entry_path(self.out, name).unlink()

    def finish(self) -> None:
        """Writes `rejected.jsonl` and `dataset.json` for all splits of the folder."""
        entries = list(self._entries().values())
        lines = (json.dumps(line) for entry in entries for line in entry["rejected"])
        self._write(REJECTED, "".join(f"{line}\n" for line in lines))
        shards = [entry["shard"] for entry in entries if entry["shard"]]
        write_manifest(self.out, [s for s in shards if (self.out / s["name"]).exists()])

    def _entries(self) -> dict[str, dict[str, Any]]:
        """The entries by the names of their shards, in order."""
        paths = sorted((self.out / ENTRIES).glob("*.tar.json"))
        return {p.name.removesuffix(".json"): json.loads(p.read_text("utf-8")) for p in paths}

    def _write(self, name: str, text: str) -> None:
        partial = self.work / name
        partial.write_text(text, "utf-8")
        partial.replace(self.out / name)
