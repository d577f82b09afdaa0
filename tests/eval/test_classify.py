"""Classification of a folder, of a world that a small model knows; and what no folder may be."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from eval.folder import Folder
from eval.metrics import Score
from eval.run import main
from eval.table import NAME, tables
from eval.tasks.classify import centres
from omni import Omni
from omni.pipeline.synthetic import _members, make_samples

EACH = 6
"""files of a class and split"""


def write_folder(folder: Path, ending: str, splits: tuple[str, ...]) -> Path:
    """All colours and shapes as classes, of files that training has not seen."""
    sense = {"png": "image", "wav": "audio"}[ending]
    for split in splits:
        counts: dict[str, int] = {}
        for sample in make_samples(f"classify {split}", 480):
            number = counts.get(sample.group, 0)
            if getattr(sample, sense) is None or number == EACH:
                continue
            counts[sample.group] = number + 1
            place = folder / split / sample.group.replace(" ", "_")
            place.mkdir(parents=True, exist_ok=True)
            (place / f"{number}.{ending}").write_bytes(_members(sample)[ending])
    return folder


@pytest.fixture(scope="module")
def measured(
    tiny_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Path], dict[str, dict]]:
    """A function from a folder of classes to the results of the small model."""
    run = tmp_path_factory.mktemp("runs") / "debug"
    shutil.copytree(tiny_run, run)

    def measure(data: Path) -> dict[str, dict]:
        main([str(run), "classify", "--data", str(data)])
        return json.loads((run / "results.json").read_text())["results"]

    return measure


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("pictures"), "png", ("train", "test"))


def value(results: dict[str, dict], name: str) -> float:
    """A figure of pictures by name, of which {} are controls."""
    control, _, metric = name.rpartition("/")
    prefix = f"{control}/" if control else ""
    return results[f"{prefix}test/classify/image->class/{metric}"]["value"]


def test_names_and_probe_tell_pictures_apart_and_no_control_does(measured, pictures):
    results = measured(pictures)
    assert all(NAME.fullmatch(name) for name in results)
    assert value(results, "zero_shot@1") > 0.9 and value(results, "probe") > 0.9
    assert value(results, "zero_shot@5") >= value(results, "zero_shot@1")
    assert value(results, "untrained/zero_shot@1") < 0.2
    assert value(results, "shuffled/probe") < 0.2
    # Vectors drawn at random tell something too, if there are labels to learn from.
    assert value(results, "untrained/probe") < value(results, "probe") - 0.1
    assert value(results, "chance/zero_shot@5") == pytest.approx(5 / 24)
    score = results["test/classify/image->class/zero_shot@1"]
    assert (score["n"], score["gallery"]) == (24 * EACH, 24)
    assert score["protocol"] == "names: 24, prompts: 1"
    (built,) = tables({n: Score(**{"protocol": ""} | s) for n, s in results.items()})
    assert [row.kind for row in built.rows] == ["model", "untrained", "shuffled", "chance"]
    assert results == measured(pictures)  # to the last digit


def test_recordings_are_told_apart_by_names_that_a_file_gives_to_their_folders(measured, tmp_path):
    """Folders that say nothing, `val` for the strength, synonyms and prompts; then wrong names."""
    data = write_folder(tmp_path, "wav", ("train", "val", "test"))
    names = {}
    for number, place in enumerate(sorted((data / "test").iterdir())):
        names[f"n{number:08d}"] = place.name.replace("_", " ")
        for split in ("train", "val", "test"):
            (data / split / place.name).rename(data / split / f"n{number:08d}")
    told = data / "classes.json"
    told.write_text(json.dumps({c: [n, f"a {n}"] for c, n in names.items()} | {"more": "unused"}))
    (data / "templates.json").write_text(json.dumps(["{}", "{}."]))
    results = measured(data)
    name = "test/classify/audio->class"
    assert results[f"{name}/zero_shot@1"]["protocol"] == "names: 48, prompts: 2"
    assert results[f"{name}/zero_shot@1"]["value"] > 0.9
    assert results[f"{name}/probe"]["protocol"].startswith(f"learned from {24 * EACH * 2} files")
    assert results[f"{name}/probe"]["value"] > 0.9
    assert results[f"shuffled/{name}/probe"]["value"] < 0.2
    # Controls: names of other classes, and folders whose names say nothing.
    moved = dict(zip(names, [*names.values()][5:] + [*names.values()][:5], strict=True))
    for text in (json.dumps(moved), None):
        told.write_text(text) if text else told.unlink()
        shutil.rmtree(data / "train", ignore_errors=True)
        results = measured(data)
        assert results[f"{name}/zero_shot@1"]["value"] < 0.2
        assert not any("probe" in name for name in results)  # nothing to learn from


def test_a_class_is_the_mean_of_the_unit_vectors_of_its_prompts(tiny_model: Omni, pictures):
    folder = Folder(pictures)
    folder.names = [["red circle", "circle"], ["blue bar"]]
    folder.templates = ["{}", "a {}", "{} {}"]
    found = centres(tiny_model, folder)
    texts = ["red circle", "a red circle", "red circle red circle", "circle", "a circle"]
    mean = tiny_model.embed([*texts, "circle circle"]).mean(0)
    assert torch.allclose(found[0], mean / mean.norm(), atol=1e-6)
    assert torch.allclose(found.norm(dim=1), torch.ones(2))
    assert not torch.allclose(found[0], tiny_model.embed("red circle")[0], atol=1e-2)


def make_empty(folder: Path) -> None:
    (folder / "train" / "void").mkdir()


def lack_in_train(folder: Path) -> None:
    shutil.rmtree(folder / "train" / "red_bar")


def hold_one(folder: Path) -> None:
    for file in [*(folder / "train" / "red_bar").iterdir()][1:]:
        file.unlink()


def lack_test(folder: Path) -> None:
    shutil.rmtree(folder / "test")


def hold_one_class(folder: Path) -> None:
    shutil.rmtree(folder / "train")
    for place in [*(folder / "test").iterdir()][1:]:
        shutil.rmtree(place)


def mix(folder: Path) -> None:
    (folder / "test" / "red_bar" / "0.png").rename(folder / "test" / "red_bar" / "0.wav")


def strange(folder: Path) -> None:
    (folder / "test" / "red_bar" / "notes.txt").write_text("red")


def name_wrongly(folder: Path) -> None:
    (folder / "classes.json").write_text('{"red_bar": []}')


def name_nothing(folder: Path) -> None:
    (folder / "classes.json").write_text("{")


def prompt_wrongly(folder: Path) -> None:
    (folder / "templates.json").write_text('["a photo"]')


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (make_empty, "train/void: a class must hold a file at least"),
        (lack_in_train, "test/red_bar: its class must be in train, too"),
        (hold_one, "train/red_bar: without val/ a class must hold two files, got one"),
        (lack_test, " must hold test/CLASS/FILE"),
        (hold_one_class, " must hold two classes at least, got ['"),
        (mix, "test/red_bar/0.wav"),
        (strange, "test/red_bar/notes.txt: the ending must be one of jpg"),
        (name_wrongly, "classes.json: class 'blue_bar' must have a name or several, got None"),
        (name_nothing, "classes.json is no JSON"),
        (prompt_wrongly, "templates.json must be a list of texts with {}"),
    ],
)
def test_a_broken_folder_is_refused_by_its_path(harm, said, tiny_run, pictures, tmp_path, capsys):
    shutil.copytree(pictures, tmp_path / "data")
    harm(tmp_path / "data")
    with pytest.raises(SystemExit) as stopped:
        main([str(tiny_run), "classify", "--data", str(tmp_path / "data")])
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and told.count("\n") == 1
    assert str(tmp_path / "data") in told and said in told


def test_a_damaged_file_is_named(measured, pictures, tmp_path, capsys):
    shutil.copytree(pictures, tmp_path / "data")
    file = tmp_path / "data" / "train" / "red_bar" / "1.png"
    file.write_bytes(file.read_bytes()[:60])
    with pytest.raises(SystemExit):
        measured(tmp_path / "data")
    assert capsys.readouterr().err.startswith(f"eval: {file}: ")


def test_classes_are_measured_apart(tiny_run, pictures, capsys):
    with pytest.raises(SystemExit):
        main([str(tiny_run), "classify", "retrieval", "--data", str(pictures)])
    assert "measured apart" in capsys.readouterr().err
