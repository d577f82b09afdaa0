"""Classes of packed shards: ESC-50's folds, the lists of Speech Commands, and shards without."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from eval.labels import Labels
from eval.shards import Shards
from eval.tasks.classify import classify
from tests.data.corpora import pack
from tests.data.miniatures import write as write_file
from tests.eval.greys import Knowing, level, members, write

CLASSES = (1, 4, 9)


def esc50(root: Path) -> None:
    """As released: `meta/esc50.csv` and `audio/`, five folds."""
    names = ["filename", "fold", "target", "category", "esc10", "src_file", "take"]
    rows = [
        [f"{fold}-{1000 + n}-{take}-{n}.wav", fold, n, f"sound_{n}", n == 1, 1000 + n, take]
        for fold in range(1, 6)
        for n in CLASSES
        for take in "AB"
    ]
    write_file(root / "meta/esc50.csv", [names, *rows])
    for name, _, number, *_ in rows:
        write_file(root / "audio" / name).write_bytes(level(number))


def speech_commands(root: Path) -> None:
    """As unpacked: a folder a word, and the lists of two splits."""
    listed = {"validation_list.txt": range(2, 3), "testing_list.txt": range(3, 5)}
    for number in CLASSES:
        for take in range(5):
            path = root / f"word_{number}/0a7c2a8d_nohash_{take}.wav"
            write_file(path).write_bytes(level(number))
    for name, takes in listed.items():
        some = [f"word_{n}/0a7c2a8d_nohash_{take}.wav\n" for n in CLASSES for take in takes]
        write_file(root / name, "".join(some))


def shards(recipe: str, build: Callable[[Path], None], folder: Path) -> Path:
    build(folder / "copy")
    assert pack(folder / "copy", folder / "shards", "--recipe", recipe, "--audio", "wav") == 0
    return folder / "shards"


def test_each_fold_is_tested_by_what_the_others_teach(measure, tmp_path):
    data = shards("esc50", esc50, tmp_path)
    results = measure(data, classify, model=Knowing())
    for split in ("fold1", "fold2", "fold3", "fold4", "fold5", "folds"):
        for metric in ("zero_shot@1", "zero_shot@5", "probe"):
            score = results[f"{split}/classify/audio->class/{metric}"]
            size = 30 if split == "folds" else 6
            assert (score.value, score.n, score.gallery) == (1.0, size, 3), (split, metric)
        assert f"untrained/{split}/classify/audio->class/probe" in results
        assert results[f"chance/{split}/classify/audio->class/zero_shot@1"].value == 1 / 3
    assert results["fold3/classify/audio->class/probe"].protocol.startswith("learned from 24 files")
    assert results["folds/classify/audio->class/probe"].protocol.startswith("5 folds: learned")
    assert results["shuffled/folds/classify/audio->class/probe"].value < 0.8
    alone = measure(data, classify, "fold2", model=Knowing())
    assert not any("folds/" in name or "fold1/" in name for name in alone)
    assert alone["fold2/classify/audio->class/probe"].value == 1


def test_words_are_tested_on_the_official_list(measure, tmp_path):
    data = shards("speech_commands", speech_commands, tmp_path)
    results = measure(data, classify, model=Knowing())
    name = "test/classify/audio->class"
    assert (results[f"{name}/zero_shot@1"].value, results[f"{name}/probe"].value) == (1, 1)
    assert results[f"{name}/probe"].n == 6
    assert results[f"{name}/probe"].protocol.startswith("learned from 9 files")  # train and val
    on_val = measure(data, classify, "val", model=Knowing())
    assert on_val["val/classify/audio->class/probe"].protocol.startswith("learned from 6 files")


def test_names_beside_the_shards_replace_those_of_the_classes(measure, tmp_path):
    data = shards("speech_commands", speech_commands, tmp_path)
    turned = {f"word_{n}": f"a {other}" for n, other in zip(CLASSES, (4, 9, 1), strict=True)}
    (data / "classes.json").write_text(json.dumps(turned))
    results = measure(data, classify, model=Knowing())
    assert results["test/classify/audio->class/zero_shot@1"].value == 0
    assert results["test/classify/audio->class/probe"].value == 1


@pytest.mark.parametrize(
    ("samples", "train", "said"),
    [
        ([members(1, "image", caption="a")], [], "sample 's0' must have label or category"),
        ([members(1, "image", label="a")], [], "must hold two classes at least, got .'a'."),
        (
            [members(1, "image", label="a"), members(1, "audio", label="b")],
            [],
            "must be all pictures or all recordings to be classified, got audio and image",
        ),
        (
            [members(1, "image", label="a"), members(2, "image", label="b")],
            [members(1, "image", label="a")] * 2 + [members(2, "image", label="b")],
            "class 'b' of test must come at least 2 times in train, got 1",
        ),
    ],
)
def test_shards_that_cannot_be_classified_are_refused(samples, train, said, tmp_path):
    write(tmp_path, samples)
    if train:
        write(tmp_path, train, "train")
    with pytest.raises(ValueError, match=said) as caught:
        Labels(Shards(tmp_path))
    assert str(tmp_path) in str(caught.value)
