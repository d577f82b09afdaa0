"""Speech for the emoji corpus: espeak-ng voices, and Ogg Opus by opusenc.

Both programs are run as commands. Their output is a pure function of text, voice, rate and pitch:
the stream serial is fixed, and neither writes a date. A clip of 1 s is about 1.1 kB: wideband SILK
at 8 kbit/s, and no comments.
"""

import io
import os
import shutil
import subprocess

import numpy as np
import soundfile
import torch
import torchaudio

SAMPLE_RATE = 16_000
BITRATE = 8  # kbit/s
# 60 ms frames, because each packet costs container bytes. Wideband is forced (libopus control
# 4008 = OPUS_BANDWIDTH_WIDEBAND): left alone, libopus sends nothing above 4 kHz below 9 kbit/s.
OPUS = f"--bitrate {BITRATE} --framesize 60 --set-ctl-int 4008=1103 --padding 0 --serial 1"
SILENCE = 0.01  # of the peak: quieter than this at either end is cut
MARGIN = 0.02  # seconds of that silence which stay
PEAK = 0.9  # below full scale, because lossy coding overshoots

# Accents of English x espeak's variants, women and men; none whispers, croaks or uses the Klatt
# synthesizer. No variant occurs twice, so that a new voice is new in its variant, too.
_VARIANTS = {
    "en-us": "f1 f2 Annie Andrea m1 m3 Alex Gene",
    "en-gb": "f3 f4 Alicia linda m2 m4 Andy Michael",
    "en-gb-scotland": "f5 steph aunty victor m6 m7 Lee Mike",
}
VOICES = tuple(f"{accent}+{v}" for accent, names in _VARIANTS.items() for v in names.split())
NEW_VOICES = ("en-us+m8", "en-gb+belinda", "en-gb-scotland+john")


def require_tools() -> dict[str, str]:
    """Return the version line of each program that speech needs.

    Raises ValueError, with the remedy, when one is missing.
    """
    versions = {}
    for tool, package in (("espeak-ng", "espeak-ng"), ("opusenc", "opus-tools")):
        if shutil.which(tool) is None:
            raise ValueError(f"the program {tool} is missing: apt-get install {package}")
        versions[tool] = _run(tool, "--version").decode().splitlines()[0]
    versions["espeak-ng"] = versions["espeak-ng"].split("  ")[0]  # the rest is a local path
    return versions


def require_distinct_voices() -> None:
    """Raise ValueError when two voices sound the same: espeak-ng ignores a variant it lacks."""
    spoken = {}
    for voice in VOICES + NEW_VOICES:
        other = spoken.setdefault(speak("grinning face", voice, 180, 50).tobytes(), voice)
        if other != voice:
            raise ValueError(f"espeak-ng speaks {voice} and {other} alike: a variant is missing")


def speak(text: str, voice: str, rate: int, pitch: int) -> np.ndarray:
    """Speak `text` and return int16 samples at 16 kHz, trimmed and peak-normalised.

    `rate` is in words a minute, `pitch` on espeak's scale from 0 to 99.
    Raises ValueError when the voice says nothing.
    """
    # espeak ignores a variant of en-gb: the file of that accent is named en.
    espeak_voice = voice.replace("en-gb+", "en+")
    # A low amplitude (-a): some variants clip at espeak's default of 100.
    options = ("-a", "60", "-v", espeak_voice, "-s", str(rate), "-p", str(pitch), "--stdout")
    wave, source_rate = soundfile.read(io.BytesIO(_run("espeak-ng", *options, text)))
    peak = np.abs(wave).max(initial=0)
    if peak == 0:
        raise ValueError(f"espeak-ng said nothing for {text!r} in the voice {voice}")
    loud = np.flatnonzero(np.abs(wave) > SILENCE * peak)
    margin = round(MARGIN * source_rate)
    wave = wave[max(0, loud[0] - margin) : loud[-1] + margin]
    # float64, so that processors which sum in another order still round to the same int16.
    resampled = torchaudio.functional.resample(torch.from_numpy(wave), source_rate, SAMPLE_RATE)
    wave = resampled.numpy()
    return np.rint(wave * (PEAK * 32767 / np.abs(wave).max())).astype(np.int16)


def encode(samples: np.ndarray) -> bytes:
    """Encode int16 samples at 16 kHz as mono Ogg Opus, the same bytes each time."""
    wav = io.BytesIO()
    soundfile.write(wav, samples, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return _strip(_run("opusenc", "--quiet", *OPUS.split(), "-", "-", stdin=wav.getvalue()))


def _strip(ogg: bytes) -> bytes:
    """Empty the comments of an Ogg Opus file: opusenc writes its options there, a tenth of a clip.

    They are the second page (RFC 7845, section 3); a page starts with a header of 27 bytes, of
    which 22 to 25 are a checksum (RFC 3533, section 6).
    """
    start = ogg.index(b"OggS", 1)
    end = ogg.index(b"OggS", start + 1)
    tags = b"OpusTags" + bytes(8)  # no vendor, no comments
    head, tail = ogg[start : start + 22], bytes([1, len(tags)]) + tags
    checksum = _crc32(head + bytes(4) + tail).to_bytes(4, "little")
    return ogg[:start] + head + checksum + tail + ogg[end:]


def _crc32(page: bytes) -> int:
    """Compute Ogg's CRC-32, which unlike zlib's reflects no bits and starts at 0."""
    crc = 0
    for byte in page:
        crc ^= byte << 24
        for _ in range(8):
            crc = (crc << 1 ^ 0x04C11DB7 if crc & 0x80000000 else crc << 1) & 0xFFFFFFFF
    return crc


def _run(*command: str, stdin: bytes | None = None) -> bytes:
    """Run a command and return what it writes to its standard output."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}  # espeak-ng reads its text in the locale
    result = subprocess.run(command, input=stdin, capture_output=True, env=environment)
    if result.returncode:
        raise ValueError(f"{' '.join(command)} failed: {result.stderr.decode().strip()}")
    return result.stdout
