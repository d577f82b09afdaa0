"""Bytes of pictures and recordings to items, in processes that may take little memory."""

import asyncio
import resource
from collections.abc import Callable
from pathlib import Path

import torch
from PIL import Image

from omni.items import Audio, to_sound
from omni.modality.audio import to_int16
from omni.modality.image import fit
from omni.pipeline.decode import read_audio, read_image
from omni.serve.process import LostError, Process

COUNT = 2
"""processes"""
MEMORY = 144 << 20
"""bytes that one may take beside what it has imported: some 20 million pixels"""
SECONDS = 10.0
MAX_SECONDS = 120
"""of a recording"""


class Decoders:
    """Some processes, each of which may be broken by what it is given, and is then replaced."""

    def __init__(self) -> None:
        self._all = [Process(SECONDS, open_decoder, MEMORY) for _ in range(COUNT)]
        self._free: asyncio.Queue[Process] = asyncio.Queue()
        for process in self._all:
            self._free.put_nowait(process)

    async def start(self) -> None:
        """Starts them."""
        for process in self._all:
            await process.start()

    async def stop(self) -> None:
        """Ends them."""
        for process in self._all:
            await process.stop()

    async def decode(self, sense: str, data: bytes, size: int) -> Image.Image | Audio:
        """A picture or a recording ("image", "audio") as a model takes it, of a size or rate.

        Raises `ValueError` for what cannot be decoded within `MEMORY` and `SECONDS`.
        """
        process = await self._free.get()
        try:
            item = await process.ask((sense, data, size))
        except LostError as error:
            raise ValueError("it takes too much memory or time to decode") from error
        finally:
            self._free.put_nowait(process)
        if isinstance(item, str):
            raise ValueError(item)
        return item


def open_decoder(memory: int) -> tuple[None, Callable[[tuple[str, bytes, int]], object]]:
    """What decodes, or says in a text why it cannot; its memory is limited from here on."""
    torch.set_num_threads(1)
    Path("/proc/self/comm").write_text("omni-decoder", encoding="ascii")  # as top shows it
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[0])
    limit = pages * resource.getpagesize() + memory
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    def answer(request: tuple[str, bytes, int]) -> object:
        sense, data, size = request
        try:
            return _picture(data, size) if sense == "image" else _sound(data, size)
        except ValueError as error:
            return str(error)
        except (MemoryError, RuntimeError):  # the second is torch's, for the same
            return "it takes too much memory to decode"

    return None, answer


def _picture(data: bytes, size: int) -> Image.Image:
    """Fitted already: what does so again changes nothing."""
    return Image.fromarray(fit(read_image(data), size).permute(1, 2, 0).numpy())


def _sound(data: bytes, target: int) -> Audio:
    """At the rate of the model, and rounded as it would do."""
    samples, rate = read_audio(data)
    if len(samples) > MAX_SECONDS * rate:
        seconds = len(samples) / rate
        raise ValueError(f"recording has {seconds:.0f} seconds, allowed are {MAX_SECONDS}")
    return to_sound(to_int16(samples, rate, target), target)
