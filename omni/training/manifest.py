"""What a checkpoint consists of, and a digest of every byte of it, in manifest.json.

The manifest is the last file that is written: a folder with one is complete. It says version, step,
world (number of ranks), the size and sha256 of each file, library versions, and what the writer
adds; its last line is the sha256 of the rest. Everything is read as JSON, or as bytes to digest.
"""

import hashlib
import json
import os
import platform
import re
from importlib import metadata
from pathlib import Path
from typing import Any

import safetensors
import torch

MANIFEST = "manifest.json"
WEIGHTS = "model.safetensors"
DOCUMENTS = {"config.json", "tokenizer.json", "state.json"}
VERSION = 1
MAX_BYTES = 16 << 20
NAME = re.compile(r"step-\d{6,12}")


def folder_name(step: int) -> str:
    """Of the checkpoint after `step` steps."""
    return f"step-{step:06d}"


def step_of(folder: Path) -> int:
    """The inverse of `folder_name`."""
    return int(folder.name.removeprefix("step-"))


def shard_name(rank: int) -> str:
    """The file of a rank."""
    return f"training-{rank:05d}.safetensors"


def list_folders(root: Path) -> list[Path]:
    """Folders that bear the name of a checkpoint, by step, whatever they hold."""
    return sorted((f for f in root.glob("step-*") if NAME.fullmatch(f.name)), key=step_of)


def list_checkpoints(run: Path) -> list[Path]:
    """Complete checkpoints of a run, oldest first; their digests are not looked at."""
    return [f for f in list_folders(run / "checkpoints") if (f / MANIFEST).is_file()]


def verify(folder: Path) -> dict[str, Any]:
    """The manifest of a checkpoint. Raises `ValueError` naming the first thing that disagrees."""
    try:
        manifest = _read(folder)
        there = {entry.name for entry in os.scandir(folder)} - {MANIFEST}
        for name in sorted(there ^ manifest["files"].keys()):
            raise ValueError(f"{name} is {'not in the manifest' if name in there else 'missing'}")
        for name, said in manifest["files"].items():
            found = seal(folder / name)
            if found != said:
                raise ValueError(f"{name} is {found}, the manifest says {said!s:.200}")
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder.name}: {error}") from error
    return manifest


def render(step: int, files: dict[str, dict[str, Any]], world: int, facts: dict[str, Any]) -> bytes:
    """The text of a manifest; `files` are by `seal`, `facts` is whatever else is to be said."""
    libraries = {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "safetensors": safetensors.__version__,
        "omni": next((d.version for d in metadata.distributions(name="omni-senses")), "checkout"),
    }
    body = {"version": VERSION, "step": step, "world": world, "files": files}
    return _signed(body | {"libraries": libraries, "facts": facts})


def seal(path: Path) -> dict[str, Any]:
    """Size and digest of a file."""
    if not path.is_file():  # a pipe would never end
        raise ValueError(f"{path.name} is no file")
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"size": file.tell(), "sha256": digest}


def _read(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file() or path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{MANIFEST} is missing, or of more than {MAX_BYTES} bytes")
    text = path.read_bytes()
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{MANIFEST} is no JSON: {error}") from error
    # The bytes are compared, so that not a blank of it can change.
    if not isinstance(manifest, dict) or text != _signed(manifest):
        raise ValueError(f"{MANIFEST} does not agree with its own sha256")
    for key, value in (("version", VERSION), ("step", step_of(folder))):
        if manifest.get(key) != value:
            raise ValueError(f"{MANIFEST} says {key} {manifest.get(key)!s:.100}, not {value}")
    files, world = manifest.get("files"), manifest.get("world")
    if not isinstance(files, dict) or not isinstance(world, int) or not 0 < world < len(files):
        raise ValueError(f"{MANIFEST} does not list a file of each rank")
    if files.keys() != {WEIGHTS, *DOCUMENTS, *map(shard_name, range(world))}:
        raise ValueError(f"{MANIFEST} lists other files than a checkpoint of {world} ranks has")
    return manifest


def _signed(manifest: dict[str, Any]) -> bytes:
    """The one way to write a manifest."""
    body = {key: value for key, value in manifest.items() if key != "sha256"}
    digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
    return json.dumps(body | {"sha256": digest}, indent=1).encode() + b"\n"
