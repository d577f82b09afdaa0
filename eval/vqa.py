"""VQA's rule: how right an answer is that ten people have given as well.

Antol et al., arXiv:1505.00468, section 5, and https://visualqa.org/evaluation.html; what they do
not say is as in the official script (GT-Vision-Lab/VQA, vqaEval.py), its oddities included.
"""

import re
from collections.abc import Sequence

import numpy as np

NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
DIGITS = {word: str(number) for number, word in enumerate(NUMBERS)} | {"none": "0"}
ARTICLES = {"a", "an", "the"}
ENDINGS = {
    "n't": "ai are ca could did does do had has have is might must need ought sha should was were"
    " wo would",
    "'s": "he how somebody someone that there what when where who why",
    "'re": "they there what why you",
    "'ve": "could might must not should they we what where who would you couldn't hadn't he'd it'd"
    " mightn't she'd shouldn't somebody'd someone'd something'd there'd they'd we'd who'd wouldn't"
    " y'all'd you'd",
    "'ll": "how it somebody someone something they what who why you y'all",
    "'d": "he how it someone something there they where who you",
    "": "ma'am o'clock 'twas y'all 'ow's'at",
}
WORDS = [word + ending for ending, words in ENDINGS.items() for word in words.split()]
CONTRACTIONS = {w[:i] + w[i + 1 :]: w for w in WORDS for i in range(len(w)) if w[i] == "'"}
"""with all apostrophes, by what they are without one of them"""
CONTRACTIONS |= {"somebody'd": "somebodyd"}  # the wrong way round in the official table
MARKS = ';/[]"{}()=+\\_-<>@`,?!'
"""but apostrophes, which may belong to a name, and colons, which may be of a time"""
PERIODS = 32
"""are removed at most: the script passes a flag where the count stands"""


def normalize(answer: str) -> str:
    """Lower case, digits for numbers, no articles, no punctuation, contractions with apostrophe.

    A mark that stands beside a space goes, as all do where a comma is between digits; another one
    becomes a space.
    """
    text = answer = _flat(answer)
    thousands = re.search(r"\d,\d", answer)
    for mark in MARKS:
        apart = f"{mark} " in answer or f" {mark}" in answer
        text = text.replace(mark, "" if apart or thousands else " ")
    text = re.sub(r"\.(?!\d)", "", text, count=PERIODS)
    words = (DIGITS.get(word, word) for word in text.lower().split())
    return " ".join(CONTRACTIONS.get(word, word) for word in words if word not in ARTICLES)


def accuracy(answer: str, answers: Sequence[str]) -> float:
    """min(n / 3, 1) of n people who say the same, averaged over the subsets that lack one.

    Where all people agree nothing is normalised: the answer must be theirs to the letter.
    """
    given, said = _flat(answer), [_flat(other) for other in answers]
    if len({*said}) > 1:
        given, said = normalize(given), [normalize(other) for other in said]
    same = np.array([other == given for other in said])
    return float(np.minimum((same.sum() - same) / 3, 1).mean())


def _flat(answer: str) -> str:
    """In one line, without white space around it."""
    return answer.replace("\n", " ").replace("\t", " ").strip()
