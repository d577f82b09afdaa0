"""Captions against several references: BLEU-1 to 4, CIDEr-D and ROUGE-L.

English as the COCO caption server counts (arXiv:1504.00325): words of Stanford's PTB tokenizer in
lower case without punctuation, then pycocoevalcap. That tokenizer needs `java`; without it words
are runs of letters, digits and apostrophes, and the figure's protocol says so. Chinese: CIDEr-D
and ROUGE-L on characters, BLEU by sacrebleu with its tokenizer `zh` (and its smoothing `exp`).

What pycocoevalcap calls Cider is CIDEr-D (arXiv:1411.5726), with clipped counts and a
penalty of length (sigma 6), times 10; inverse document frequencies are those of the references at
hand, so that a single item scores 0. Resamples keep the frequencies of the whole corpus.

METEOR and SPICE are left out: each is another Java program that needs gigabytes or a download.
"""

import math
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from jaxtyping import Int
from pycocoevalcap.cider.cider import Cider
from pycocoevalcap.rouge.rouge import Rouge
from pycocoevalcap.tokenizer import ptbtokenizer
from sacrebleu import __version__
from sacrebleu.metrics.bleu import BLEU

from eval.metrics import Score, measure

ORDER = 4
"""words of the longest n-gram"""
JAR = Path(ptbtokenizer.__file__).with_name(ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)


def figures(
    answers: Sequence[str],
    references: Sequence[Sequence[str]],
    seed: int,
    language: str = "en",
) -> Iterator[tuple[str, Score]]:
    """BLEU_1 to BLEU_4, CIDEr_D and ROUGE_L of the corpus, with intervals over items.

    Raises:
        ValueError: an item has no reference, or one without words; the language is another.
    """
    if language not in ("en", "zh"):
        raise ValueError(f"captions are scored in en and zh, got language={language!r}")
    if len(answers) != len(references):
        raise ValueError(f"each item needs one answer, got {len(answers)} for {len(references)}")
    for item, truths in enumerate(references):
        if len(truths) == 0:
            raise ValueError(f"item {item} has no reference: leave it out")
    flat = [" ".join(text.split()) for text in [*answers, *(t for ts in references for t in ts)]]
    words, told = tokenized(flat, language)
    made, right = regrouped(words, references)
    for item, truths in enumerate(right):
        for truth, text in zip(truths, references[item], strict=True):
            if not truth:
                raise ValueError(f"item {item}: a reference must have words, got {text!r}")

    if language == "zh":
        rows, smoothed = counts(*regrouped(flat, references), "zh"), True
        told_bleu = f"sacrebleu {__version__}, tok:zh, smooth:exp"
    else:
        rows, smoothed, told_bleu = counts(made, right, "none"), False, told
    for n in range(1, ORDER + 1):
        statistic = partial(bleu, order=n, smoothed=smoothed)
        yield f"BLEU_{n}", measure(rows, seed, statistic, protocol=told_bleu)
    made = {item: [answer] for item, answer in enumerate(made)}
    right = dict(enumerate(right))
    for name, scorer in (("CIDEr_D", Cider()), ("ROUGE_L", Rouge())):
        values = scorer.compute_score(right, made)[1] if made else []
        yield name, measure(np.array(values), seed, protocol=told)


def regrouped(
    flat: Sequence[str], references: Sequence[Sequence[str]]
) -> tuple[list[str], list[list[str]]]:
    """Answers, and references item by item, of a list that holds first these, then those."""
    rest = iter(flat[len(references) :])
    return [*flat[: len(references)]], [[next(rest) for _ in truths] for truths in references]


def tokenized(texts: Sequence[str], language: str) -> tuple[list[str], str]:
    """Tokens of each text (without line breaks) joined by spaces, and what they are."""
    if language == "zh":
        return [" ".join("".join(text.split())) for text in texts], "characters"
    if shutil.which("java"):
        return penn(texts), "PTB tokens, lower case, no punctuation"
    found = [" ".join(re.findall(r"[\w']+", text.lower())) for text in texts]
    return found, "letters and digits in lower case (no java for PTB tokens)"


def penn(texts: Sequence[str]) -> list[str]:
    """Tokens of Stanford's PTB tokenizer as in pycocoevalcap's, whatever the locale's encoding.

    pycocoevalcap's own writes into its package's folder, and falls out of step at an empty last
    line or at a line break that is not a newline.
    """
    command = ["java", "-Dfile.encoding=UTF-8", "-cp", str(JAR)]
    command += ["edu.stanford.nlp.process.PTBTokenizer", "-preserveLines", "-lowerCase"]
    done = subprocess.run(
        [*command, "-encoding", "UTF-8"],
        input="".join(f"{text}\n" for text in texts),
        capture_output=True,
        encoding="utf-8",
        check=True,
    )
    lines = done.stdout.removesuffix("\n").split("\n") if texts else []
    assert len(lines) == len(texts), f"{len(texts)} texts came back as {len(lines)} lines"
    drop = {*ptbtokenizer.PUNCTUATIONS}
    return [" ".join(w for w in line.rstrip().split(" ") if w not in drop) for line in lines]


def counts(
    answers: Sequence[str], references: Sequence[Sequence[str]], tokenizer: str
) -> Int[np.ndarray, "N 10"]:
    """What BLEU adds up, for each item: n-grams found and n-grams written of 1 to 4 words, length
    of the answer and of the reference nearest in length (the shorter of two).
    """
    scorer, rows = BLEU(tokenize=tokenizer), []
    for answer, truths in zip(answers, references, strict=True):
        found = scorer.corpus_score([answer], [[truth] for truth in truths])
        rows.append([*found.counts, *found.totals, found.sys_len, found.ref_len])
    return np.array(rows)


def bleu(rows: Int[np.ndarray, "N 10"], order: int, smoothed: bool) -> float:
    """BLEU of a corpus from `counts` (Papineni et al., ACL 2002), in [0, 1].

    `smoothed` as sacrebleu does by default; else with the small numbers by which pycocoevalcap
    keeps clear of 0 / 0, which give a corpus without any match up to 1e-4.
    """
    *_, written, wanted = total = rows.sum(axis=0)
    correct, guessed = total[:order], total[ORDER : ORDER + order]
    if smoothed:
        found = BLEU.compute_bleu(
            correct.tolist(),
            guessed.tolist(),
            int(written),
            int(wanted),
            smooth_method="exp",
            max_ngram_order=order,
        )
        return found.score / 100
    precision = np.prod((correct + 1e-15) / (guessed + 1e-9)) ** (1 / order)
    ratio = (written + 1e-15) / (wanted + 1e-9)
    return float(precision * min(1.0, math.exp(1 - 1 / ratio)))
