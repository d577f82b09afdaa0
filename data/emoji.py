"""Build the emoji corpus: pictures in six styles, names in many languages, speech in 27 voices.

    python -m data.emoji --npm DIR [--out data/sample] [--check]

DIR is where npm installed the packages (data/README.md has the whole recipe and the splits).
Every draw is a pure function of SEED and the concept, so a concept added changes no other.
Chosen to keep data/sample within 24,000,000 bytes: WebP quality 55 (no artefact seen beside 75),
Opus at 8 kbit/s in wideband, and a json of at most 512 bytes, which is one block of a tar file.
"""

import argparse
import hashlib
import json
import multiprocessing
import random
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

import torch
from webdataset.writer import TarWriter

from data import pictures, voices
from data.concepts import NEW_STYLE, STYLES, Concept, read_concepts, read_icons, read_json
from data.licences import write_licences
from omni.progress import track

SEED = 0
UNSEEN_SHARE = 0.1
VOICES_A_CONCEPT = 4  # one of them for the test
NUM_TRAIN_SHARDS = 4
MAX_JSON_BYTES = 512


@dataclass(frozen=True)
class Sample:
    """One sample before it is drawn and spoken; voice is None where there is no recording."""

    concept: Concept
    split: str
    style: str
    voice: str | None
    unseen: bool = False

    @property
    def key(self) -> str:
        """The sample's key, unique in the whole corpus: no style of a concept is used twice."""
        return f"{self.concept.code}-{self.style}"


def plan(concept: Concept) -> list[Sample]:
    """Draw a concept's samples for all splits."""
    draw = random.Random(f"{SEED}/{concept.code}")
    unseen = draw.random() < UNSEEN_SHARE
    styles = draw.sample([s for s in concept.styles if s != NEW_STYLE], len(concept.styles) - 1)
    spoken = draw.sample(voices.VOICES, VOICES_A_CONCEPT)
    # There are at least as many styles as voices: the last samples may have no recording, but
    # none is without a picture.
    pairs = [] if unseen else zip_longest(styles[1:], spoken[1:])
    return [
        *(Sample(concept, "train", style, voice) for style, voice in pairs),
        Sample(concept, "test", styles[0], spoken[0], unseen),
        Sample(concept, "new", NEW_STYLE, draw.choice(voices.NEW_VOICES), unseen),
    ]


def describe(samples: list[Sample], licences: dict[str, str]) -> Iterator[bytes]:
    """Yield the json of each sample of one concept, at most 512 bytes.

    English names and keywords come first, then as many other languages as fit. Those that found
    room move to the end of the queue, so that a few samples together cover all languages.
    """
    names = samples[0].concept.names
    queue = [lang for lang, name in names.items() if lang != "en" and name != names["en"]]
    random.Random(f"{SEED}/{samples[0].concept.code}/languages").shuffle(queue)
    for sample in samples:
        record = {"concept": sample.concept.code, "names": {"en": names["en"]}, "keywords": []}
        record["style"] = sample.style
        record |= {"voice": sample.voice} if sample.voice else {}
        record["licence"] = licences[sample.style]
        record |= {"unseen": True} if sample.unseen else {}
        for keyword in sample.concept.keywords:
            record["keywords"].append(keyword)
            if len(_compact(record)) > MAX_JSON_BYTES:
                record["keywords"].pop()
        for language in queue:
            record["names"][language] = names[language]
            if len(_compact(record)) > MAX_JSON_BYTES:
                del record["names"][language]
        queue.sort(key=lambda language: language in record["names"])
        yield _compact(record)


def _compact(record: dict) -> bytes:
    return json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode()


def produce(job: tuple[str, str, str | None, str]) -> tuple[bytes, bytes | None]:
    """Draw and speak one sample: (SVG, text, voice, seed of the draw) -> (WebP, Opus or None)."""
    svg, text, voice, seed = job
    webp = pictures.draw(svg)
    if voice is None:
        return webp, None
    draw = random.Random(seed)
    rate, pitch = draw.randint(160, 200), draw.randint(35, 65)
    return webp, voices.encode(voices.speak(text, voice, rate, pitch))


