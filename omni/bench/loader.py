"""How much processor time a sample costs, ours beside the usual pipeline on the same files.

Every row is measured in the same run, on one core, as processor time of the whole process; ratios
are of medians. Walls are measured where several processes take part.
"""

import os
import statistics
import tempfile
import time
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from omni.bench import baseline
from omni.bench.media import write_media
from omni.config import AudioConfig, Config, DataConfig, ImageConfig, ModelConfig
from omni.modality.audio import LogMel
from omni.modality.image import fit, normalize
from omni.modality.text import Tokenizer
from omni.pipeline.assemble import Assembler
from omni.pipeline.collate import Buffers
from omni.pipeline.loader import Loader
from omni.pipeline.plan import WINDOW
from omni.pipeline.reader import Reader
from omni.pipeline.sample import decode_members
from omni.pipeline.worker import SLOTS
from omni.progress import track

BATCH = 64
TURNS = 8
"""epochs that are timed by the clock: few batches tell of the start alone"""
SETS = {
    "224 px, 1.4 s PCM": (224, 224, 1.4, "wav"),
    "224 px, 1.4 s FLAC": (224, 224, 1.4, "flac"),
    "400 x 300, 10 s FLAC": (400, 300, 10.0, "flac"),
}
"""width, height, seconds and the extension of the sound"""


@dataclass(frozen=True)
class Bench:
    """One data set of the comparison, and all that is needed to read it."""

    folder: Path
    count: int
    model: ModelConfig
    tokenizer: Tokenizer

    @property
    def data(self) -> DataConfig:
        return DataConfig(path=(str(self.folder),), batch_size=BATCH, extra_texts=0)

    def assembler(self) -> Assembler:
        """Ours, keeping nothing of what it has decoded."""
        return Assembler(**Loader(self.data)._rules(self.tokenizer, self.model))


def run(count: int, repeat: int) -> None:
    """Prints every row and every ratio. Raises `ValueError` for fewer samples than a window."""
    window = BATCH * WINDOW
    if count < window:
        raise ValueError(f"--samples must be at least {window}, got {count}")
    torch.set_num_threads(1)
    print(f"{os.cpu_count()} cores, one used; {count} samples; median of {repeat}")
    with tempfile.TemporaryDirectory() as scratch:
        for name, (width, height, seconds, sound) in SETS.items():
            folder = Path(scratch) / sound / str(width)
            write_media(folder, count, width, height, seconds, sound)
            model = replace(
                Config().model,
                image=ImageConfig(size=224),
                audio=AudioConfig(num_mels=80, hop=160, max_seconds=1.25 * seconds),
            )
            tokenizer = Loader(DataConfig(path=(str(folder),))).learn_tokenizer(800)
            bench = Bench(folder, count, model, tokenizer)
            _report(name, _cpu(bench, repeat), bench)
        _walls(Path(scratch) / "wav/224", bench, repeat)


def _cpu(bench: Bench, repeat: int) -> dict[str, float]:
    """Microseconds of processor time a sample, by row; rows take turns, after one for warmth.

    What is made once a run, by ours an index and memory for a batch, is made before.
    """
    assembler, buffers = bench.assembler(), Buffers.allocate(BATCH, bench.model)
    rows = {
        "usual": lambda: baseline.usual(*_arguments(bench)),
        "webdataset, our decoders": lambda: baseline.same_decoders(*_arguments(bench)),
        "ours": lambda: _ours(bench, assembler, buffers),
        "ours, floats on the CPU": lambda: _floats(bench, assembler, buffers),
        "decoding alone": _in_memory(bench, assembler, buffers),
        "reading, webdataset": lambda: baseline.read(bench.folder),
        "reading, ours": lambda: _reads(bench, assembler),
        "crc32": _digests(bench),
    }
    times: dict[str, list[float]] = {name: [] for name in rows}
    for _ in track(range(repeat + 1), "measuring"):
        for name, row in rows.items():
            times[name].append(_processor_time(row) / bench.count * 1e6)
    return {name: statistics.median(values[1:]) for name, values in times.items()}


def _arguments(bench: Bench) -> tuple[Path, int, Tokenizer, ModelConfig]:
    return bench.folder, BATCH, bench.tokenizer, bench.model


def _processor_time(row: Callable[[], Iterable[object]]) -> float:
    began = time.process_time()
    for _ in row():
        pass
    return time.process_time() - began


