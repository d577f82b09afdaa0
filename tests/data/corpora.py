"""Twelve samples as a folder, tables and foreign tars, and what pack makes of them."""

import csv
import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import soundfile
from PIL import Image

from data.prepare.__main__ import main
from omni.pipeline.stream import stream_members

RATES = (44_100, 22_050, 16_000, 8_000)
SENSES = [  # every set of senses, some twice
    ("image", "audio", "text"), ("image", "audio"), ("image", "text"), ("audio", "text"),
    ("image",), ("audio",), ("text",), ("image", "audio", "text"), ("image", "text"),
    ("audio", "text"), ("image", "audio", "text"), ("image", "text"),
]  # fmt: skip


def picture(width: int, height: int, kind: str = "PNG", **options) -> bytes:
    rows = np.linspace(0, 255, height)[:, None, None]
    pixels = np.broadcast_to(rows, (height, width, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(file := io.BytesIO(), kind, **options)
    return file.getvalue()


def tone(rate: int, seconds: float = 0.2, channels: int = 1, hertz: float = 440) -> bytes:
    wave = 0.5 * np.sin(2 * np.pi * hertz * np.arange(int(rate * seconds)) / rate)
    soundfile.write(file := io.BytesIO(), np.stack([wave] * channels, 1), rate, format="WAV")
    return file.getvalue()


def make_samples() -> dict[str, dict]:
    """What is in all kinds of sources, by key: upper case, so that the id is not the key."""
    found = {}
    for i, senses in enumerate(SENSES):
        sample: dict = {"language": "zh" if i == 3 else "en", "colour": f"c{i}"}
        if "image" in senses:
            sample["image"] = picture(30 + 40 * i, 20 + 30 * i)
        if "audio" in senses:
            sample["audio"] = tone(RATES[i % 4], channels=1 + i % 2)
        if "text" in senses:
            sample["text"] = "红色的自行车" if i == 3 else f'a "red" bicycle, {i}'
        found[f"S{i:02d}"] = sample
    return found


SAMPLES = make_samples()
FILES = {"image": "png", "audio": "wav", "text": "txt"}


def as_files(sample: dict) -> dict[str, bytes]:
    """The files of a sample by extension."""
    files = {FILES[sense]: sample[sense] for sense in ("image", "audio") if sense in sample}
    if "text" in sample:
        files["txt"] = sample["text"].encode()
    meta = {"language": sample["language"], "colour": sample["colour"]}
    return files | {"json": json.dumps(meta).encode()}


def write_folder(root: Path, samples: dict[str, dict] = SAMPLES) -> Path:
    root.mkdir(parents=True, exist_ok=True)
    for key, sample in samples.items():
        for extension, data in as_files(sample).items():
            (root / f"{key}.{extension}").write_bytes(data)
    return root


def write_tar(path: Path, compressed: bool) -> Path:
    """With odd names: .png is .left.png beside a .npy, and a folder has an entry of its own."""
    with tarfile.open(path, "w:gz" if compressed else "w") as tar:
        (folder := tarfile.TarInfo("./")).type = tarfile.DIRTYPE
        tar.addfile(folder)
        for key, sample in SAMPLES.items():
            for extension, data in (as_files(sample) | {"npy": b"\x93NUMPY"}).items():
                name = "Left.PNG" if extension == "png" else extension
                (info := tarfile.TarInfo(f"./{key}.{name}")).size = len(data)
                tar.addfile(info, io.BytesIO(data))
    return path


def rows(folder: Path) -> list[dict[str, str]]:
    """The rows of a table; the media are in `folder`."""
    write_folder(folder)
    found = []
    for key, sample in SAMPLES.items():
        row = {"key": key, "language": sample["language"], "colour": sample["colour"]}
        for sense in ("image", "audio"):
            row[sense] = f"media/{key}.{FILES[sense]}" if sense in sample else ""
        found.append(row | {"text": sample.get("text", "")})
    return found


def write_csv(path: Path, delimiter: str) -> Path:
    quoting = csv.QUOTE_NONE if delimiter == "\t" else csv.QUOTE_MINIMAL
    with path.open("w", encoding="utf-8", newline="") as file:
        table = rows(path.parent / "media")
        mark = None if delimiter == "\t" else '"'
        writer = csv.DictWriter(
            file, table[0], delimiter=delimiter, quoting=quoting, quotechar=mark
        )
        writer.writeheader()
        writer.writerows(table)
    return path


def write_jsonl(path: Path) -> Path:
    lines = (json.dumps(row) + "\n" for row in rows(path.parent / "media"))
    path.write_text("".join(lines), "utf-8")
    return path


def write_parquet(path: Path, struct: bool) -> Path:
    columns = {name: [] for name in ("key", "language", "colour", "image", "audio", "text")}
    for key, sample in SAMPLES.items():
        for name, values in columns.items():
            value = key if name == "key" else sample.get(name)
            is_medium = name in ("image", "audio") and value is not None
            values.append({"bytes": value, "path": "x"} if struct and is_medium else value)
    pq.write_table(pa.table(columns), path)
    return path


SOURCES = {
    "csv": lambda folder: write_csv(folder / "table.csv", ","),
    "tsv": lambda folder: write_csv(folder / "table.tsv", "\t"),
    "jsonl": lambda folder: write_jsonl(folder / "table.jsonl"),
    "parquet of bytes": lambda folder: write_parquet(folder / "table.parquet", False),
    "parquet of structs": lambda folder: write_parquet(folder / "table.parquet", True),
    "tar": lambda folder: write_tar(folder / "shard-0.tar", False),
    "gzipped tar": lambda folder: write_tar(folder / "shard-0.tar.gz", True),
}


def pack(source: Path | str, out: Path, *options: object) -> int:
    options = options or ("--shard-samples", 5)
    return main(["pack", str(source), str(out), "--processes", "1", *map(str, options)])


def members(out: Path) -> dict[str, dict[str, bytes]]:
    """All samples in the order of the shards."""
    found = [s for tar in sorted(out.glob("*.tar")) for s in stream_members(tar)]
    return {str(sample.pop("__key__")): sample for sample in found}


def contents(out: Path) -> dict[str, bytes]:
    """Every file that a run leaves."""
    return {str(p.relative_to(out)): p.read_bytes() for p in sorted(out.rglob("*")) if p.is_file()}
