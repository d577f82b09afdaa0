"""Error rates of speech: against jiwer and torchmetrics on text that is normalised beforehand."""

import jiwer
import numpy as np
import pytest
from torchmetrics.functional.text import char_error_rate, word_error_rate
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from eval.recognition import figures

WORDS = ["the", "Colour", "color", "don't", "do not", "25", "twenty-five", "uh", "[noise]", "Mr."]
WORTE = ["Straße", "(leise)", "Übung", "geht's", "und", "…", "Größe", "ein", "e\u0301te\u0301"]


def drawn(words: list[str], seed: int) -> tuple[list[str], list[str]]:
    """Answers and truths of none to eight words; the first truth holds a word."""
    generator = np.random.default_rng(seed)

    def text() -> str:
        return " ".join(generator.choice(words, generator.integers(9)))

    return [text() for _ in range(30)], [words[0], *(text() for _ in range(29))]


def values(answers: list[str], truths: list[str], language: str) -> dict[str, float]:
    return {name: score.value for name, score in figures(answers, truths, 0, language)}


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("language", "words", "clean"),
    [("en", WORDS, EnglishTextNormalizer()), ("de", WORTE, BasicTextNormalizer())],
)
def test_word_and_character_error_rates_are_those_of_jiwer_and_torchmetrics(
    seed, language, words, clean
):
    answers, truths = drawn(words, seed)
    ours = values(answers, truths, language)
    answers, truths = [*map(clean, answers)], [*map(clean, truths)]
    assert ours["WER"] == pytest.approx(jiwer.wer(truths, answers), abs=1e-6)
    assert ours["CER"] == pytest.approx(jiwer.cer(truths, answers), abs=1e-6)
    assert ours["WER"] == pytest.approx(float(word_error_rate(answers, truths)), abs=1e-6)
    # torchmetrics counts the spaces at the ends too.
    answers, truths = [a.strip() for a in answers], [t.strip() for t in truths]
    assert ours["CER"] == pytest.approx(float(char_error_rate(answers, truths)), abs=1e-6)


def test_chinese_and_japanese_are_counted_in_characters_without_spaces():
    answers, truths = ["你好 世界!", "がっこう"], ["你好,世间", "がっこ う。"]
    assert values(answers, truths, "zh") == {"CER": pytest.approx(1 / 8)}
    assert values(answers, truths, "ja") == {"CER": pytest.approx(1 / 8)}
    wer = jiwer.wer(["你 好 世 间", "が っ こ う"], ["你 好 世 界", "が っ こ う"])
    assert wer == pytest.approx(1 / 8)


def test_what_is_written_and_said_alike_is_no_error():
    said = ["Mr. Smith's colour isn't [laughs] twenty-five."]
    assert values(said, ["mister smith's color is not 25"], "en") == {"WER": 0.0, "CER": 0.0}
    assert values(["red apple"], ["green pear"], "en")["WER"] == 1.0


def test_empty_texts_are_counted():
    assert values(["", "a cat"], ["red apple", "uh"], "en")["WER"] == (2 + 2) / 2
    assert values(["a cat"], ["[noise]"], "en") == {"WER": 2.0, "CER": 5.0}
    assert jiwer.wer([""], ["a cat"]) == 2.0
    assert values([""], [""], "en") == {"WER": 0.0, "CER": 0.0}


def test_the_protocol_names_the_normalizer():
    ((_, score),) = figures(["好"], ["好"], 0, "zh")
    assert score.protocol.startswith("whisper-normalizer ") and score.protocol.endswith("basic")


def test_answers_that_do_not_match_the_truths_are_an_error():
    with pytest.raises(ValueError, match="got 1 for 2"):
        values(["a"], ["a", "b"], "en")
    with pytest.raises(ValueError, match="at least one query"):
        values([], [], "en")
