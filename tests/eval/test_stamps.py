"""The tasks of the stamps, on shards in their layout of a world that a small model knows."""

import json
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eval.run import main
from eval.table import NAME
from omni.pipeline.synthetic import _members, make_samples
from omni.pipeline.writer import write_shard

task, video = (sys.modules[f"eval.tasks.{name}"] for name in ("stamps", "video"))


def stamps(split: str) -> Iterator[tuple[str, dict[str, bytes]]]:
    """A stamp of each thing with its picture, a recording of it, and one as a sound.

    In the other language it is called what in the first another thing is.
    """
    whole = [s for s in make_samples(split) if None not in (s.image, s.audio, s.text)]
    things = {s.text: s for s in whole if s.text is not None}
    others = dict(zip(sorted(things), [*sorted(things)[1:], *sorted(things)[:1]], strict=True))
    for number, (text, sample) in enumerate(things.items()):
        names = {"en": text, "fr": others[text]}
        kinds = {"stamp": ("audio", "en"), "speech": ("image", "en"), "sound": ("image", "en")}
        for kind, (absent, language) in kinds.items():
            about = {"kind": kind, "names": names, "language": language, "stem": f"{number}"}
            members = _members(replace(sample, text=names[language], **{absent: None}))
            members["json"] = json.dumps(about | {"concept": sample.text}).encode()
            yield f"{number}-{kind}", members


@pytest.fixture(scope="module")
def results(tiny_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict]:
    """Of both tasks, with two languages: one that the model knows and one that it does not."""
    folder, data = tmp_path_factory.mktemp("runs") / "debug", tmp_path_factory.mktemp("stamps")
    shutil.copytree(tiny_run, folder)
    for split in (*task.SPLITS, "train"):
        write_shard(data / f"{split}-000000.tar", stamps(split))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "LARGE", ("en", "fr"))
        patch.setattr(task, "of", spoken_in_both(task.of))
        patch.setattr(video, "LANGUAGE", "en")
        main([str(folder), "stamps", "video", "--data", str(data), "--limit", "6"])
    clips = [*tmp_path_factory.getbasetemp().rglob("clips/*/*.webm")]
    assert Counter(clip.parent.name for clip in clips) == {"test": 6, "held": 6, "train": 24}
    assert not [*(tmp_path_factory.getbasetemp()).rglob("clips/*/*.partial")]
    return json.loads((folder / "results.json").read_text())["results"]


def spoken_in_both(of):
    """The recordings count as those of both languages."""
    return lambda samples, kind, language: of(samples, kind, "en")


def test_every_direction_is_there_with_its_controls(results: dict[str, dict]) -> None:
    assert all(NAME.fullmatch(name) for name in results)
    for name in (
        "test/stamps/audio-en->text-en/R@1",
        "test/stamps/text-en->audio-en/R@1",
        "test/stamps/reranked audio-en->text-en/R@1",
        "test/stamps/reranked text-en->audio-en/R@1",
        "held/stamps/audio-en->text-fr/R@1",
        "held/stamps/reranked audio-en->text-fr/R@1",
        "test/stamps/reranked image->text-en/R@1",
        "test/stamps/image->text-en/R@1",
        "test/stamps/text-en->image/R@1",
        "test/stamps/sound->text-en/R@1",
        "test/video/video->text/R@1",
        "held/video/text->video/R@1",
        "test/video/reranked video->text/R@1",
        "held/video/reranked text->video/R@1",
        "test/video/video->text/exact",
        "held/video/video->text/CER",
    ):
        assert name in results and f"untrained/{name}" in results, name
    assert results["chance/held/stamps/audio-en->text-fr/R@1"]["value"] == pytest.approx(1 / 24)


def test_what_was_learned_is_found_and_an_untrained_network_finds_nothing(
    results: dict[str, dict],
) -> None:
    for name in (
        "audio-en->text-en",
        "reranked audio-en->text-en",
        "text-en->audio-en",
        "reranked text-en->audio-en",
        "image->text-en",
        "reranked image->text-en",
        "sound->text-en",
    ):
        assert results[f"test/stamps/{name}/R@1"]["value"] > 0.6, name
        assert results[f"untrained/test/stamps/{name}/R@1"]["value"] < 0.3, name
    # The model never met the names of the other language; training says what they mean.
    assert results["held/stamps/audio-en->text-fr/R@1"]["value"] < 0.3
    assert results["held/stamps/reranked audio-en->text-fr/R@1"]["value"] > 0.6
    assert results["untrained/held/stamps/reranked audio-en->text-fr/R@1"]["value"] < 0.3
    for name in ("video->text", "reranked video->text"):
        assert results[f"test/video/{name}/R@1"]["value"] >= 0.5, name


def test_captions_count_once_and_a_tie_with_another_is_a_miss() -> None:
    scores, names = torch.eye(3), ["a", "b", "c"]
    assert task.hits(scores, names, names).all()
    assert not task.hits(torch.ones(3, 3), names, names).any()
    twice = torch.cat([scores, scores[:, :1]], 1)
    assert np.array_equal(task.hits(twice, names, [*names, "a"]), [True, True, True])
    assert not task.hits(twice, ["b", "c", "b"], [*names, "a"])[[0, 2]].any()


def test_tasks_of_two_corpora_are_not_mixed(
    tiny_run: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit):
        main([str(tiny_run), "stamps", "retrieval"])
    assert "measured apart" in capsys.readouterr().err
