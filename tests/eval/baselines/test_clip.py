"""A CLIP that open_clip's program trains learns our pairs and is measured by our code."""

import json
import re
import sys
from pathlib import Path

import pytest
from safetensors.torch import load_file

from eval.baselines import clip
from eval.baselines.pairs import SHARD, TABLE, read_pairs, write_pairs
from omni.pipeline.sample import read_samples
from omni.presets import demo

EPOCHS = 5


def ask(monkeypatch: pytest.MonkeyPatch, data: Path, out: Path, *more: str) -> None:
    """Runs the command on a small corpus at the size of the debug preset."""
    words = ["--preset", "debug", "--data", str(data), "--out", str(out)]
    words += ["--batch-size", "16", "--threads", "1", *more]
    monkeypatch.setattr(sys, "argv", ["clip", *words])
    clip.main()


def test_what_it_trains_is_found_by_the_adapter_and_has_learned(small_data, tmp_path, monkeypatch):
    ask(monkeypatch, small_data, tmp_path, "--epochs", str(EPOCHS), "--lr", "2e-3")
    losses = re.findall(r"Contrastive_loss: ([\d.]+)", (tmp_path / "log" / "out.log").read_text())
    assert float(losses[-1]) < 0.8 * float(losses[0])
    found = json.loads((tmp_path / "results.json").read_text())["results"]
    for direction in ("text->image", "image->text"):
        learned, control = (
            found[f"{prefix}test/retrieval/{direction}/R@5"]["value"]
            for prefix in ("", "untrained/")
        )
        assert learned > 1.5 * control, direction


def test_the_same_seed_gives_the_same_weights(small_data, tmp_path, monkeypatch):
    monkeypatch.setattr(clip, "measure", lambda told: None)
    made = []
    for name in ("one", "two"):
        ask(monkeypatch, small_data, tmp_path / name, "--epochs", "1")
        made.append(load_file(tmp_path / name / "open_clip_model.safetensors")["text_projection"])
    assert made[0].equal(made[1])


def test_as_many_epochs_are_trained_as_fill_the_minutes(small_data, tmp_path, monkeypatch):
    lengths = []

    def run(flags, told):
        lengths.append(int(flags[flags.index("--epochs") + 1]))
        return [9.0, *[2.0] * (lengths[-1] - 2), 9.0]

    monkeypatch.setattr(clip, "run", run)
    monkeypatch.setattr(clip, "keep_weights", lambda *_: None)
    monkeypatch.setattr(clip, "measure", lambda told: None)
    ask(monkeypatch, small_data, tmp_path, "--minutes", "0.5")
    assert lengths == [clip.TIMED, 15]


def test_bad_settings_are_told_in_one_line(small_data, tmp_path, monkeypatch, capsys):
    with pytest.raises(SystemExit):
        ask(monkeypatch, small_data, tmp_path, "--lr", "0")
    assert "--lr must be above 0, got 0.0" in capsys.readouterr().err
    (tmp_path / "log").mkdir()
    with pytest.raises(SystemExit, match="must be a new folder"):
        ask(monkeypatch, small_data, tmp_path)
    with pytest.raises(SystemExit, match="no"):
        ask(monkeypatch, tmp_path / "nowhere", tmp_path / "out")
    with pytest.raises(SystemExit, match="--batch-size must be at most"):
        ask(monkeypatch, small_data, tmp_path / "out", "--batch-size", "4096")


def test_ours_and_theirs_get_the_same_pairs_and_no_sound(small_data, tmp_path):
    asked = [*read_pairs(str(small_data))]
    assert write_pairs(str(small_data), tmp_path) == len(asked)
    ours = [*read_samples(str(tmp_path), "train")]
    assert [sample.text for sample in ours] == [text for _, _, text, _ in asked]
    assert [sample.group for sample in ours] == [concept for *_, concept in asked]
    assert all(sample.audio is None and sample.image is not None for sample in ours)
    rows = [line.rsplit(",", 1) for line in (tmp_path / TABLE).read_text().splitlines()[1:]]
    assert [(Path(path).read_bytes(), text) for path, text in rows] == [x[1:3] for x in asked]
    assert (tmp_path / SHARD).exists()


def test_no_english_text_is_cut():
    import open_clip

    tokenizer = open_clip.SimpleTokenizer()
    longest = max(len(tokenizer.encode(text)) for _, _, text, _ in read_pairs("data/sample"))
    assert longest + 2 <= clip.CONTEXT


def test_its_sizes_are_those_of_our_preset():
    model = demo().model
    built = clip.architecture(model)
    assert built["embed_dim"] == model.embed_dim
    assert built["vision_cfg"]["timm_model_name"] == model.image.encoder
    assert built["text_cfg"]["width"] == model.width
