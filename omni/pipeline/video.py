"""What FFmpeg reads: a video, as some of its frames in their order and its sound, or sound alone.

The bytes say which demuxer reads them; the list is closed, since others open what a file refers to.
"""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from jaxtyping import Int16, UInt8
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from omni.pipeline.formats import MAX_AUDIO_VALUES, MAX_PIXELS, MAX_SAMPLE_RATE

BEGINNINGS = {
    b"\x1aE\xdf\xa3": "matroska",
    b"#!AMR": "amr",
    b"\x30\x26\xb2\x75\x8e\x66\xcf\x11": "asf",
}
BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")
"""first boxes of an MP4 or QuickTime file, after four bytes of size"""
FRAMES = 8
"""that are kept of a video, evenly spread"""
MAX_FRAMES = 100_000
"""that are looked at: an hour at 25 a second"""


def find_demuxer(data: bytes | bytearray) -> str:
    """Return the demuxer for what the bytes begin with; "" where there is none."""
    begin = bytes(data[:12])
    for beginning, demuxer in BEGINNINGS.items():
        if begin.startswith(beginning):
            return demuxer
    if begin[4:8] in BOXES:
        return "mov"
    if begin[:4] == b"RIFF" and begin[8:12] == b"AVI ":
        return "avi"
    # ADTS begins as MP3 does, but for the layer, which is 0.
    if int.from_bytes(begin[:2], "big") & 0xFFF6 == 0xFFF0:
        return "aac"
    return ""


def decode_video(
    data: bytes | bytearray, count: int = FRAMES
) -> tuple[UInt8[Tensor, "F 3 H W"] | None, Int16[Tensor, "S"] | None, int]:
    """Return at most `count` frames, the sound as one channel, and its samples a second.

    Frames are turned upright and have square pixels. Either may be None, not both. Raises
    `ValueError` for what cannot be decoded, has neither frames nor sound, or is over a limit.
    """
    frames, stride, seen = [], 1, 0
    sounds, rate = [], 0
    aspect = 1.0
    for frame, stream in _frames(data, ("video", "audio")):
        if stream.type == "audio":
            rate = frame.sample_rate
            sounds.append(frame.to_ndarray()[0])
            continue
        aspect = float(stream.sample_aspect_ratio or 1)
        if seen % stride == 0:
            frames.append((frame.to_ndarray(format="rgb24"), frame.rotation))
        if len(frames) > 2 * count:  # one in twice as many from now on
            frames, stride = frames[::2], 2 * stride
        seen += 1
    samples = torch.from_numpy(np.concatenate(sounds)) if sounds else None
    if not frames:
        if samples is None:
            raise ValueError("it holds neither frames nor sound")
        return None, samples, rate
    chosen = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    upright = (_upright(frames[i][0], frames[i][1], aspect) for i in chosen)
    pixels = torch.stack([*upright])
    return pixels, samples, rate


def decode_sound(data: bytes | bytearray) -> tuple[Int16[Tensor, "S"], int]:
    """Return the sound as one channel and its samples a second, whatever is to be seen.

    Raises `ValueError` as `decode_video`.
    """
    sounds, rate = [], 0
    for frame, _ in _frames(data, ("audio",)):
        rate = frame.sample_rate
        sounds.append(frame.to_ndarray()[0])
    if not sounds:
        raise ValueError("it holds no sound")
    return torch.from_numpy(np.concatenate(sounds)), rate


def _frames(data: bytes | bytearray, kinds: tuple[str, ...]) -> Iterator[tuple[Any, Any]]:
    """Yield the frames of the first stream of each kind, and the stream; sound as int16, mono."""
    try:
        import av
    except ImportError as error:
        raise ValueError("it is read by PyAV: pip install -e '.[video]'") from error
    if not (demuxer := find_demuxer(data)):
        raise ValueError(f"no video or sound that is read, it begins with {bytes(data[:8])!r}")
    pictures, values = 0, 0
    try:
        with av.open(io.BytesIO(data), "r", format=demuxer) as container:
            streams = [getattr(container.streams, kind)[:1] for kind in kinds]
            resampler = av.AudioResampler(format="s16", layout="mono")
            for packet in container.demux([stream for first in streams for stream in first]):
                for frame in packet.decode():
                    if isinstance(frame, av.VideoFrame):
                        pictures += 1
                        _check(frame.width * frame.height, MAX_PIXELS, "pixels of a frame")
                        _check(pictures, MAX_FRAMES, "frames")
                        yield frame, packet.stream
                    elif isinstance(frame, av.AudioFrame):
                        values += frame.samples
                        _check(values, MAX_AUDIO_VALUES, "samples")
                        _check(frame.sample_rate, MAX_SAMPLE_RATE, "samples a second")
                        for mono in resampler.resample(frame):
                            yield mono, packet.stream
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise ValueError(f"{demuxer} cannot be decoded: {error}") from error


def _upright(
    pixels: UInt8[np.ndarray, "H W 3"], rotation: int, aspect: float
) -> UInt8[Tensor, "3 H W"]:
    """Turn a frame as its rotation says (degrees, counter-clockwise), and make its pixels square.

    A phone that is held upright stores its frames lying, and old formats have pixels that are
    `aspect` times as wide as high.
    """
    height, width, _ = pixels.shape
    picture = torch.from_numpy(pixels).permute(2, 0, 1)
    if aspect != 1:
        picture = tv.resize(picture, [height, max(1, round(width * aspect))], antialias=True)
    return picture.rot90(round(rotation / 90), (1, 2))


def _check(value: int, limit: int, what: str) -> None:
    if value > limit:
        raise ValueError(f"allowed are {limit} {what}, it has {value}")
