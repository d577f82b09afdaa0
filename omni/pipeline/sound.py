"""Bytes of a recording to int16 samples: WAV, FLAC, MP3, and Vorbis or Opus in Ogg.

The length is known and checked before anything is allocated; then just as many samples must come.
`read_audio` reads every format in the table, those that a shard may not hold as well.
"""

import io
import struct
import zlib
from collections.abc import Callable
from typing import Any

import miniaudio
import numpy as np
import soundfile
import torch
from jaxtyping import Int16
from miniaudio import ffi, lib
from torch import Tensor

from omni.modality.audio import to_levels
from omni.pipeline.formats import MAX_AUDIO_VALUES, MAX_PARTS, MAX_SAMPLE_RATE
from omni.pipeline.video import decode_sound, find_demuxer

STREAMED = 0xFFFFFFFF
"""size of a WAV's samples as programs write it that cannot go back to its header"""
REVERSED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
"""each byte with its bits in reverse order"""
CONVERTED = (b"FORM", b".snd", b"caff")
"""what AIFF, AU and CAF begin with, which libsndfile reads and a shard may not hold"""


def audio_info(data: bytes | bytearray) -> tuple[int, int, int]:
    """Frames, sample rate in Hz and channels.

    They are read from the header, of an MP3 that does not tell from those of all its frames.
    Raises `ValueError` for what is no recording, and for one that is over a limit.
    """
    if (pcm := _pcm16(data)) is not None:
        (frames, channels), rate = pcm[0].shape, pcm[1]
    elif data[:4] == b"fLaC":
        bits = int.from_bytes(data[18:26], "big")
        frames, rate, channels = bits & (1 << 36) - 1, bits >> 44, (bits >> 41 & 7) + 1
    elif data[:4] in (b"RIFF", b"OggS"):
        if data[:4] == b"OggS":
            _check_pages(data)
        frames, rate, channels = _libsndfile_info(data)
    elif _is_mp3(data):
        try:
            info = miniaudio.mp3_get_info(bytes(data))
        except miniaudio.MiniaudioError as error:
            raise ValueError("no MP3: it has no frames that can be read") from error
        frames, rate, channels = info.num_frames, info.sample_rate, info.nchannels
    else:
        begin = bytes(data[:8])
        raise ValueError(f"a recording must be WAV, FLAC, Ogg or MP3, this begins with {begin!r}")
    _check_sizes(frames, rate, channels)
    return frames, rate, channels


def decode_audio(data: bytes | bytearray) -> tuple[Int16[Tensor, "S"], int]:
    """Mono samples and their rate in Hz. Those of a bytearray may be its own memory."""
    if (pcm := _pcm16(data)) is not None:
        samples, rate = pcm
        _check_sizes(len(samples), rate, samples.shape[1])
    else:
        frames, rate, channels = audio_info(data)
        if data[:4] == b"fLaC":
            samples = _decode_flac(data, frames, channels)
        elif _is_mp3(data):
            samples = _decode_mp3(data, frames, channels)
        else:
            samples = _decode(data, frames)
    return _to_mono(samples), rate


def read_audio(data: bytes | bytearray) -> tuple[Int16[Tensor, "S"], int]:
    """Decode a recording of any format in the table: mono samples and their rate in Hz.

    Raises `ValueError` for what is none, is damaged, or is over a limit.
    """
    if bytes(data[:4]) in CONVERTED:
        frames, rate, channels = _libsndfile_info(data)
        _check_sizes(frames, rate, channels)
        return _to_mono(_decode(data, frames)), rate
    if find_demuxer(data):
        samples, rate = decode_sound(data)
        _check_sizes(len(samples), rate, 1)
        return samples, rate
    return decode_audio(data)


def _libsndfile_info(data: bytes | bytearray) -> tuple[int, int, int]:
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            return file.frames, file.samplerate, file.channels
    except soundfile.LibsndfileError as error:
        raise ValueError(f"no recording that can be read: {error.error_string}") from error


def _to_mono(samples: Int16[np.ndarray, "S C"]) -> Int16[Tensor, "S"]:
    """Average the channels."""
    if samples.shape[1] == 1:
        mono = samples[:, 0]
        # Torch takes no memory that cannot be written, as that of bytes.
        return torch.from_numpy(mono if mono.flags.writeable else mono.copy())
    return torch.from_numpy(np.rint(samples.mean(1, dtype=np.float32)).astype(np.int16))


def check_rate(rate: int) -> None:
    """Raises `ValueError` for a sample rate that no recording has."""
    if not 0 < rate <= MAX_SAMPLE_RATE:
        raise ValueError(f"sample rate must be 1 to {MAX_SAMPLE_RATE} Hz, got {rate}")
    if rate != int(rate):
        raise ValueError(f"sample rate must be a whole number of Hz, got {rate}")


def _check_sizes(frames: int, rate: int, channels: int) -> None:
    check_rate(rate)
    if frames < 1:
        raise ValueError("recording has no samples, or does not say how many")
    if frames * channels > MAX_AUDIO_VALUES:
        raise ValueError(
            f"recording has {frames} samples of {channels} channels, "
            f"allowed are {MAX_AUDIO_VALUES} values"
        )


