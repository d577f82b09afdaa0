"""Video: clips made of stamps, found by what they show and say, and described.

A clip of two seconds moves over the picture of a stamp that training never met, while a recording
names it. The clips are files in RUN/clips, written once and read back as any other.
"""

import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

import omni
from eval.bench import Bench
from eval.corpus import choose, picture, recording
from eval.metrics import Score, exactly, matches, measure
from eval.tasks.stamps import caption, captions, hits, of
from omni.batch import Sample

LANGUAGE = "fr"
SIDE, RATE, FRAMES = 160, 12, 24
"""pixels, frames a second, and frames"""
SOUND_RATE = 48_000
"""Hz, that Opus takes"""


def video(bench: Bench) -> Iterator[tuple[str, Score]]:
    """R@1 of clips and their descriptions, both ways, and how many are described exactly."""
    every = bench.corpus.samples("test")
    drawn = {sample.meta["stem"]: sample for sample in of(every, "stamp", "en")}
    samples = choose(of(every, "speech", LANGUAGE), bench.limit, bench.seed)
    folder = bench.judges.with_name("clips")
    folder.mkdir(parents=True, exist_ok=True)
    clips = [omni.read(clip(drawn[s.meta["stem"]], s, folder)) for s in samples]
    truth = [caption(sample, LANGUAGE) for sample in samples]
    gallery = captions(samples, LANGUAGE)
    for prefix, model in (("", bench.model), ("untrained/", bench.control)):
        vectors, texts = model.embed([*clips]), model.embed([*gallery.values()])
        for name, hit, size in (
            (f"video->text-{LANGUAGE}", hits(vectors, texts, truth, [*gallery]), len(gallery)),
            (f"text-{LANGUAGE}->video", hits(texts, vectors, [*gallery], truth), len(truth)),
        ):
            yield f"{prefix}test/video/{name}/R@1", measure(hit, bench.seed, gallery=size)
            chance = exactly(1 / size, len(hit), size, bench.seed)
            yield from [] if prefix else [(f"chance/test/video/{name}/R@1", chance)]
        described = model.generate([*clips], to="text", language=LANGUAGE)
        right = measure(matches(described, truth), bench.seed)
        yield f"{prefix}test/video/video->text-{LANGUAGE}/exact", right


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
