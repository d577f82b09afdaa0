"""Speech recognition: word and character error rates of normalised text.

Normalised as in Whisper (arXiv:2212.04356, appendix C) by whisper-normalizer: English by its own
rules (spelling, numbers, contractions), all else in lower case without marks, symbols and what
stands in brackets. Marks are vowels in scripts of South Asia: there the figure is too good.
"""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib.metadata import version

import jiwer
from whisper_normalizer.basic import BasicTextNormalizer
from whisper_normalizer.english import EnglishTextNormalizer

from eval.metrics import Score, edits, error_rate, measure

SPACELESS = ("zh", "ja", "th", "lo", "my")
"""languages that put no spaces between words, as in Whisper's appendix C"""


def figures(
    answers: Sequence[str], truths: Sequence[str], seed: int, language: str = "en"
) -> Iterator[tuple[str, Score]]:
    """WER and CER of the whole corpus, of `SPACELESS` languages CER alone, with intervals.

    Edits over words or characters of the truth, by jiwer; spaces are characters where there are
    words. Of a truth in which nothing is left, whatever was answered counts as edits.

    Raises:
        ValueError: there are no answers, or not one for each truth.
    """
    if len(answers) != len(truths):
        raise ValueError(f"each truth needs one answer, got {len(answers)} for {len(truths)}")
    rules = "English" if language == "en" else "basic"
    score = partial(
        measure,
        seed=seed,
        statistic=error_rate,
        protocol=f"whisper-normalizer {version('whisper-normalizer')}, {rules}",
    )
    clean = normalizer(language)
    if language not in SPACELESS:
        yield "WER", score(edits(answers, truths, jiwer.process_words, clean))
    yield "CER", score(edits(answers, truths, jiwer.process_characters, clean))


def normalizer(language: str) -> Callable[[str], str]:
    """What makes the text of a language comparable; a `SPACELESS` one loses all its spaces."""
    if language == "en":
        return EnglishTextNormalizer()
    basic = BasicTextNormalizer()
    if language in SPACELESS:
        return lambda text: "".join(basic(text).split())
    return basic
