"""A video of any container in the table: some frames of it, in their order, and its sound."""

import io

import numpy as np
import torch
from jaxtyping import Int16, UInt8
from torch import Tensor

from omni.pipeline.formats import MAX_AUDIO_VALUES, MAX_PIXELS, MAX_SAMPLE_RATE

CONTAINERS = {"mp4": "mov", "mov": "mov", "mkv": "matroska", "webm": "matroska", "avi": "avi"}
"""the demuxer of each ending: a closed list, since others open what a file refers to"""
FRAMES = 8
"""that are kept of a video, evenly spread"""
MAX_FRAMES = 100_000
"""that are looked at: an hour at 25 a second"""


def decode_video(
    data: bytes, extension: str, count: int = FRAMES
) -> tuple[UInt8[Tensor, "F 3 H W"], Int16[Tensor, "S"] | None, int]:
    """At most `count` frames, the sound as one channel or None, and its samples a second.

    Raises `ValueError` for what cannot be decoded, has no frame, or is over a limit.
    """
    try:
        import av
    except ImportError as error:
        raise ValueError("videos are read by PyAV: pip install 'omni-senses[video]'") from error
    frames, stride, seen = [], 1, 0
    sounds, values, rate = [], 0, 0
    try:
        with av.open(io.BytesIO(data), "r", format=CONTAINERS[extension]) as container:
            streams = [s[0] for s in (container.streams.video, container.streams.audio) if s]
            resampler = av.AudioResampler(format="s16", layout="mono")
            for packet in container.demux(streams):
                for frame in packet.decode():
                    if isinstance(frame, av.AudioFrame):
                        rate, (mono,) = frame.sample_rate, resampler.resample(frame)
                        sounds.append(mono.to_ndarray()[0])
                        values += len(sounds[-1])
                    elif isinstance(frame, av.VideoFrame):
                        _check(frame.width * frame.height, MAX_PIXELS, "pixels of a frame")
                        if seen % stride == 0:
                            frames.append(frame.to_ndarray(format="rgb24"))
                        if len(frames) > 2 * count:  # one in twice as many from now on
                            frames, stride = frames[::2], 2 * stride
                        seen += 1
                    _check(seen, MAX_FRAMES, "frames")
                    _check(values, MAX_AUDIO_VALUES, "samples")
                    _check(rate, MAX_SAMPLE_RATE, "samples a second")
    except (av.FFmpegError, ValueError, IndexError) as error:
        raise ValueError(f"{extension} cannot be decoded: {error}") from error
    if not frames:
        raise ValueError(f"{extension} holds no frame")
    chosen = np.linspace(0, len(frames) - 1, min(count, len(frames))).round().astype(int)
    pixels = torch.from_numpy(np.stack([frames[i] for i in chosen])).permute(0, 3, 1, 2)
    return pixels, torch.from_numpy(np.concatenate(sounds)) if sounds else None, rate


def _check(value: int, limit: int, what: str) -> None:
    if value > limit:
        raise ValueError(f"allowed are {limit} {what}, it has {value}")
