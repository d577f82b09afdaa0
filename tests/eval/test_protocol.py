"""The card says what was done: the defaults of the verbs, and the state of the checkout."""

import subprocess
from pathlib import Path

import pytest

from eval.protocol import Protocol, card, commit, settings, words
from omni import Omni


def git(folder: Path, *arguments: str) -> None:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    subprocess.run(["git", "-C", str(folder), *who, *arguments], check=True, capture_output=True)


def test_the_commit_is_told_with_what_was_changed_since(tmp_path):
    assert commit(tmp_path) == "unknown"
    git(tmp_path, "init")
    assert commit(tmp_path) == "unknown"  # nothing is committed yet
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", "file")
    git(tmp_path, "commit", "-m", "first")
    clean = commit(tmp_path)
    assert len(clean) == 12
    (tmp_path / "file").write_text("2")
    assert commit(tmp_path) == f"{clean}-dirty"


def test_a_folder_below_a_checkout_is_none(tmp_path):
    git(tmp_path, "init")
    (tmp_path / "below").mkdir()
    assert commit(tmp_path / "below") == "unknown"


def test_settings_are_those_that_generate_has(monkeypatch):
    def generate(self, items, to, *, steps: int = 7, guidance: float = 1.5):
        pass

    monkeypatch.setattr(Omni, "generate", generate)
    assert settings("steps", "guidance") == {"steps": 7, "guidance": 1.5}


def test_what_does_not_apply_is_not_in_the_card():
    assert Protocol().to_json() == {}
    assert Protocol(limit=0, normalizer="none").to_json() == {"normalizer": "none", "limit": 0}


def test_the_card_of_a_figure_joins_run_task_and_figure():
    score = {"value": 0.5, "n": 10, "gallery": None, "seed": 3, "task": "draw", "protocol": "few"}
    protocols = {"draw": {"limit": 4, "judge_real": {"test": 0.9}}}
    meta = {"data": "d", "interval": "95 %", "protocols": protocols, "time": "now"}
    told = card({"meta": meta, "results": {"x": score}}, "x")
    assert told == {
        "data": "d", "interval": "95 %", "limit": 4,
        "n": 10, "gallery": None, "seed": 3, "condition": "few",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "said"),
    [(3.0, "3.0"), (0.98765, "0.988"), (["a {}", "{}"], "'a {}', '{}'"), ({"a": 1}, "a 1")],
)
def test_values_are_told_in_words(value, said):
    assert words(value) == said
