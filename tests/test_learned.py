"""A checkpoint knows what it was trained for; the rest is refused by name."""

import shutil
from pathlib import Path

import pytest
from PIL import Image
from safetensors.torch import load_file, save_file

from omni import Omni, load
from omni.learned import Learned

PICTURE = Image.new("RGB", (32, 32), "red")


def test_what_objectives_with_data_teach() -> None:
    learned = Learned.of(["loss.next_token", "loss.audio_flow", "loss.masked"], False, ["de", "en"])
    assert learned == Learned(("text", "audio"), False, ("de", "en"))


def test_a_run_stores_what_it_learned(tiny_model: Omni) -> None:
    learned = tiny_model.learned
    assert learned.makes == ("text", "image", "audio")
    assert learned.answers is False
    assert learned.languages and {*learned.languages} <= {*tiny_model.tokenizer.languages}


def test_questions_to_a_model_that_never_learned_any_are_refused(tiny_model: Omni) -> None:
    with pytest.raises(ValueError, match="learned no answers to questions"):
        tiny_model.answer((PICTURE, "what colour is it?"))
    with pytest.raises(ValueError, match="without a text it writes captions"):
        tiny_model.generate([PICTURE, (PICTURE, "what colour is it?")], to="text")
    assert isinstance(tiny_model.generate("red circle", to="text"), str), (
        "a text alone asks nothing"
    )


def test_the_run_with_questions_answers(asked_run: Path) -> None:
    asked_model = load(asked_run)
    assert asked_model.learned.answers is True
    assert isinstance(asked_model.answer((PICTURE, "what colour is it?")), str)
    with pytest.raises(ValueError, match=r"not learned to make image, only text: loss.image_flow"):
        asked_model.generate("red circle", to="image")
    with pytest.raises(ValueError, match="not learned to make audio"):
        asked_model.generate("red circle", to="audio")


def test_a_language_in_which_it_never_wrote_is_refused(tiny_model: Omni) -> None:
    written = tiny_model.learned
    tiny_model.learned = Learned(written.makes, written.answers, ("xx",))
    try:
        with pytest.raises(ValueError, match="no text in 'en', only in xx"):
            tiny_model.generate(PICTURE, to="text")
    finally:
        tiny_model.learned = written


def test_of_an_older_checkpoint_nothing_is_refused(tiny_run: Path, tmp_path: Path) -> None:
    newest = max((tiny_run / "checkpoints").glob("step-*"))
    old = tmp_path / "old"
    shutil.copytree(newest, old)
    save_file(load_file(old / "model.safetensors"), old / "model.safetensors")
    model = load(old)
    assert model.learned == Learned()
    assert isinstance(model.answer((PICTURE, "what colour is it?")), str)


def test_a_model_whose_weights_are_cut_off_is_named(tiny_run: Path, tmp_path: Path) -> None:
    folder = tmp_path / "cut"
    shutil.copytree(max((tiny_run / "checkpoints").glob("step-*")), folder)
    weights = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(ValueError, match=r"cut/model\.safetensors is damaged"):
        load(folder)