def _is_mp3(data: bytes | bytearray) -> bool:
    return data[:3] == b"ID3" or int.from_bytes(data[:2], "big") >= 0xFFE0


def _pcm16(data: bytes | bytearray) -> tuple[np.ndarray, int] | None:
    """A view of 16-bit PCM samples [S C] and their rate; None for any other kind of file.

    Raises `ValueError` for a WAV of any kind that is cut.
    """
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        return None
    position, kind, channels, rate, bits = 12, 0, 0, 0, 0
    for _ in range(MAX_PARTS):
        if position + 8 > len(data):
            break
        name, size = struct.unpack_from("<4sI", data, position)
        position += 8
        there = len(data) - position
        if name == b"fmt " and there >= 16:
            kind, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", data, position)
        elif name == b"data":
            size = there if size == STREAMED else size
            if size > there:
                raise ValueError(f"truncated: {size} bytes of samples claimed, {there} there")
            if (kind, bits) != (1, 16) or not channels:
                return None
            if size % (2 * channels):
                raise ValueError(f"{size} bytes are no whole samples of {channels} channels")
            values = np.frombuffer(data, "<i2", size // 2, position)
            return values.reshape(-1, channels), rate
        position += size + size % 2
    raise ValueError("WAV has no samples: there is no data chunk")


def _check_pages(data: bytes | bytearray) -> None:
    """Every page of Ogg is as it was written, and the last one ends the one stream.

    The libraries pass over pages that are damaged or missing, without a word.
    """
    start = 0
    for _ in range(MAX_PARTS):
        header = data[start : start + 27]
        if len(header) < 27 or header[:4] != b"OggS":
            raise ValueError(f"truncated: the Ogg stream stops at byte {start} without an end")
        segments = data[start + 27 : start + 27 + header[26]]
        page = bytearray(data[start : start + 27 + len(segments) + sum(segments)])
        page[22:26] = bytes(4)  # where the checksum stands
        # Ogg shifts the other way than zlib, and begins and ends without turning bits over.
        checksum = zlib.crc32(page.translate(REVERSED), 0xFFFFFFFF) ^ 0xFFFFFFFF
        if checksum != int.from_bytes(header[22:26].translate(REVERSED), "big"):
            raise ValueError(f"damaged: the Ogg page at byte {start} does not fit its checksum")
        start += len(page)
        if header[5] & 4:  # the last one of a stream
            if start != len(data):
                raise ValueError(f"Ogg must be one stream: it ends at byte {start} of {len(data)}")
            return
    raise ValueError(f"Ogg has more than {MAX_PARTS} pages")


def _decode_flac(data: bytes | bytearray, frames: int, channels: int) -> np.ndarray:
    decoder = lib.ma_dr_flac_open_memory(ffi.from_buffer(data), len(data), ffi.NULL)
    if not decoder:
        raise ValueError("damaged FLAC: its header cannot be read")
    try:
        return _read(lib.ma_dr_flac_read_pcm_frames_s16, decoder, frames, channels)
    finally:
        lib.ma_dr_flac_close(decoder)


def _decode_mp3(data: bytes | bytearray, frames: int, channels: int) -> np.ndarray:
    # Not by libsndfile: it guesses the length from the first frame where no header tells it.
    decoder = ffi.new("ma_dr_mp3 *")
    if not lib.ma_dr_mp3_init_memory(decoder, ffi.from_buffer(data), len(data), ffi.NULL):
        raise ValueError("no MP3: it has no frames that can be read")
    try:
        return _read(lib.ma_dr_mp3_read_pcm_frames_s16, decoder, frames, channels)
    finally:
        lib.ma_dr_mp3_uninit(decoder)


def _read(read: Callable[..., int], decoder: Any, frames: int, channels: int) -> np.ndarray:
    """Just as many samples as are claimed; that there are more is seen from one of them."""
    samples = np.empty((frames + 1, channels), np.int16)
    count = read(decoder, frames + 1, ffi.from_buffer("short[]", samples))
    if count != frames:
        there = "more" if count > frames else count
        raise ValueError(f"damaged or truncated: {frames} samples claimed, {there} there")
    return samples[:frames]


def _decode(data: bytes | bytearray, frames: int) -> np.ndarray:
    """WAV of any kind, Vorbis and Opus."""
    try:
        with soundfile.SoundFile(io.BytesIO(data)) as file:
            if file.subtype.startswith("PCM"):
                samples = file.read(frames, "int16", always_2d=True)
            else:  # read as integers, what is beyond full scale would wrap around
                samples = to_levels(file.read(frames, "float32", always_2d=True))
    except soundfile.LibsndfileError as error:
        raise ValueError(f"damaged recording: {error.error_string}") from error
    if len(samples) != frames:
        raise ValueError(f"damaged or truncated: {frames} samples claimed, {len(samples)} there")
    return samples
