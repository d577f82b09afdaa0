"""Captions and transcripts of packed shards, by a model that knows and by one that does not."""

import json
from pathlib import Path

import pytest

from eval.run import main
from eval.tasks.describe import describe
from eval.tasks.recognise import recognise
from omni import Omni, pretrained
from tests.data import sound_miniatures
from tests.eval.copies import packed
from tests.eval.greys import Knowing, members, write

TRUTH = "this thing shows the number {}"


def test_what_is_written_is_compared_with_all_references(measure, tmp_path):
    samples = [
        members(n, "image", captions=["quite another text", TRUTH.format(n)]) for n in range(6)
    ]
    samples += [members(7, "audio", captions=[TRUTH.format(8)]), members(9, "image")]
    results = measure(write(tmp_path, samples), describe, model=Knowing(), limit=5)
    name = "test/describe/image->text"
    for metric in ("BLEU_1", "BLEU_4", "ROUGE_L"):
        assert results[f"{name}/{metric}"].value == pytest.approx(1), metric
    score = results[f"{name}/CIDEr_D"]
    assert score.n == 5 and score.protocol.startswith("5 of 6; 2 references; ")
    assert score.low <= score.value <= score.high
    assert results[f"shuffled/{name}/CIDEr_D"].value < score.value / 2
    assert results[f"untrained/{name}/BLEU_4"].value < 0.01
    assert results["test/describe/audio->text/BLEU_1"].value == pytest.approx(5 / 6)


def test_what_was_said_is_recognised_and_an_untrained_network_hears_nothing(measure, tmp_path):
    samples = [members(n, "audio", text=TRUTH.format(n).upper() + ".") for n in range(3)]
    samples += [members(3, "audio", text=TRUTH.format(4)), members(5, "audio")]
    results = measure(write(tmp_path, samples), recognise, model=Knowing(), limit=9)
    score = results["test/recognise/audio->text/WER"]
    assert (score.value, score.n) == (pytest.approx(1 / 24), 4)
    assert score.protocol.startswith("4 of 4; whisper-normalizer")
    assert results["untrained/test/recognise/audio->text/WER"].value > 0.5


def test_shards_without_texts_are_refused(measure, tmp_path):
    data = write(tmp_path, [members(1, "audio"), members(2, "image")])
    with pytest.raises(ValueError, match=r"\(test\) must have pictures or recordings with texts"):
        measure(data, describe)
    with pytest.raises(ValueError, match=r"\(test\) must have recordings with transcripts"):
        measure(data, recognise)


@pytest.fixture
def run(fresh: Omni, tmp_path: Path) -> Path:
    """The fresh model as a folder."""
    (tmp_path / "run").mkdir()
    pretrained.save(tmp_path / "run", fresh.config, fresh.tokenizer, fresh.network.state_dict())
    return tmp_path / "run"


def test_the_command_measures_a_packed_copy(run, tmp_path):
    data = packed("librispeech", sound_miniatures.librispeech, tmp_path)
    tasks = ("search", "describe", "recognise")
    main([str(run), *tasks, "--data", str(data), "--split", "dev_clean"])
    told = json.loads((run / "results.json").read_text())
    assert told["meta"]["galleries"] == {"dev_clean": 2}
    assert "dev_clean/recognise/audio->text/WER" in told["results"]
    text = (run / "results.md").read_text()
    for title in ("Search", "Descriptions", "Recognition of speech"):
        assert f"## {title}" in text
    assert "R@k is hit rate" in text and "dev_clean WER" in text
    assert "measured on data of others" in (run / "report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search"], "--split must be one of cut, dev, which"),
        (["classify", "--split", "dev"], "sample 's0' must have label or category in its json"),
        (["recognise", "--split", "dev"], "must have recordings with transcripts"),
        (["search1k", "--split", "dev"], "search1k asks for 5,000 things"),
        (["search", "--split", "cut"], "sample 's0', member .png"),
        (["search", "--split", "new"], "got new"),
        (["search", "retrieval"], "measured apart"),
        (["retrieval", "--split", "dev"], "--split is of packed shards alone"),
        (["search", "--data", "nowhere"], "nowhere holds no SPLIT-*.tar"),
    ],
)
def test_bad_arguments_are_told_in_one_line(arguments, said, run, tmp_path, capsys):
    sample = members(1, "image", captions=["a 1"])
    write(tmp_path, [sample], "dev")
    write(tmp_path, [sample | {"png": sample["png"][:60]}], "cut")
    data = [] if "--data" in arguments else ["--data", str(tmp_path)]
    with pytest.raises(SystemExit):
        main([str(run), *arguments, *data])
    told = capsys.readouterr().err
    (line,) = [line for line in told.splitlines() if line.startswith("eval: ")]
    assert said in line and "Traceback" not in told
