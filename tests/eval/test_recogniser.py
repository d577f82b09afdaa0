"""Words heard in made speech: the figures are jiwer's, and what is no recogniser is named."""

from importlib.util import find_spec
from pathlib import Path

import jiwer
import numpy as np
import PIL.Image
import pytest

from eval.bench import Bench
from eval.folder import Folder
from eval.recogniser import Recogniser
from eval.tasks.draw import heard
from omni import Audio
from omni.batch import Sample
from omni.interface import Omni

NAMES = ["red circle", "blue square", "a green star"]
HEARD = ["Red circle!", "blue hair", "green"]


class Listener(Recogniser):
    """One that hears `HEARD`, whatever is said."""

    def __init__(self) -> None:
        self.name = "a listener"

    def hear(self, recordings) -> list[str]:
        assert all(isinstance(one, Audio) for one in recordings)
        return HEARD[: len(recordings)]


@pytest.fixture
def bench(tiny_model: Omni, tmp_path: Path) -> Bench:
    data = object.__new__(Folder)  # not asked for anything
    return Bench(tiny_model, tiny_model, data, tmp_path, recogniser=Listener())


def test_what_is_heard_is_counted_as_jiwer_does_and_says_by_whom(bench: Bench) -> None:
    samples = [Sample(key=name, text=name, image=None, audio=None) for name in NAMES]
    sounds = [Audio(np.zeros(1600, np.float32), 16_000) for _ in NAMES]
    found = dict(heard(bench, "test/speak/text->audio", samples, sounds))
    plain = [said.lower().strip("!") for said in HEARD]
    for metric, wanted in (("WER", jiwer.wer(NAMES, plain)), ("CER", jiwer.cer(NAMES, plain))):
        score = found[f"test/speak/text->audio/{metric}"]
        assert score.value == pytest.approx(wanted, abs=1e-6) and score.n == 3
        assert score.protocol.endswith("; a listener")


def test_pictures_are_not_listened_to_and_without_a_recogniser_nothing_is(bench: Bench) -> None:
    samples = [Sample(key="a", text="a", image=None, audio=None)]
    assert [*heard(bench, "x", samples, [PIL.Image.new("RGB", (2, 2))])] == []
    bench.recogniser = None
    assert [*heard(bench, "x", samples, [Audio(np.zeros(160, np.float32), 16_000)])] == []


def test_what_is_no_recogniser_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be a folder with model\.bin, got "):
        Recogniser(str(tmp_path))
    (tmp_path / "model.bin").write_bytes(b"nothing")
    here = find_spec("faster_whisper") is not None
    told = "must hold a Whisper of CTranslate2" if here else "needs faster-whisper"
    with pytest.raises(ValueError, match=told):
        Recogniser(str(tmp_path))
