"""The verbs on plain objects: embed, retrieve, generate, answer.

Preprocessing, tokenizer, device, evaluation mode and normalising are the model's business.
"""

import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from omni import chunks, pretrained
from omni import generate as sampling
from omni import keep as parts
from omni.batch import SENSES, Sample, Tokens, stack
from omni.config import Config
from omni.encoding import Encoding
from omni.items import Audio, Item
from omni.keep import Keep
from omni.known import WEIGHT, Known
from omni.learned import Learned
from omni.modality.image import to_pil
from omni.modality.text import Tokenizer
from omni.modality.tower import TextTower
from omni.modality.vocoder import Vocoder
from omni.network import Fused, Network

PAIRS = 256
"""pairs that are looked at once when re-ranking"""
LIKELIHOOD = 0.25
"""weight of the decoder's word beside the contrast's (docs/log.md has others)"""
GAIN = 1.0
"""the same of what it says beyond what it says of anything"""


def load(
    name: str | Path | None = None, device: str = "auto", vocoder: str | Path | None = None
) -> "Omni":
    """A model by run, folder or hub name; by default $OMNI_MODEL or else runs/demo.

    `vocoder`: a SpeechT5HifiGan by folder or hub name, which makes sound in place of Griffin-Lim.
    """
    folder = pretrained.find(name or default())
    network, tokenizer, config = pretrained.load(folder)
    learned = Learned.load(folder / pretrained.WEIGHTS)
    speaker = Vocoder(vocoder, network.config.audio) if vocoder else None
    return Omni(network, tokenizer, config, device, speaker, learned)


def default() -> str:
    """The model where none is named."""
    return os.environ.get("OMNI_MODEL", "runs/demo")


