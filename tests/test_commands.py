"""The command line on files that are in no shard."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, ImageDraw

from omni import verbs
from omni.__main__ import main
from omni.learned import Learned

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A picture, a recording and a text of a user's own, a damaged picture among them."""
    folder = tmp_path_factory.mktemp("files")
    picture = Image.new("RGB", (90, 60), "white")
    ImageDraw.Draw(picture).ellipse((20, 10, 60, 50), fill="red")
    picture.save(folder / "circle.png")
    time = np.arange(0, 0.4, 1 / 44_100)
    soundfile.write(folder / "tone.wav", 0.3 * np.sin(2 * np.pi * 440 * time), 44_100)
    (folder / "note.txt").write_text("blue square\n")
    (folder / "broken.png").write_bytes(b"not a picture")
    return folder


def omni(run: Path, *arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "omni", *map(str, arguments), "--model", str(run)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, input=stdin)


def test_all_verbs_on_own_files(tiny_run: Path, files: Path, tmp_path: Path) -> None:
    picture, tone, note = files / "circle.png", files / "tone.wav", files / "note.txt"
    result = omni(tiny_run, "embed", picture, tone, note, "red bar")
    assert result.returncode == 0, result.stderr
    vectors = [json.loads(line)["vector"] for line in result.stdout.splitlines()]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)

    gallery = ["--gallery", picture, "--gallery", tone, "--gallery", "green bar"]
    result = omni(tiny_run, "search", *gallery, "-k", 2, "red circle")
    lines = [line.split("\t") for line in result.stdout.splitlines()]
    assert [line[0] for line in lines] == ["red circle"] * 2

    asked = omni(tiny_run, "ask", "what is it?", picture, tone, "--choices", "red bar, red circle")
    assert asked.returncode == 2 and "has learned no answers to questions" in asked.stderr

    assert omni(tiny_run, "caption", picture).stdout.startswith(f"{picture}\t")
    to = tmp_path / "transcripts.txt"
    assert omni(tiny_run, "transcribe", "-", "--to", to, stdin=f"{tone}\n").returncode == 0
    assert to.read_text().startswith(f"{tone}\t")

    omni(tiny_run, "draw", "red circle", tone, "--out", tmp_path, "--steps", 4)
    with Image.open(tmp_path / "000-red-circle.png") as drawn:
        assert drawn.size == (32, 32)
    assert (tmp_path / "001-tone.png").is_file()
    omni(tiny_run, "speak", picture, "--out", tmp_path, "--steps", 4)
    assert soundfile.info(tmp_path / "000-circle.wav").samplerate == 16_000


def test_a_question_is_answered_about_each_file(
    tiny_run: Path, files: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(Learned, "check_answers", lambda learned: None)
    names = [str(files / "circle.png"), str(files / "tone.wav")]
    choices = ("--choices", "red bar, red circle")
    assert run_here(tiny_run, monkeypatch, "ask", "what is it?", *names, *choices) == 0
    answers = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [name for name, _ in answers] == names
    assert {answer for _, answer in answers} <= {"red bar", "red circle"}


def test_batches_are_as_one_and_what_is_drawn_in_each_has_noise_of_its_own(
    tiny_run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    texts, told = ["red circle", "blue bar", "red circle", "green square", "red circle"], []
    for size in (256, 2):
        monkeypatch.setattr(verbs, "BATCH", size)
        assert run_here(tiny_run, monkeypatch, "embed", *texts) == 0
        told.append([json.loads(line) for line in capsys.readouterr().out.splitlines()])
    assert [row["item"] for row in told[1]] == texts
    vectors = ([row["vector"] for row in rows] for rows in told)
    np.testing.assert_allclose(*vectors, atol=1e-5)
    settings = ("--steps", "2", "--json", "--out", str(tmp_path))
    assert run_here(tiny_run, monkeypatch, "draw", *texts, *settings) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["item"] for row in rows] == texts
    drawn = [Path(row["file"]).read_bytes() for row in rows]
    assert len(set(drawn)) == len(texts)  # the same words, and other noise


def run_here(run: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    """The exit code of a command in this process."""
    monkeypatch.setattr(sys, "argv", ["omni", *arguments, "--model", str(run)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


def test_a_bad_file_is_one_line_and_the_rest_is_done(tiny_run: Path, files: Path) -> None:
    result = omni(
        tiny_run, "caption", files / "broken.png", files / "circle.png", files / "gone.wav"
    )
    assert result.returncode == 2
    assert result.stdout.startswith(f"{files / 'circle.png'}\t")
    errors = result.stderr.splitlines()
    assert len(errors) == 2
    assert "broken.png" in errors[0]
    assert "gone.wav: no such file" in errors[1]


def test_a_missing_model_is_one_line(tmp_path: Path) -> None:
    result = omni(tmp_path / "none", "embed", "text")
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
