"""Video: clips made of stamps, found by what they show and say, and described.

A clip of two seconds moves over the picture of a stamp while a recording that training never heard
names it: of stamps that training never met (`test`), and of those that it knows (`held`). The clips
are files in clips/ beside RUN, written once and read back as any other. They are re-ranked as
recordings are, by what is likelier for one of them than for clips of training.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import omni
from eval.bench import Bench
from eval.corpus import choose, picture, recording
from eval.metrics import Score, edits, error_rate, exactly, matches, measure
from eval.protocol import BEAMS, Protocol, settings
from eval.ranks import first_alone
from eval.tasks.stamps import BANK, caption, captions, hits, look_again, of
from omni import Omni
from omni.batch import Sample
from omni.items import Item

LANGUAGE = "fr"
SIDE, RATE, FRAMES = 160, 12, 24
"""pixels, frames a second, and frames"""
SOUND_RATE = 48_000
"""Hz, that Opus takes"""


def video(bench: Bench) -> Iterator[tuple[str, Score]]:
    """R@1 of clips and their descriptions, both ways; exact match and CER of what is described."""
    bench.protocol = Protocol(
        task="video",
        references="one caption, of any clip that has it",
        normalizer="lower case, single spaces",
        decoding=settings("candidates") | {"search": BEAMS},
        limit=bench.limit,
    )
    _, bank = filmed(bench, "train", "train", BANK)
    for split, of_pictures in (("test", "test"), ("held", "train")):
        samples, clips = filmed(bench, split, of_pictures, bench.limit)
        for prefix, model in (("", bench.omni), ("untrained/", bench.fresh)):
            for name, score in found(bench, model, samples, clips, bank):
                yield f"{prefix}{split}/video/{name}", score
        both = {"video->text": len(clips), "text->video": len(captions(samples, LANGUAGE))}
        for (name, asked), size in zip(both.items(), reversed(both.values()), strict=True):
            yield f"chance/{split}/video/{name}/R@1", exactly(1 / size, asked, size, bench.seed)


def filmed(
    bench: Bench, split: str, of_pictures: str, limit: int
) -> tuple[list[Sample], list[Item]]:
    """Recordings of a split, and the clips in which they name pictures."""
    stamps = of(bench.corpus.samples(of_pictures), "stamp", "en")
    drawn = {sample.meta["stem"]: sample for sample in stamps}
    samples = choose(of(bench.corpus.samples(split), "speech", LANGUAGE), limit, bench.seed)
    folder = bench.judges.with_name("clips") / split
    folder.mkdir(parents=True, exist_ok=True)
    with first_alone():
        files = [clip(drawn[sample.meta["stem"]], sample, folder) for sample in samples]
    return samples, [*map(omni.read, files)]


def found(
    bench: Bench, model: Omni, samples: list[Sample], clips: list[Item], bank: list[Item]
) -> Iterator[tuple[str, Score]]:
    """The figures of one model: what it finds, at first and at second sight, and what it writes."""
    truth, gallery = [caption(s, LANGUAGE) for s in samples], captions(samples, LANGUAGE)
    names, texts = [*gallery], list[Item](gallery.values())
    cosines = model.embed(clips) @ model.embed(texts).T
    scores = look_again(model, clips, texts, cosines, LANGUAGE, bank)
    told = f"bank of {len(bank)} clips of train"
    for look, matrix, protocol in (("", cosines, ""), ("reranked ", scores, told)):
        for way, hit, size in (
            ("video->text", hits(matrix, truth, names), len(names)),
            ("text->video", hits(matrix.T, names, truth), len(truth)),
        ):
            score = measure(hit, bench.seed, gallery=size, protocol=protocol)
            yield f"{look}{way}/R@1", score
    described = model.generate(clips, to="text", language=LANGUAGE)
    yield "video->text/exact", measure(matches(described, truth), bench.seed)
    yield "video->text/CER", measure(edits(described, truth), bench.seed, error_rate)


def clip(drawn: Sample, spoken: Sample, folder: Path) -> Path:
    """The file of a clip, made where it is not there yet."""
    import av

    path = folder / f"{zlib.crc32(spoken.key.encode()):08x}.webm"
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    with av.open(str(partial), "w", format="webm") as out:
        stream = out.add_stream("libvpx", rate=RATE)
        stream.width = stream.height = SIDE
        stream.pix_fmt = "yuv420p"
        sound = out.add_stream("libopus", rate=SOUND_RATE, layout="mono")
        for number in range(FRAMES):
            pixels = np.asarray(moved(picture(drawn), number / (FRAMES - 1)))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        out.mux(stream.encode())
        heard = recording(spoken)
        samples = (heard.samples * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout="mono")
        frame.sample_rate = heard.sample_rate
        for part in av.AudioResampler("s16", "mono", SOUND_RATE).resample(frame):
            out.mux(sound.encode(part))
        out.mux(sound.encode())
    return partial.replace(path)


def moved(image: Image.Image, time: float) -> Image.Image:
    """The picture on white, coming nearer from left to right; `time` is 0 to 1."""
    side = round(SIDE * (0.6 + 0.4 * time))
    image = image.copy()
    image.thumbnail((side, side))
    canvas = Image.new("RGB", (SIDE, SIDE), "white")
    left = round((SIDE - image.width) * time)
    canvas.paste(image, (left, (SIDE - image.height) // 2))
    return canvas
