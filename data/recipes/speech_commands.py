"""Speech Commands 0.02 (or 0.01): single words of one second.

`root` is where the archive was unpacked: `testing_list.txt`, `validation_list.txt` and a folder a
word; the recordings of background noise are left out. One sample a recording; its text is the
word. Meta: `label`, `speaker`, `utterance`.
Warden, "Speech Commands: A Dataset for Limited-Vocabulary Speech Recognition", 2018.
"""

from collections.abc import Iterator
from pathlib import Path

from torchaudio.datasets import SPEECHCOMMANDS

from data.recipes import files
from data.record import Record

PAGE = "https://download.tensorflow.org/data/speech_commands_v0.02.tar.gz"
SUBSETS = {"training": "train", "validation": "val", "testing": "test"}


def read(root: Path) -> Iterator[Record]:
    """Yield the recordings of the user's copy."""
    return files.present(_records(root), "speech_commands", PAGE)


def _records(root: Path) -> Iterator[Record]:
    for name in ("testing_list.txt", "validation_list.txt"):
        files.require(root / name, PAGE)
    root = root.resolve()  # torchaudio wants the folder by its name and the one above
    for subset, split in SUBSETS.items():
        corpus = SPEECHCOMMANDS(root.parent, f"{root.name}.tar.gz", "", subset=subset)
        for n in range(len(corpus)):
            path, _, label, speaker, utterance = corpus.get_metadata(n)
            yield Record(
                key=f"{label}/{Path(path).stem}",
                audio=root.parent / path,
                texts=(label,),
                split=split,
                meta={"label": label, "speaker": speaker, "utterance": utterance},
            )
