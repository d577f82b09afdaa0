"""LibriSpeech: audio books, read and transcribed.

In `root`, or in `LibriSpeech/` in it, any of the seven subsets as unpacked (`dev-clean/`,
`train-clean-100/` …), which remain the splits: word error rates are told of "clean" and "other"
apart. One sample an utterance, with its transcript in capitals as released.
Meta: `speaker`, `chapter`, `utterance`.
Panayotov et al., "LibriSpeech: an ASR corpus based on public domain audio books", 2015.
"""

from collections.abc import Iterator
from pathlib import Path

from torchaudio.datasets import LIBRISPEECH

from data.recipes import files
from data.record import Record

PAGE = "https://www.openslr.org/12"
SUBSETS = (
    "train-clean-100",
    "train-clean-360",
    "train-other-500",
    "dev-clean",
    "dev-other",
    "test-clean",
    "test-other",
)


def read(root: Path) -> Iterator[Record]:
    """Yield the utterances of the user's copy."""
    return files.present(_records(root), "librispeech", PAGE)


def _records(root: Path) -> Iterator[Record]:
    folder = root / "LibriSpeech" if (root / "LibriSpeech").is_dir() else root
    for subset in files.find(folder, {name: name for name in SUBSETS}, PAGE):
        yield from _recorded(folder, subset)
        yield from _lost(folder / subset)


def _recorded(folder: Path, subset: str) -> Iterator[Record]:
    corpus = LIBRISPEECH(folder, subset, folder_in_archive="")
    for n in range(len(corpus)):
        try:
            path, _, transcript, speaker, chapter, utterance = corpus.get_metadata(n)
        except (FileNotFoundError, ValueError) as error:
            raise ValueError(
                f"{subset} of {folder} lacks a transcript: {error}; to be had from {PAGE}"
            ) from error
        yield Record(
            key=Path(path).stem,
            audio=folder / path,
            texts=(transcript,),
            split=subset,
            meta={"speaker": speaker, "chapter": chapter, "utterance": utterance},
        )


def _lost(subset: Path) -> Iterator[Record]:
    """The transcripts whose recordings are missing: torchaudio lists the recordings there are."""
    for transcripts in sorted(subset.glob("*/*/*.trans.txt")):
        for line in transcripts.read_text("utf-8").splitlines():
            key = line.partition(" ")[0]
            recording = transcripts.with_name(f"{key}.flac")
            if not recording.is_file():
                yield Record(key=key, audio=recording, split=subset.name)
