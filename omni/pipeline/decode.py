"""Bytes to uint8 pixels, int16 samples and strings, by a closed table of types.

Nothing that a shard holds is ever executed: an extension that is not in the table is ignored.
"""

import io
import json
from typing import Any

import numpy as np
import soundfile
import torch
from jaxtyping import Int16, UInt8
from PIL import Image
from torch import Tensor

from omni.batch import Sample

IMAGES = ("jpg", "jpeg", "png", "webp")
SOUNDS = ("wav", "flac", "opus", "ogg", "mp3")
MAX_PIXELS = 64_000_000
MAX_SECONDS = 3600.0


def decode_image(data: bytes) -> UInt8[Tensor, "3 H W"]:
    """Any format of `IMAGES` to RGB; transparency is laid on white."""
    image = Image.open(io.BytesIO(data))
    if image.width * image.height > MAX_PIXELS:
        raise ValueError(f"picture has {image.width}x{image.height} pixels, limit {MAX_PIXELS}")
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return torch.from_numpy(np.array(image.convert("RGB"))).permute(2, 0, 1).contiguous()


def decode_audio(data: bytes) -> tuple[Int16[Tensor, "S"], int]:
    """Any format of `SOUNDS` to mono and its sample rate in Hz."""
    with soundfile.SoundFile(io.BytesIO(data)) as file:
        if file.frames > MAX_SECONDS * file.samplerate:
            raise ValueError(f"recording has {file.frames} samples, limit {MAX_SECONDS:.0f} s")
        samples = file.read(dtype="int16", always_2d=True)
        rate = file.samplerate
    mono = samples[:, 0] if samples.shape[1] == 1 else samples.mean(1).astype(np.int16)
    return torch.from_numpy(np.ascontiguousarray(mono)), rate


def decode(members: dict[str, Any], sample_rate: int = 16_000) -> Sample:
    """One sample of `read_members`. Raises `ValueError` naming the sample and the member."""
    key = members["__key__"]
    meta: dict[str, Any] = {}
    image = audio = text = None
    for extension, data in members.items():
        try:
            if extension in IMAGES:
                image = decode_image(data)
            elif extension in SOUNDS:
                audio, rate = decode_audio(data)
                if rate != sample_rate:
                    raise ValueError(f"sample rate must be {sample_rate} Hz, got {rate}")
            elif extension == "json":
                meta = json.loads(data)
            elif extension == "txt":
                text = data.decode("utf-8")
        except Exception as error:
            raise ValueError(f"sample {key!r}, member .{extension}: {error}") from error
    text = meta.get("names", {}).get("en", text)
    group = str(meta.get("concept", text if text is not None else key))
    return Sample(key, image, audio, text, "en", group, meta)
