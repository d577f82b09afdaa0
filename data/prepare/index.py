"""Write the index beside each tar, check those that are there, and write dataset.json.

An index of a tar of another size is made anew. Where the size is right and the bytes are not those
that were indexed, the tar counts as damaged: delete the index if the change was meant.
"""

import argparse
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from omni.pipeline.dataset import MANIFEST
from omni.pipeline.files import match_files
from omni.pipeline.index import Index, build_index
from omni.pipeline.writer import describe_shard, write_manifest
from omni.progress import track


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Where the tars are, and what to pass over in them."""
    parser.add_argument("path", type=Path, help="folder of tars, one tar, or a pattern of them")
    parser.add_argument(
        "--ignore", action="append", default=[], metavar="EXT",
        help="an extension to pass over, as cls; may be given several times",
    )  # fmt: skip


def run(arguments: argparse.Namespace) -> int:
    """Indexes. Names each tar that is damaged, does the others, and returns 2 if there is one."""
    path: Path = arguments.path
    tars = sorted(path.glob("*.tar")) if path.is_dir() else match_files(str(path))
    if not tars:
        raise ValueError(f"no tars at {str(path)!r}")
    if len({tar.parent for tar in tars}) > 1:
        raise ValueError(f"tars must be of one folder, as {MANIFEST} lists them, got {str(path)!r}")
    folder = tars[0].parent
    ignore = tuple(extension.lower().lstrip(".") for extension in arguments.ignore)
    # Reading and crc32 leave the interpreter to others: threads are enough.
    with ThreadPoolExecutor(min(8, len(os.sched_getaffinity(0)))) as pool:
        found = pool.map(lambda tar: index_tar(tar, ignore), tars)
        outcomes = list(track(found, "indexing", len(tars)))
        faults = {tar: fault for tar, fault in zip(tars, outcomes, strict=True) if fault}
        sound = (tar for tar in sorted(folder.glob("*.tar")) if tar not in faults)
        described = pool.map(describe_shard, (t for t in sound if t.with_suffix(".idx").exists()))
        shards = list(described)
    write_manifest(folder, shards)
    for tar, fault in faults.items():
        print(f"damaged: {tar}: {' '.join(fault.split())}", file=sys.stderr)
    print(f"{folder}: {sum(shard['samples'] for shard in shards)} samples in {len(shards)} shards")
    return 2 if faults else 0


def index_tar(tar: Path, ignore: tuple[str, ...]) -> str:
    """Reads a tar and writes its index, unless the right one is there; what is wrong with it."""
    beside = tar.with_suffix(".idx")
    try:
        index = build_index(tar, ignore)
    except ValueError as error:
        return str(error)
    try:
        kept = Index.load(beside) if beside.exists() else None
    except ValueError:  # a damaged index is nothing worth keeping
        kept = None
    if kept is not None and kept.tar_bytes == index.tar_bytes:
        same = np.array_equal(kept.table, index.table)  # what is said of its bytes may be new
    else:
        same = True
    if not same:
        return f"its bytes are not those indexed; if the change was meant, delete {beside.name}"
    if kept is None or kept.digest != index.digest:
        index.save(beside)
    return ""
