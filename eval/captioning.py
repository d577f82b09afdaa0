"""Captions against all that people wrote: BLEU-1 to 4, ROUGE-L and CIDEr-D, by pycocoevalcap.

Text is in lower case, split into words without punctuation; Chinese and Japanese into characters.
"""

import re
from collections.abc import Sequence

import numpy as np
from pycocoevalcap.bleu.bleu import Bleu
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge

CHARACTERS = ("zh", "ja")
"""languages that put no space between words"""


def scores(
    answers: Sequence[str], references: Sequence[Sequence[str]], language: str
) -> dict[str, np.ndarray | float]:
    """Of each answer ROUGE-L and CIDEr-D, and of all together BLEU, against its references."""
    given = {i: [split(answer, language)] for i, answer in enumerate(answers)}
    truth = {i: [split(text, language) for text in some] for i, some in enumerate(references)}
    bleu, _ = Bleu(4).compute_score(truth, given, verbose=0)
    found: dict[str, np.ndarray | float] = {f"BLEU_{n}": float(b) for n, b in enumerate(bleu, 1)}
    found["ROUGE_L"] = np.asarray(Rouge().compute_score(truth, given)[1])
    found["CIDEr"] = np.asarray(Cider().compute_score(truth, given)[1])
    return found


def split(text: str, language: str) -> str:
    """The text with single spaces between what counts as a word."""
    found = re.findall(r"\w" if language in CHARACTERS else r"[\w']+", text.lower())
    return " ".join(found)
