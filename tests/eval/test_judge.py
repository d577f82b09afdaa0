"""Judges: they learn what is real, cannot learn what is shuffled, and are kept under a digest."""

import dataclasses
import json

import numpy as np
import PIL.Image
import pytest
import torch

from eval import judge as judging
from eval.corpus import Corpus, concept, item
from eval.judge import SETTINGS, Judge, load_or_train, train

CLASSES = 12


def few(corpus: Corpus, sense: str) -> tuple[list, list[str], list, list[str]]:
    """Real training and held-out items of the concepts that have most of them."""
    usable = [s for s in corpus.train if getattr(s, sense) is not None]
    names = [concept(s) for s in usable]
    chosen = set(sorted(set(names), key=lambda name: (-names.count(name), name))[:CLASSES])
    learn = [s for s in usable if concept(s) in chosen]
    held = [s for s in corpus.test if concept(s) in chosen]
    return (
        [item(s, sense) for s in learn],
        [concept(s) for s in learn],
        [item(s, sense) for s in held],
        [concept(s) for s in held],
    )


def accuracy(judge: Judge, items: list, labels: list[str]) -> float:
    return float(np.mean(np.array(judge.name(items)) == np.array(labels)))


@pytest.mark.parametrize("sense", ["image", "audio"])
def test_a_judge_learns_real_pairs_and_none_from_shuffled_ones(corpus, sense):
    learn, labels, held, truths = few(corpus, sense)
    config = dataclasses.replace(SETTINGS[sense], steps=150, batch_size=24)
    assert accuracy(train(config, learn, labels, corpus.names), held, truths) >= 4 / CLASSES
    mixed = np.random.default_rng(0).permutation(labels).tolist()
    assert accuracy(train(config, learn, mixed, corpus.names), held, truths) <= 3 / CLASSES


def test_a_judge_is_trained_once_and_again_when_its_file_is_damaged(corpus, tmp_path, monkeypatch):
    trained = []

    def count(config, items, labels, names, seed, note):
        trained.append(seed)
        torch.manual_seed(0)
        concepts = sorted(corpus.names)[:2]
        return Judge("image", judging.eye.Eye([corpus.names[c] for c in concepts]), concepts)

    monkeypatch.setattr(judging, "train", count)
    picture = [PIL.Image.new("RGB", (64, 64), "red")]

    def judge(seed: int = 0) -> Judge:
        return load_or_train(SETTINGS["image"], corpus, tmp_path, seed, lambda _: None)

    assert judge().name(picture) == judge().name(picture)
    assert trained == [0]
    judge(seed=1)
    assert trained == [0, 1]
    for weights in tmp_path.rglob("*.safetensors"):
        damaged = bytearray(weights.read_bytes())
        damaged[-1] ^= 1
        weights.write_bytes(damaged)
    judge()
    assert trained == [0, 1, 0]
    for description in tmp_path.rglob("*.json"):
        about = json.loads(description.read_text())
        description.write_text(json.dumps(about | {"key": {}}))
    judge()
    assert trained == [0, 1, 0, 0]