def write_shard(path: Path, samples: list[Sample], parts: dict[str, dict[str, bytes]]) -> None:
    """Write one shard; the bytes depend on the samples only, not on user, time or platform."""
    with path.open("wb") as file:
        writer = TarWriter(file, user="omni", group="omni", mtime=0, encoder=False)
        for sample in samples:
            # One call a member, because the writer would sort them and put the json first.
            for extension, content in parts[sample.key].items():
                writer.write({"__key__": sample.key, extension: content})
        writer.close()


def build(npm: Path, out: Path, processes: int = 2) -> None:
    """Build the corpus from the packages under `npm` into the folder `out`."""
    tools = voices.require_tools()
    voices.require_distinct_voices()
    icons = read_icons(npm)
    info = {style: read_json(npm, f"@iconify-json/{style}", "info.json") for style in icons}
    licences = {style: info[style]["license"]["spdx"] for style in icons}
    plans = [plan(concept) for concept in read_concepts(npm, icons)]
    samples = [sample for concept in plans for sample in concept]
    texts = [text for concept in plans for text in describe(concept, licences)]
    jobs = [
        (
            pictures.to_svg(icons[s.style], s.concept.slug),
            s.concept.names["en"],
            s.voice,
            f"{SEED}/{s.concept.code}/{s.voice}",
        )
        for s in samples
    ]
    parts = {}
    # spawn, because torch must not be forked; one thread each, because the pool is the parallelism
    context = multiprocessing.get_context("spawn")
    with context.Pool(processes, torch.set_num_threads, (1,)) as pool:
        results = pool.imap(produce, jobs, chunksize=16)
        progress = track(results, "drawing and speaking", total=len(jobs))
        for sample, text, (webp, opus) in zip(samples, texts, progress, strict=True):
            parts[sample.key] = {"webp": webp} | ({"opus": opus} if opus else {}) | {"json": text}
    out.mkdir(parents=True, exist_ok=True)
    for name, members in shards(samples):
        write_shard(out / name, members, parts)
    versions = {p: read_json(npm, p, "package.json")["version"] for p in _packages()}
    write_licences(out / "LICENSES.md", info, versions, tools)
    (out / "SHA256SUMS").write_text(
        "".join(f"{digest}  {name}\n" for name, digest in checksums(out).items())
    )


def _packages() -> list[str]:
    return [*(f"@iconify-json/{style}" for style in (*STYLES, NEW_STYLE)), "emojibase-data"]


def shards(samples: list[Sample]) -> Iterator[tuple[str, list[Sample]]]:
    """Yield (file name, samples): training shuffled over four shards, test and new by concept."""
    order = {s.key: random.Random(f"{SEED}/{s.key}/order").random() for s in samples}
    train = sorted((s for s in samples if s.split == "train"), key=lambda s: order[s.key])
    for shard in range(NUM_TRAIN_SHARDS):
        members = [s for s in train if int(order[s.key] * NUM_TRAIN_SHARDS) == shard]
        yield f"train-{shard:06d}.tar", members
    for split in ("test", "new"):
        yield f"{split}-000000.tar", [s for s in samples if s.split == split]


def checksums(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every shard and of the licences: file name -> hexadecimal digest."""
    paths = sorted([*folder.glob("*.tar"), folder / "LICENSES.md"])
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def check(npm: Path, out: Path) -> list[str]:
    """Rebuild elsewhere and return the names of the files that differ from `out`/SHA256SUMS."""
    lines = (out / "SHA256SUMS").read_text().splitlines()
    expected = {name: digest for digest, name in (line.split("  ", 1) for line in lines)}
    with tempfile.TemporaryDirectory() as folder:
        build(npm, Path(folder))
        built = checksums(Path(folder))
    return [n for n in sorted({*expected, *built}) if expected.get(n) != built.get(n)]


def main() -> None:
    """Parse the command line, then build or check."""
    parser = argparse.ArgumentParser(
        prog="python -m data.emoji", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--npm", type=Path, required=True, help="folder of npm install --prefix")
    parser.add_argument("--out", type=Path, default=Path("data/sample"))
    parser.add_argument("--check", action="store_true", help="rebuild, compare, write nothing")
    args = parser.parse_args()
    try:
        if not args.check:
            build(args.npm, args.out)
            return
        differing = check(args.npm, args.out)
    except ValueError as error:
        sys.exit(f"error: {error}")
    for name in differing:
        print(f"differs: {name}")
    sys.exit(1 if differing else 0)


if __name__ == "__main__":
    main()
