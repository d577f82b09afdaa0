"""What is particular about releases of recordings."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import soundfile

from data.recipes import RECIPES
from tests.data.miniatures import write
from tests.data.sound_miniatures import librispeech, localized_narratives, speech_commands


def test_a_described_image_may_lack_its_recording_and_a_recording_its_image(tmp_path):
    coco_train, coco_val, *others = localized_narratives(tmp_path)
    coco_train.image.unlink()
    coco_val.audio.unlink()
    expected = [replace(coco_train, image=None), replace(coco_val, audio=None), *others]
    with pytest.warns(UserWarning, match=r"2 of 8 media are missing, .*0 of 4 samples"):
        assert list(RECIPES["localized_narratives"](tmp_path)) == expected


def test_a_recording_of_flickr30k_may_be_named_as_annotated(tmp_path):
    record = list(localized_narratives(tmp_path))[-1]
    short = record.audio.rename(record.audio.with_name("flickr30k_val_219843859_93.ogg"))
    assert list(RECIPES["localized_narratives"](tmp_path))[-1] == replace(record, audio=short)


@pytest.mark.parametrize(
    ("name", "seconds", "start"),
    [
        ("dQw4w9WgXcQ.wav", 10.02, None),
        ("YdQw4w9WgXcQ.wav", 10, None),
        ("dQw4w9WgXcQ.wav", 60, 30.0),
        ("YdQw4w9WgXcQ.flac", 60, 30.0),
        ("dQw4w9WgXcQ_30.wav", 60, None),
        ("dQw4w9WgXcQ_30_40.ogg", 10, None),
        ("dQw4w9WgXcQ_30000_40000.wav", 10, None),
        ("103540.wav", 10, None),
    ],
)
def test_sounds_of_audiocaps_are_found_and_whole_videos_cut(name, seconds, start, tmp_path):
    names = ["audiocap_id", "youtube_id", "start_time", "caption"]
    write(tmp_path / "dataset/val.csv", [names, [103540, "dQw4w9WgXcQ", 30, "A man sings"]])
    sound = write(tmp_path / "audio" / name)
    soundfile.write(sound, np.zeros(int(seconds * 8000), np.float32), 8000)
    write(tmp_path / "audio/dQw4w9WgXcQ_50.wav")  # another clip of this video
    write(tmp_path / "audio/dQw4w9WgXcQ.txt")
    [record] = RECIPES["audiocaps"](tmp_path)
    stop = None if start is None else start + 10
    assert (record.audio, record.start, record.stop) == (sound, start, stop)


def test_librispeech_may_be_the_folder_itself_and_keeps_its_subsets(tmp_path):
    expected = list(librispeech(tmp_path))
    folder = tmp_path / "LibriSpeech"
    (folder / "dev-clean").rename(folder / "test-other")
    records = list(RECIPES["librispeech"](folder))
    assert [record.split for record in records] == ["test-other", "test-other"]
    assert [record.texts for record in records] == [record.texts for record in expected]


def test_an_utterance_that_is_not_transcribed_is_refused(tmp_path):
    chapter = next(librispeech(tmp_path)).audio.parent
    write(chapter / "84-121123-0002.flac")
    with pytest.raises(ValueError, match=r"dev-clean .* lacks a transcript: .*84-121123-0002"):
        list(RECIPES["librispeech"](tmp_path))


def test_the_root_may_be_the_current_folder(tmp_path, monkeypatch):
    expected = list(speech_commands(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert list(RECIPES["speech_commands"](Path())) == expected
