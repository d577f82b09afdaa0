"""Captions: against pycocoevalcap, sacrebleu and torchmetrics on the same tokens."""

import shutil

import numpy as np
import pytest
import sacrebleu
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer.ptbtokenizer import PTBTokenizer
from torchmetrics.functional.text import bleu_score

from eval.captioning import figures, penn

WORDS = ["a", "man", "rides", "the", "brown", "horse", "near", "two", "dogs"]
MARKS = ["isn't", "(red)", "U.S.", "surf-board", ",", ".", "``", "wow", "''"]
java = pytest.mark.skipif(shutil.which("java") is None, reason="PTB tokens need java")


@pytest.fixture
def no_java(tmp_path, monkeypatch):
    """A computer without java."""
    monkeypatch.setenv("PATH", str(tmp_path))


def drawn(
    words: list[str], seed: int, num_items: int = 25, space: str = " "
) -> tuple[list[str], list[list[str]]]:
    """Answers of none to nine words, and one to five references of one to twelve."""
    generator = np.random.default_rng(seed)

    def text(low: int, high: int) -> str:
        return space.join(generator.choice(words, generator.integers(low, high + 1)))

    references = [
        [f"{words[0]}{space}{text(0, 11)}" for _ in range(generator.integers(1, 6))]
        for _ in range(num_items)
    ]
    return [text(0, 9) for _ in range(num_items)], references


def values(answers, references, language="en") -> dict[str, float]:
    return {name: score.value for name, score in figures(answers, references, 0, language)}


def coco(answers: list[str], references: list[list[str]]) -> dict[str, float]:
    """pycocoevalcap's figures of tokens joined by spaces."""
    made = {i: [answer] for i, answer in enumerate(answers)}
    right = dict(enumerate(references))
    bleus = Bleu(4).compute_score(right, made, verbose=0)[0]
    return {
        **{f"BLEU_{n}": bleu for n, bleu in enumerate(bleus, 1)},
        "CIDEr_D": Cider().compute_score(right, made)[0],
        "ROUGE_L": Rouge().compute_score(right, made)[0],
    }


@java
def test_figures_of_english_are_those_of_pycocoevalcap_from_tokenizer_to_score():
    answers, references = drawn(["The", *WORDS, *MARKS], seed=0)
    answers[3] = "A man,\nriding\r\n\u2028 a horse!\n"
    answers[-1], answers[0] = "", "..."
    tokens = PTBTokenizer().tokenize(
        {
            i: [{"caption": " ".join(text.split()) or "."} for text in [answer, *truths]]
            for i, (answer, truths) in enumerate(zip(answers, references, strict=True))
        }
    )
    theirs = coco([t[0] for t in tokens.values()], [t[1:] for t in tokens.values()])
    ours = dict(figures(answers, references, seed=0))
    assert {name: s.value for name, s in ours.items()} == pytest.approx(theirs, abs=1e-6)
    assert all(score.low < score.value < score.high for score in ours.values())
    assert {score.protocol for score in ours.values()} == {"PTB tokens, lower case, no punctuation"}


@java
def test_tokens_stay_with_their_text():
    texts = ["", "Un café, naïf!", "", "it's 😀", "😀", ""]
    assert penn(texts) == ["", "un café naïf", "", "it 's", "", ""]


@pytest.mark.parametrize("seed", range(4))
def test_figures_are_those_of_pycocoevalcap_and_torchmetrics_on_plain_tokens(seed, no_java):
    answers, references = drawn(WORDS[:6], seed)
    ours = dict(figures(answers, references, seed=0))
    assert all("no java" in score.protocol for score in ours.values())
    ours = {name: score.value for name, score in ours.items()}
    clean = [[truth.strip() for truth in truths] for truths in references]
    assert ours == pytest.approx(coco(answers, clean), abs=1e-6)
    # Of two references as near in length torchmetrics takes the first, the others the shorter.
    clean = [sorted(truths, key=lambda truth: len(truth.split())) for truths in clean]
    for n in range(1, 4):
        theirs = float(bleu_score(answers, clean, n_gram=n))
        assert theirs > 0  # else ours are pycocoevalcap's, a little above
        assert ours[f"BLEU_{n}"] == pytest.approx(theirs, abs=1e-6)


def test_without_a_match_bleu_is_still_that_of_pycocoevalcap(no_java):
    for answers in (["one two three four"], ["cat"], [""]):
        references = [["a cat sat on the mat"]]
        assert values(answers, references) == pytest.approx(coco(answers, references), abs=1e-6)


def test_plain_tokens_are_letters_digits_and_apostrophes(no_java):
    ours = values(
        ["A man,\n isn't\trunning!", "two dogs"], [["a man isn't running"], ["Two dogs."]]
    )
    assert ours["BLEU_2"] == pytest.approx(1) and ours["ROUGE_L"] == 1.0


@pytest.mark.parametrize("seed", range(3))
def test_chinese_is_counted_in_characters_and_its_bleu_is_that_of_sacrebleu(seed):
    answers, references = drawn([*"一只红色的猫坐在桌上,。", "T恤"], seed, space="")
    scores = dict(figures(answers, references, 0, "zh"))
    ours = {name: score.value for name, score in scores.items()}
    spaced = coco([*map(" ".join, answers)], [[*map(" ".join, truths)] for truths in references])
    for name in ("CIDEr_D", "ROUGE_L"):
        assert ours[name] == pytest.approx(spaced[name], abs=1e-6)
        assert scores[name].protocol == "characters"
    columns = [[truths[i] if i < len(truths) else None for truths in references] for i in range(5)]
    for n in range(1, 5):
        scorer = sacrebleu.BLEU(tokenize="zh", max_ngram_order=n)
        theirs = scorer.corpus_score(answers, columns).score / 100
        assert ours[f"BLEU_{n}"] == pytest.approx(theirs, abs=1e-6)
        assert "tok:zh" in scores[f"BLEU_{n}"].protocol


def test_the_right_captions_score_best_and_those_of_others_do_not(no_java):
    _, references = drawn(WORDS, seed=1)
    own = values([truths[0] for truths in references], references)
    others = values([truths[0] for truths in references[1:] + references[:1]], references)
    assert own["BLEU_4"] == pytest.approx(1) and own["ROUGE_L"] == pytest.approx(1)
    assert all(others[name] < 0.7 * own[name] for name in own)


@pytest.mark.parametrize(("language", "text"), [("en", "a cat"), ("zh", "一只猫")])
def test_a_single_item_and_an_empty_caption_are_scored(language, text, no_java):
    one = values([text], [[text, text]], language)
    assert one["BLEU_1"] == pytest.approx(1) and one["ROUGE_L"] == pytest.approx(1)
    assert one["CIDEr_D"] == 0  # what occurs in every item tells nothing
    assert all(value < 1e-3 for value in values([""], [[text]], language).values())


@pytest.mark.parametrize(
    ("answers", "references", "language", "message"),
    [
        (["a"], [[]], "en", "item 0 has no reference"),
        (["a", "b"], [["a"], ["b", " .\n"]], "en", r"item 1: a reference must have words"),
        (["a"], [["a"], ["b"]], "en", "got 1 for 2"),
        (["a"], [["a"]], "xx", "language='xx'"),
        ([], [], "en", "at least one query"),
    ],
)
def test_what_cannot_be_scored_is_an_error(answers, references, language, message, no_java):
    with pytest.raises(ValueError, match=message):
        values(answers, references, language)
