"""A page of samples drawn at random, in one file: pictures, players, texts, and where they are.

Whatever a shard holds is shown and never obeyed: texts are escaped, and the page forbids scripts
and every address.
"""

import argparse
import base64
import html
import io
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
from PIL import Image

from data.prepare.rules import read_content
from omni.pipeline.dataset import Dataset
from omni.pipeline.decode import image_size
from omni.pipeline.formats import SLOTS, senses_of
from omni.pipeline.reader import Reader, SampleError

TYPES = {"jpg": "image/jpeg", "jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
TYPES |= {"wav": "audio/wav", "flac": "audio/flac", "mp3": "audio/mpeg"}
TYPES |= {"opus": "audio/ogg", "ogg": "audio/ogg"}
INLINE_BYTES = 256 << 10
"""a picture of more is put in smaller"""
SIDE = 512
"""pixels of a picture that was made smaller"""

PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy"
 content="default-src 'none'; img-src data:; media-src data:; style-src 'unsafe-inline'">
<title>{title}</title>
<style>
:root {{ color-scheme: light dark }}
body {{ font: 15px/1.45 system-ui, sans-serif; margin: 2em auto; max-width: 80rem }}
main {{ display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)) }}
article {{ border: 1px solid #8886; border-radius: 6px; padding: 1em; overflow-wrap: anywhere }}
img {{ display: block; min-width: 8rem; max-width: 100%; margin: 0 auto .5rem; background: #fff }}
audio {{ width: 100% }}
h2 {{ font: 600 .85rem ui-monospace, monospace; margin: 0 0 .5rem }}
h1, table, p, main {{ margin-left: 1rem; margin-right: 1rem }}
small, td:first-child {{ opacity: .65 }}
.fault {{ color: #c33 }}
ul {{ margin: .5rem 0; padding: 0; list-style: none; max-height: 16rem; overflow: auto }}
td {{ padding-right: 1.5rem }}
</style>
<h1>{title}</h1>
<table>{counts}</table>
<p>{drawn} samples, drawn with seed {seed} from every set of senses alike.</p>
<main>{samples}</main>
</html>
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of `python -m data.prepare show`."""
    parser.add_argument("path", help="folder of shards SPLIT-*.tar, or a pattern of tars")
    parser.add_argument("--split", default="train")
    ignore = "an extension to pass over; may be given several times"
    parser.add_argument("--ignore", action="append", default=[], metavar="EXT", help=ignore)
    parser.add_argument("--count", type=int, default=48, help="samples (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("show.html"))


def run(arguments: argparse.Namespace) -> int:
    """Writes the page. Raises `ValueError` where there is nothing to show."""
    if arguments.count < 1 or arguments.seed < 0:
        raise ValueError("--count must be at least 1 and --seed at least 0")
    dataset = Dataset(arguments.path, arguments.split, tuple(arguments.ignore))
    page = render(dataset, arguments.count, arguments.seed)
    # The name of a language may hold half a surrogate pair, which UTF-8 cannot.
    arguments.out.write_text(page, "utf-8", errors="replace")
    print(arguments.out)
    return 0


def render(dataset: Dataset, count: int, seed: int) -> str:
    """The page."""
    numbers = draw(dataset, count, seed)
    with closing(Reader(dataset)) as reader:
        samples = "".join(_sample(dataset, reader, number) for number in numbers)
    rows = (f"<tr><td>{_escape(a)}<td>{_escape(b)}" for a, b in _counts(dataset))
    return PAGE.format(
        title=_escape(dataset.name),
        counts="".join(rows),
        drawn=len(numbers),
        seed=seed,
        samples=samples,
    )


def draw(dataset: Dataset, count: int, seed: int) -> list[int]:
    """Numbers of samples: from each set of senses as many, as far as it has them."""
    generator = np.random.default_rng(seed)
    senses = np.concatenate([shard.index.samples["senses"] for shard in dataset.shards])
    strata = [np.flatnonzero(senses == mask) for mask in np.unique(senses)]
    chosen: list[int] = []
    # The smallest first: what one set lacks falls to those after it.
    for left, rows in zip(range(len(strata), 0, -1), sorted(strata, key=len), strict=True):
        quota = min(len(rows), -(-(count - len(chosen)) // left))
        chosen += generator.choice(rows, quota, replace=False).tolist()
    return sorted(chosen)


def _counts(dataset: Dataset) -> Iterator[tuple[str, str]]:
    size = sum(shard.index.tar_bytes for shard in dataset.shards)
    yield "samples", f"{len(dataset):,} in {len(dataset.shards):,} shards, {size / 1e6:,.1f} MB"
    totals = sum(shard.counts for shard in dataset.shards)
    for mask, total in enumerate(np.asarray(totals).tolist()):
        if total:
            yield " + ".join(senses_of(mask)) or "no sense", f"{total:,}"


def _sample(dataset: Dataset, reader: Reader, number: int) -> str:
    """One sample; what cannot be read or decoded is said in its place."""
    shard, row = dataset.locate(number)
    damaged: dict[str, str] = {}
    try:
        key, members = reader.members(number, damaged)
    except (SampleError, OSError) as error:
        return f"<article><h2>{_escape(shard.name)}, sample {row}</h2>{_fault(error)}</article>"
    content = read_content(key, members)
    parts = [f"<h2>{_escape(key)}</h2>"]
    parts += [_fault(f".{extension}: {reason}") for extension, reason in damaged.items()]
    for extension, data in members.items():
        if reason := content.faults.get(extension, "" if data else "0 bytes"):
            parts.append(_fault(f".{extension}: {reason}"))
        elif SLOTS.get(extension) == "image":
            parts.append(_picture(data, extension, content.image))
        elif SLOTS.get(extension) == "audio":
            source = _address(data, TYPES[extension])
            parts.append(f'<audio controls preload="none" src="{source}"></audio>')
    if content.audio is not None:
        seconds = len(content.audio) / content.rate
        parts.append(f"<small>{seconds:.2f} s at {content.rate:,} Hz</small>")
    lines = (
        f"<li><small>{_escape(language)}</small> <bdi>{_escape(text)}</bdi>"
        for language, text in content.texts
    )
    parts.append(f"<ul>{''.join(lines)}</ul>")
    sizes = ", ".join(f".{extension} {len(data):,}" for extension, data in members.items())
    parts.append(f"<small>{_escape(shard.name)}, sample {row}: {_escape(sizes)} bytes</small>")
    return f"<article>{''.join(parts)}</article>"


def _picture(data: bytes | bytearray, extension: str, image: np.ndarray | None) -> str:
    width, height = image_size(data)
    kind = TYPES[extension]
    if len(data) > INLINE_BYTES and image is not None:
        small, buffer = Image.fromarray(image), io.BytesIO()
        small.thumbnail((SIDE, SIDE))
        small.save(buffer, "JPEG", quality=85)
        data, kind = buffer.getvalue(), "image/jpeg"
    picture = f'<img src="{_address(data, kind)}" alt="" loading="lazy">'
    return f"{picture}<small>{width} x {height} pixels</small> "


def _address(data: bytes | bytearray, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _fault(reason: object) -> str:
    return f'<p class="fault">{_escape(str(reason))}</p>'


def _escape(text: str) -> str:
    return html.escape(text, quote=True)