def _ours(bench: Bench, assembler: Assembler, buffers: Buffers) -> Iterable[Any]:
    """One epoch, shuffled, into memory that is used again."""
    return (assembler.make(step, buffers).batch for step in range(bench.count // BATCH))


def _floats(bench: Bench, assembler: Assembler, buffers: Buffers) -> Iterable[object]:
    """The output of the usual pipeline: normalised floats and log-mel, a recording at a time.

    The floats of pictures, too, go into memory that is used again.
    """
    log_mel, floats = LogMel(bench.model.audio), torch.empty(buffers.pixels.shape)
    for batch in _ours(bench, assembler, buffers):
        sounds = zip(batch.parts["audio"].data, batch.parts["audio"].lengths.tolist(), strict=True)
        images = floats.permute(0, 3, 1, 2)
        for place, pixels in zip(images, batch.parts["image"].data, strict=True):
            place.copy_(normalize(pixels))
        yield images, [log_mel(row[None, :n]) for row, n in sounds]


def _in_memory(
    bench: Bench, assembler: Assembler, buffers: Buffers
) -> Callable[[], Iterable[object]]:
    """The same decoders on bytes that are there already, into memory of the size of a batch."""
    raw = [assembler.readers[0].content(number) for number in range(bench.count)]
    canvases, sounds = buffers.pixels, buffers.samples.view(BATCH, -1)

    def decode() -> Iterable[object]:
        for number in range(bench.count):
            canvas, sound = canvases[number % BATCH], sounds[number % BATCH]
            found = decode_members(raw[number], bench.model.audio.sample_rate, canvas.numpy())
            if found["image"].data_ptr() != canvas.data_ptr():
                canvas.permute(2, 0, 1).copy_(fit(found["image"], 224))
            sound[: len(found["audio"])] = found["audio"]
            yield bench.tokenizer.encode(found["text"], bench.model.text.max_tokens)

    return decode


def _reads(bench: Bench, assembler: Assembler) -> Iterable[object]:
    """The bytes of samples in random order; crc32 is a row of its own."""
    reader = assembler.readers[0]
    for step in range(bench.count // BATCH):
        for pick in assembler.plan.batch(step):
            shard, row = reader.dataset.locate(pick.number)
            members = shard.index.members(row)
            start, last = members[0].offset, members[-1]
            yield reader._read(shard, start, last.offset + last.size - start)


def _digests(bench: Bench) -> Callable[[], Iterable[int]]:
    reader = Reader(Loader(bench.data).datasets[0])
    members = [data for n in range(bench.count) for data in reader.content(n).values()]
    return lambda: (zlib.crc32(data) for data in members)


def _density(bench: Bench) -> float:
    """Share of the sound of an epoch's batches that is no padding: samples are sorted by length."""
    buffers, assembler = Buffers.allocate(BATCH, bench.model), bench.assembler()
    parts = (batch.parts["audio"] for batch in _ours(bench, assembler, buffers))
    sizes = [(int(part.lengths.sum()), part.data.numel()) for part in parts]
    return sum(real for real, _ in sizes) / sum(padded for _, padded in sizes)


def _report(name: str, cpu: dict[str, float], bench: Bench) -> None:
    ours = cpu["ours"]
    print(f"\n{name}: microseconds of processor time a sample")
    for row, value in cpu.items():
        print(f"  {row:28s} {value:9.1f}   {1e6 / value:9,.0f} samples/s a core")
    ratios = {
        "usual / ours": cpu["usual"] / ours,
        "usual / ours, floats on the CPU": cpu["usual"] / cpu["ours, floats on the CPU"],
        "webdataset with our decoders / ours": cpu["webdataset, our decoders"] / ours,
        "ours / decoding alone": ours / cpu["decoding alone"],
        "crc32 / ours": cpu["crc32"] / ours,
        "reading, webdataset / ours": cpu["reading, webdataset"] / cpu["reading, ours"],
        "sound that is no padding": _density(bench),
    }
    for row, value in ratios.items():
        print(f"  {row:40s} {value:8.3f}")


class _Steps(TorchDataset):
    """The steps of an epoch as torch's DataLoader wants them."""

    def __init__(self, bench: Bench) -> None:
        self.bench, self.assembler = bench, None

    def __len__(self) -> int:
        return TURNS * self.bench.count // BATCH

    def __getitem__(self, step: int) -> Any:
        torch.set_num_threads(1)
        self.assembler = self.assembler or self.bench.assembler()
        return self.assembler.make(step).batch.parts["image"].data


def _walls(folder: Path, bench: Bench, repeat: int) -> None:
    """Samples a second by the clock: one process, two workers, torch's DataLoader with two."""
    bench = replace(bench, folder=folder)
    steps = range(TURNS * bench.count // BATCH)

    def alone() -> Iterable[object]:
        assembler, buffers = bench.assembler(), Buffers.allocate(BATCH, bench.model)
        return (assembler.make(step, buffers) for step in steps)

    def workers() -> Iterable[object]:
        loader = Loader(replace(bench.data, workers=2))
        return loader.batches(0, len(steps), bench.tokenizer, bench.model)

    def dataloader() -> Iterable[object]:
        context = "forkserver"
        return DataLoader(_Steps(bench), None, num_workers=2, multiprocessing_context=context)

    rows = {"in this process": alone, "two workers": workers, "DataLoader, two workers": dataloader}
    rates = {name: [] for name in rows}
    for _ in range(repeat):
        for name, row in rows.items():
            rates[name].append(_rate(row()))
    print("\n224 px, 1.4 s PCM: samples a second by the clock, once all memory is in use")
    one, two, other = (statistics.median(values) for values in rates.values())
    for name, value in zip(rows, (one, two, other), strict=True):
        print(f"  {name:28s} {value:9,.0f}")
    print(f"  {'two workers / in this process':40s} {two / one:8.3f}")
    print(f"  {'two workers / DataLoader':40s} {two / other:8.3f}")


def _rate(batches: Iterable[object]) -> float:
    """Samples a second, not counting what comes before every slot of two workers has been used."""
    times = [time.perf_counter() for _ in batches][2 * SLOTS :]
    return (len(times) - 1) * BATCH / (times[-1] - times[0])
