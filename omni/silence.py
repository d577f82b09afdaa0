"""Where a recording has something to hear: the quiet before and after it is cut at use.

Recordings of a corpus begin with the first sound; a microphone adds a part of a second before it,
which a model that never heard that takes for a part of the word.
"""

import numpy as np
from jaxtyping import Float, Num

FRAME = 0.01
"""seconds over which a level is taken"""
EDGE = 5
"""frames at either end whose median is the noise floor there"""
ABOVE_FLOOR = 6.0
"""dB that sound is louder than the noise floor"""
RANGE = (25.0, 60.0)
"""dB below the loudest frame between which sound ends, whatever the noise floor is"""
STEADY = 3.0
"""dB of standard deviation above which what is quiet is not hush, but a word that begins softly"""
QUIET_BEFORE = (0.06, 0.01)
"""seconds of quiet before the first sound that are left as they are, since a corpus has them too;
and what is left of more: little, since words are told apart at their beginning"""
QUIET_AFTER = (0.12, 0.06)
"""the same after the last sound"""
SILENT = -55.0
"""dB of full scale that no frame of a silent recording exceeds"""
HUSH = (-35.0, 6.0)
"""a recording is silent too where its loudest frame is below this level, and no more than this many
dB above the quietest tenth: the hush of a room, which does not change"""


def find_sound(samples: Num[np.ndarray, "S"], sample_rate: int) -> slice | None:
    """Return the samples from the first sound to the last one; None where there is none.

    `samples` are int16, or floats in ±1. Sound is what is louder than the noise floor and not far
    below the loudest frame: noise that is as loud as what is said leaves everything in.
    """
    if not len(samples):
        return None
    levels = _levels(samples, sample_rate)
    peak = levels.max()
    loudest_hush, change = HUSH
    is_hush = peak < loudest_hush and peak - np.percentile(levels, 10) < change
    if peak < SILENT or is_hush:
        return None
    quiet = _quiet_frames(levels) * _frame_size(sample_rate)
    start = _cut(quiet, QUIET_BEFORE, sample_rate)
    # The last frame may be longer than the recording by what it was padded with.
    padding = len(levels) * _frame_size(sample_rate) - len(samples)
    quiet = _quiet_frames(levels[::-1]) * _frame_size(sample_rate) - padding
    return slice(start, len(samples) - _cut(quiet, QUIET_AFTER, sample_rate))


def _frame_size(sample_rate: int) -> int:
    return max(1, int(FRAME * sample_rate))


def _levels(samples: Num[np.ndarray, "S"], sample_rate: int) -> Float[np.ndarray, "F"]:
    """Return the level of each frame in dB of full scale."""
    floats = samples.astype(np.float32)
    if samples.dtype == np.int16:
        floats /= 32768
    floats = floats - np.median(floats)  # a microphone may add a constant, which nobody hears
    size = _frame_size(sample_rate)
    frames = np.pad(floats, (0, -len(floats) % size)).reshape(-1, size)
    return 10 * np.log10(np.square(frames).mean(1) + 1e-12)


def _quiet_frames(levels: Float[np.ndarray, "F"]) -> int:
    """Return the frames before the first sound; 0 where they are no steady hush."""
    peak = levels.max()
    nearest, farthest = RANGE
    floor = np.median(levels[:EDGE])
    threshold = np.clip(floor + ABOVE_FLOOR, peak - farthest, peak - nearest)
    count = int(np.flatnonzero(levels > threshold)[0])
    # The frame before the first sound may have a part of it.
    is_steady = levels[: max(1, count - 1)].std() <= STEADY
    return count if is_steady else 0


def _cut(quiet: int, limits: tuple[float, float], sample_rate: int) -> int:
    """Return the samples of quiet that are cut."""
    most, rest = (int(seconds * sample_rate) for seconds in limits)
    return quiet - rest if quiet > most else 0
