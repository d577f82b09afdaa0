"""VQA's rule: how right an answer is that ten people have given as well.

Antol et al., arXiv:1505.00468, section 5, and https://visualqa.org/evaluation.html. Both sides are
normalised alike; the official script spares the answers of people articles and number words.
"""

import re
from collections.abc import Sequence

import numpy as np

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)} | {"none": "0"}
ARTICLES = {"a", "an", "the"}
ENDINGS = {
    "n't": "ai are could did does do had has have is might must need ought should was were would",
    "'t": "can won shan",
    "'s": "he she that there what when where who why how somebody someone something let",
    "'re": "they there what why you",
    "'ve": "could might must should would they we what where who you",
    "'ll": "how it somebody someone something they what who why you",
    "'d": "he how it someone something there they where who you",
}
WORDS = [w + end for end, words in ENDINGS.items() for w in words.split()]
CONTRACTIONS = {w.replace("'", ""): w for w in [*WORDS, "ma'am", "o'clock", "'twas", "y'all"]}
"""with the apostrophe, by what they are without"""
PUNCTUATION = re.compile(r"""[;/\[\]"{}()=+\\_\-<>@`,?!]""")
"""but apostrophes, which may belong to a name, and colons, which may be of a time"""


def normalize(answer: str) -> str:
    """Lower case, digits for numbers, no articles, no punctuation, contractions with apostrophe."""
    text = re.sub(r"(?<=\d),(?=\d)", "", answer.lower())
    text = re.sub(r"(?<!\d)\.|\.(?!\d)", "", PUNCTUATION.sub(" ", text))
    words = (DIGITS.get(word, word) for word in text.split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def accuracy(answer: str, answers: Sequence[str]) -> float:
    """min(n / 3, 1) of n people who say the same, averaged over the subsets that lack one."""
    same = np.array([normalize(other) == normalize(answer) for other in answers])
    return float(np.minimum((same.sum() - same) / 3, 1).mean())