class Omni(Encoding):
    """A model ready for use; every method takes one item or a list and answers in kind."""

    senses: frozenset[str] = frozenset(SENSES)

    def __init__(
        self,
        network: Network,
        tokenizer: Tokenizer,
        config: Config,
        device: str = "auto",
        vocoder: Vocoder | None = None,
        learned: Learned | None = None,
    ) -> None:
        super().__init__(network, tokenizer, config, device)
        self.learned = learned or Learned()
        self.vocoder = vocoder and vocoder.to(self.device)
        self.invert: Callable[[Tensor], Tensor] = self.vocoder or network.log_mel.invert

    def untrained(self, seed: int = 0) -> "Omni":
        """The same architecture with fresh weights: the control of every measurement."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(self.config.model, self.tokenizer)
        if isinstance(texts := network.encoders["text"], TextTower):
            texts.learn_letters(self.tokenizer)
        return Omni(network, self.tokenizer, self.config, str(self.device), self.vocoder)

    def embed(self, items: Item | list[Item]) -> Float[Tensor, "N E"]:
        """Unit vectors of one space; the cosine of two is their dot product. On the CPU."""
        samples = self._samples(items)
        return torch.stack(self._each(samples, lambda fused, _: list(fused.vector.cpu())))

    def match(self, items: Item | list[Item]) -> Float[Tensor, "N 5"]:
        """What belongs together in items of two or three senses: the probabilities of `CLASSES`."""
        samples = self._samples(items)

        def look(tokens: dict[str, Tokens], _: list[int]) -> list[Tensor]:
            alone = {sense: self.network.fuse(part) for sense, part in tokens.items()}
            return list(self.network.match(alone).cpu())

        return torch.stack(self._batched(samples, look)).softmax(-1)

    def know(self, pairs: Sequence[tuple[Item, Item]], weight: float = WEIGHT) -> Known:
        """Things that belong together, query and item, by which to `retrieve` others."""
        first, second = (self.embed([*things]) for things in zip(*pairs, strict=True))
        return Known(first, second, self.network.scale.item(), weight)

    def retrieve(
        self,
        query: Item,
        gallery: list[Item] | Float[Tensor, "G E"],
        k: int = 5,
        rerank: int = 0,
        known: Known | None = None,
    ) -> list[tuple[int, float]]:
        """The `k` best of a gallery (items, or vectors from `embed`): pairs of index and cosine.

        What is `known` of such things is added to the cosines; the `rerank` best are looked at
        again (see `rerank`). Raises `ValueError` where the gallery of these is vectors, and for
        counts that are none.
        """
        if k < 1 or rerank < 0:
            raise ValueError(f"k must be at least 1 and rerank at least 0, got {k} and {rerank}")
        if rerank and isinstance(gallery, Tensor):
            raise ValueError("to be looked at again a gallery must be items, got vectors")
        vectors = gallery if isinstance(gallery, Tensor) else self.embed(gallery)
        asked = self.embed(query)[:1]
        scores = (asked @ vectors.T)[0]
        if known is not None:
            scores += known.compare(asked, vectors)[0]
        best = scores.topk(min(max(k, rerank), len(scores)))
        indices, scores = best.indices, best.values
        if rerank and not isinstance(gallery, Tensor):
            few, places = [gallery[i] for i in indices.tolist()], torch.arange(len(indices))
            scores = self.rerank([query], few, places[None], scores[None])[0]
            scores, order = scores.sort(descending=True)
            indices = indices[order]
        return list(zip(indices[:k].tolist(), scores[:k].tolist(), strict=True))

    def rerank(
        self,
        queries: Sequence[Item],
        gallery: Sequence[Item],
        candidates: Int[Tensor, "Q K"],
        cosines: Float[Tensor, "Q K"],
        language: str = "en",
        bank: Sequence[Item] = (),
    ) -> Float[Tensor, "Q K"]:
        """Scores of some items of a gallery for each query, from its cosines and a closer look.

        The text decoder says how likely the text of one is for the other; the logarithm, with a
        weight of `LIKELIHOOD` and in units of the inverse temperature, is added to the cosine.
        Some texts are likely whatever is seen or heard: with a `bank` of other queries only what is
        likelier of a candidate than it is on average for these counts, with a weight of `GAIN`
        (a bank of queries as in arXiv:2112.12777, for pointwise information).
        Each item is encoded once. Raises `ValueError` unless of a candidate and what asks for it
        one and not both holds a text.
        """
        samples = self._samples([*queries, *gallery, *bank])
        memories = self._memories(samples)
        ids = [None if sample.text is None else self._ids(sample.text) for sample in samples]
        pairs = [(q, len(queries) + g) for q, row in enumerate(candidates.tolist()) for g in row]
        code, weight = self.tokenizer.language(language), LIKELIHOOD
        log_p = self._log_likelihood(pairs, memories, ids, code)
        if bank:
            looked_at, place = torch.tensor([g for _, g in pairs]).unique(return_inverse=True)
            others = range(len(queries) + len(gallery), len(samples))
            asked = [(b, g) for g in looked_at.tolist() for b in others]
            usual = self._log_likelihood(asked, memories, ids, code).view(-1, len(bank))
            log_p -= (usual.logsumexp(1) - math.log(len(bank)))[place]
            weight = GAIN
        return cosines + weight * log_p.view(cosines.shape) / self.network.scale.item()

    def _log_likelihood(
        self,
        pairs: list[tuple[int, int]],
        memories: Sequence[Tokens | None],
        texts: Sequence[Int[Tensor, "L"] | None],
        code: int,
    ) -> Float[Tensor, "P"]:
        """How likely the text of one of two items is for the other: the logarithm."""
        for a, b in pairs:
            if (texts[a] is None) == (texts[b] is None):
                told = "of a candidate and what asks for it one must hold a text to be re-ranked"
                raise ValueError(f"{told}; {'neither does' if texts[a] is None else 'both do'}")
        pairs = [(a, b) if texts[a] is None else (b, a) for a, b in pairs]
        written = [ids for _, text in pairs if (ids := texts[text]) is not None]
        order = torch.tensor([len(ids) for ids in written]).argsort(stable=True)  # little padding

        def score(some: Tensor) -> Tensor:
            chosen = some.tolist()
            used, which = torch.tensor([pairs[i][0] for i in chosen]).unique(return_inverse=True)
            memory = stack([tokens for m in used.tolist() if (tokens := memories[m]) is not None])
            ids = pad_sequence([written[i] for i in chosen], batch_first=True).to(self.device)
            inputs = which.to(self.device), ids, torch.full_like(ids[:, 0], code)
            with self._half():
                return sampling.log_likelihood(self.network, memory, *inputs).cpu()

        return torch.cat([*self.spread(score, order.split(PAIRS))])[order.argsort()]

    def generate(
        self,
        items: Item | list[Item],
        to: str,
        *,
        seed: int = 0,
        steps: int = 10,
        guidance: float = 3.0,
        candidates: int = 4,
        negative: Item | None = None,
        keep: Keep | None = None,
        direct: bool = False,
        language: str = "en",
    ) -> Any:
        """Text, pictures or speech from any senses.

        `to` is "text", "image" or "audio"; `steps` and `guidance` shape pictures and speech, as do
        `negative`, which guidance moves away from, and `keep`, whose pixels or samples come back
        bit for bit; `language` shapes text. Of `candidates` made for each item the one is taken
        that the model's own vectors find the best (see `omni.generate`). A picture or speech of
        what comes without text is made from the text that the model writes of it, as in a chain
        of modalities (SpeechGPT, arXiv:2305.11000); with `direct` it is made from the source
        itself. What is written of a source with text answers it. Long recordings are written down
        and long texts spoken in pieces, and of a silent recording nothing is written. Item i is
        drawn from (seed, i). Raises `ValueError`.
        """
        _check(to, {"steps": steps, "candidates": candidates})
        if to == "text" and (negative is not None or keep is not None):
            raise ValueError("negative and keep shape pictures and speech; to is 'text'")
        pieces = self._pieces(items, to if keep is None else "")
        flat = [piece for some in pieces for piece in some]
        samples = self._samples(flat)
        silent = {i for i, piece in enumerate(flat) if chunks.is_silent(piece)}
        seeds = chunks.seeds(pieces, seed * 1_000_003)
        code = self.tokenizer.language(language)
        self._check_learned(to, language, samples)
        given = None if keep is None else parts.given(keep, to, self.network)

        def write(fused: Fused, indices: list[int]) -> list[str]:
            asked = to == "text" and samples[indices[0]].text is not None
            rows = sampling.write(self.network, self.tokenizer, fused, code, candidates, asked)
            return [*map(self.tokenizer.decode, rows)]

        def make(fused: Fused, indices: list[int]) -> list[Any]:
            return self._make(to, fused, [seeds[i] for i in indices], how, keep)

        with self._half():
            against = self._against(negative)
            how = sampling.Sampling(steps, guidance, candidates, against, given)
            if to != "text" and not direct:
                samples = self._worded(samples, silent, write)
            results = self._each(samples, write if to == "text" else make)
        if to == "text":
            results = ["" if i in silent else text for i, text in enumerate(results)]
        made = iter(results)
        whole = [chunks.join([next(made) for _ in some]) for some in pieces]
        return whole if isinstance(items, list) else whole[0]

    def answer(
        self, items: Item | list[Item], choices: list[str] | None = None, language: str = "en"
    ) -> Any:
        """The answer to the question that each item holds as its text, such as (picture, "why?").

        What `generate` writes, or the likeliest of some `choices` (`omni.generate.choose`). Raises
        `ValueError` for an item that asks nothing, for no choices, and where the model never
        learned answers.
        """
        self.learned.check_answers()
        samples, code = self._samples(items), self.tokenizer.language(language)
        if any(sample.text is None for sample in samples):
            raise ValueError("an item must hold a text, the question, to be answered; one does not")
        if choices is None:
            return self.generate(items, to="text", language=language)
        if not choices:
            raise ValueError("choices must hold at least one text, got none")
        ids = pad_sequence([*map(self._ids, choices)], batch_first=True).to(self.device)
        with self._half():
            best = self._each(
                samples, lambda fused, _: sampling.choose(self.network, fused.tokens, ids, code)
            )
        answers = [choices[i] for i in best]
        return answers if isinstance(items, list) else answers[0]

    def _against(self, negative: Item | None) -> Tokens | None:
        """Return what guidance moves away from."""
        if negative is None:
            return None
        (tokens,) = self._each(self._samples(negative), lambda fused, _: [fused.tokens])
        return tokens

    def _check_learned(self, to: str, language: str, samples: list[Sample]) -> None:
        """Raise `ValueError` for what the model was not trained for."""
        self.learned.check_makes(to)
        if to == "text":
            self.learned.check_language(language)
            # A text beside a picture or a recording asks about it; alone it is translated.
            asked = [sample for sample in samples if sample.text is not None]
            if any(s.image is not None or s.audio is not None for s in asked):
                self.learned.check_answers()

    def _make(
        self, to: str, fused: Fused, seeds: list[int], how: sampling.Sampling, keep: Keep | None
    ) -> list[Any]:
        """Return a picture or a recording of each source, drawn from a seed of its own."""
        generators = [torch.Generator().manual_seed(seed) for seed in seeds]
        signals, frames = sampling.make(self.network, to, fused, generators, how)
        if to == "image":
            return [to_pil(pixels) for pixels in signals]
        mels = [mel[:, :n] for mel, n in zip(signals, frames.tolist(), strict=True)]
        rate = self.config.model.audio.sample_rate
        sounds = [Audio(self.invert(mel).cpu().numpy(), rate) for mel in mels]
        return sounds if keep is None else [parts.restore(sound, keep) for sound in sounds]

    def _worded(self, samples: list[Sample], silent: set[int], write: Callable) -> list[Sample]:
        """The same, with texts in the place of those that have none; of silence, an empty one."""
        wordless = [i for i, sample in enumerate(samples) if sample.text is None]
        words = self._each([samples[i] for i in wordless], write)
        texts = {
            i: Sample("query", text="" if i in silent else text)
            for i, text in zip(wordless, words, strict=True)
        }
        return [texts.get(i, sample) for i, sample in enumerate(samples)]

    def _pieces(self, items: Item | list[Item], to: str) -> list[list[Item]]:
        """Each item as it is, or in pieces where it is too long to be written down or spoken."""
        several = self._items(items)
        return [chunks.split(item, to, self.config.model, self.tokenizer) for item in several]


def _check(to: str, counts: dict[str, int]) -> None:
    """Raises `ValueError` for an unknown sense, or a number that is none of something."""
    if to not in SENSES:
        raise ValueError(f"to must be one of {', '.join(SENSES)}; got {to!r}")
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
