"""AudioCaps, version 1 or 2: captions of ten seconds each out of YouTube's videos.

In `root`: `train.csv`, `val.csv`, `test.csv` (or in `dataset/`, as in the repository) and the
sounds anywhere in `audio/`. The release holds no sounds, and those who fetch them name them
differently; YOUTUBE_ID, YOUTUBE_ID_START, YOUTUBE_ID_START_STOP (in seconds or milliseconds), each
with or without AudioSet's "Y" before it, and AUDIOCAP_ID are found. A sound that is named by its
video only and is longer than a clip is taken for the whole video and cut.
One sample a clip, with all its captions. Meta: `youtube_id`, `start_time`, `audiocap_ids`.
Kim et al., "AudioCaps: Generating Captions for Audios in The Wild", 2019.
"""

from collections.abc import Iterator
from pathlib import Path

import soundfile

from data.recipes import files
from data.record import Record
from omni.pipeline.formats import endings

PAGE = "https://github.com/cdjkim/audiocaps"
FIELDS = ("audiocap_id", "youtube_id", "start_time", "caption")
NUMBERS = ("audiocap_id", "start_time")
CLIP_SECONDS = 10


def read(root: Path) -> Iterator[Record]:
    """Yield the clips of the user's copy."""
    return files.present(_records(root), "audiocaps", PAGE)


def _records(root: Path) -> Iterator[Record]:
    folder = root / "dataset" if (root / "dataset").is_dir() else root
    found = files.find(folder, {split: f"{split}.csv" for split in ("train", "val", "test")}, PAGE)
    audio = files.require(root / "audio", PAGE)
    known = endings("audio")
    sounds = {p.stem: p for p in sorted(audio.rglob("*")) if p.suffix.lower()[1:] in known}
    for split, path in found.items():
        clips: dict[tuple[str, str], list[dict[str, str]]] = {}
        for row in files.rows(path, FIELDS, NUMBERS):
            clips.setdefault((row["youtube_id"], row["start_time"]), []).append(row)
        for (youtube_id, start_time), captions in clips.items():
            ids = [int(row["audiocap_id"]) for row in captions]
            sound = _sound(sounds, youtube_id, int(start_time), ids)
            whole = sound is not None and sound.stem in (youtube_id, f"Y{youtube_id}")
            start, stop = _cut(sound, int(start_time)) if sound and whole else (None, None)
            yield Record(
                key=f"{youtube_id}_{start_time}",
                audio=sound or audio / f"{youtube_id}.wav",
                texts=tuple(row["caption"].strip() for row in captions),
                split=split,
                start=start,
                stop=stop,
                meta={
                    "youtube_id": youtube_id,
                    "start_time": int(start_time),
                    "audiocap_ids": ids,
                },
            )


def _sound(sounds: dict[str, Path], youtube_id: str, start: int, ids: list[int]) -> Path | None:
    stop = start + CLIP_SECONDS
    times = ("", f"_{start}", f"_{start}_{stop}", f"_{start * 1000}_{stop * 1000}")
    stems = [f"{prefix}{youtube_id}{time}" for time in times for prefix in ("", "Y")]
    return next((sounds[stem] for stem in (*stems, *map(str, ids)) if stem in sounds), None)


def _cut(path: Path, start: int) -> tuple[float | None, float | None]:
    """Seconds to cut out of a whole video; from its header only."""
    try:
        duration = soundfile.info(path).duration
    except soundfile.LibsndfileError:
        return None, None  # whoever decodes it will say what is wrong
    if duration < CLIP_SECONDS + 1:  # clips are cut to packets, not to samples
        return None, None
    return float(start), float(start + CLIP_SECONDS)
