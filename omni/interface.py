"""The three verbs on plain objects: embed, retrieve, generate.

Preprocessing, tokenizer, device, evaluation mode and normalising are the model's business.
"""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from omni import chunks, pretrained
from omni import generate as sampling
from omni import keep as parts
from omni.batch import SENSES, Sample, Tokens
from omni.config import Config
from omni.items import Audio, Item, to_sample
from omni.keep import Keep
from omni.modality.image import to_pil
from omni.modality.text import Tokenizer
from omni.modality.vocoder import Vocoder
from omni.network import Fused, Network, stack
from omni.pipeline.collate import collate

CHUNK = 64
"""items that go through the network at once"""
PAIRS = 256
"""pairs that are looked at once when re-ranking"""
LIKELIHOOD = 0.25
"""weight of the decoder's word beside the contrast's (docs/log.md has others)"""


def load(
    name: str | Path | None = None, device: str = "auto", vocoder: str | Path | None = None
) -> "Omni":
    """A model by run, folder or hub name; by default $OMNI_MODEL or else runs/demo.

    `vocoder`: a SpeechT5HifiGan by folder or hub name, which makes sound in place of Griffin-Lim.
    """
    found = pretrained.load(name or os.environ.get("OMNI_MODEL", "runs/demo"))
    return Omni(*found, device, Vocoder(vocoder, found[0].config.audio) if vocoder else None)


def pick_device(name: str) -> torch.device:
    """A device by name; "auto" is the GPU if there is one."""
    return torch.device(
        ("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name
    )


class Omni:
    """A model ready for use; every method takes one item or a list and answers in kind."""

    def __init__(
        self,
        network: Network,
        tokenizer: Tokenizer,
        config: Config,
        device: str = "auto",
        vocoder: Vocoder | None = None,
    ) -> None:
        self.device = pick_device(device)
        self.vocoder = vocoder and vocoder.to(self.device)
        self.network = network.to(self.device).eval()
        self.invert: Callable[[Tensor], Tensor] = self.vocoder or network.log_mel.invert
        self.tokenizer, self.config = tokenizer, config

    def untrained(self, seed: int = 0) -> "Omni":
        """The same architecture with fresh weights: the control of every measurement."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = Network(self.config.model, self.tokenizer.vocab_size)
        return Omni(network, self.tokenizer, self.config, str(self.device), self.vocoder)

    def embed(self, items: Item | list[Item]) -> Float[Tensor, "N E"]:
        """Unit vectors of one space; the cosine of two is their dot product. On the CPU."""
        samples = self._samples(items)
        return torch.stack(self._each(samples, lambda fused, _: list(fused.vector.cpu())))

    def match(self, items: Item | list[Item]) -> Float[Tensor, "N 5"]:
        """What belongs together in items of two or three senses: the probabilities of `CLASSES`."""
        samples = self._samples(items)
        rows = self._batched(samples, lambda tokens, _: list(self.network.match(tokens).cpu()))
        return torch.stack(rows).softmax(-1)

    def retrieve(
        self, query: Item, gallery: list[Item] | Float[Tensor, "G E"], k: int = 5, rerank: int = 0
    ) -> list[tuple[int, float]]:
        """The `k` best of a gallery (items, or vectors from `embed`): pairs of index and cosine.

        The `rerank` best are looked at again (see `rerank`). Raises `ValueError` where that is
        asked for and the gallery is vectors.
        """
        if rerank and isinstance(gallery, Tensor):
            raise ValueError("to be looked at again a gallery must be items, got vectors")
        vectors = gallery if isinstance(gallery, Tensor) else self.embed(gallery)
        scores = vectors @ self.embed(query)[0]
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
        queries: list[Item],
        gallery: list[Item],
        candidates: Int[Tensor, "Q K"],
        cosines: Float[Tensor, "Q K"],
        language: str = "en",
    ) -> Float[Tensor, "Q K"]:
        """Scores of some items of a gallery for each query, from its cosines and a closer look.

        The text decoder says how likely the text of one is for the other; the logarithm, with a
        weight of `LIKELIHOOD` and in units of the inverse temperature, is added to the cosine.
        Each item is encoded once. Raises `ValueError` unless either query or candidate, and not
        both, holds a text.
        """
        sides = self._samples(queries), self._samples(gallery)
        code = self.tokenizer.language(language)
        memories, texts = [self._memories(side) for side in sides], [*map(self._ids, sides)]
        pairs = [(q, g) for q, row in enumerate(candidates.tolist()) for g in row]
        if both := [(q, g) for q, g in pairs if (texts[0][q] is None) == (texts[1][g] is None)]:
            has = "neither does" if texts[0][both[0][0]] is None else "both do"
            raise ValueError(f"either query or candidate must hold a text to be re-ranked; {has}")
        found = []
        for start in range(0, len(pairs), PAIRS):
            some = pairs[start : start + PAIRS]
            memory = [m for q, g in some for m in (memories[0][q], memories[1][g]) if m is not None]
            ids = [t for q, g in some for t in (texts[0][q], texts[1][g]) if t is not None]
            inputs = stack(memory), pad_sequence(ids, batch_first=True).to(self.device)
            languages = torch.full((len(some),), code, device=self.device)
            with self._half():
                found.append(sampling.log_likelihood(self.network, *inputs, languages))
        log_p = torch.cat(found).cpu().view(cosines.shape)
        return cosines + LIKELIHOOD * log_p / self.network.scale.item()

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
        itself. Long recordings are written down, and long texts spoken, in pieces (`omni.chunks`).
        Item i of a list is drawn from (seed, i). Raises `ValueError` for a value out of range.
        """
        _check(to, {"steps": steps, "candidates": candidates})
        if to == "text" and (negative is not None or keep is not None):
            raise ValueError("negative and keep shape pictures and speech; to is 'text'")
        pieces = self._pieces(items, to if keep is None else "")
        samples = self._samples([piece for some in pieces for piece in some])
        seeds = chunks.seeds(pieces, seed * 1_000_003)
        code = self.tokenizer.language(language)
        given = None if keep is None else parts.given(keep, to, self.network)

        def write(fused: Fused, indices: list[int]) -> list[str]:
            languages = torch.full((len(indices),), code, device=self.device)
            rows = sampling.write(self.network, fused, languages, candidates)
            return [*map(self.tokenizer.decode, rows)]

        def make(fused: Fused, indices: list[int]) -> list[Any]:
            generators = [torch.Generator().manual_seed(seeds[i]) for i in indices]
            signals, frames = sampling.make(self.network, to, fused, generators, how)
            if to == "image":
                return [to_pil(pixels) for pixels in signals]
            mels = [mel[:, :n] for mel, n in zip(signals, frames.tolist(), strict=True)]
            rate = self.config.model.audio.sample_rate
            sounds = [Audio(self.invert(mel).cpu().numpy(), rate) for mel in mels]
            return sounds if keep is None else [parts.restore(sound, keep) for sound in sounds]

        with self._half():
            against = None
            if negative is not None:
                (against,) = self._each(self._samples(negative), lambda fused, _: [fused.tokens])
            how = sampling.Sampling(steps, guidance, candidates, against, given)
            if to != "text" and not direct:
                samples = self._worded(samples, write)
            made = iter(self._each(samples, write if to == "text" else make))
        whole = [chunks.join([next(made) for _ in some]) for some in pieces]
        return whole if isinstance(items, list) else whole[0]

    def _worded(self, samples: list[Sample], write: Callable) -> list[Sample]:
        """The same, with texts in the place of those that have none."""
        wordless = [i for i, sample in enumerate(samples) if sample.text is None]
        words = self._each([samples[i] for i in wordless], write)
        texts = {i: Sample("query", text=text) for i, text in zip(wordless, words, strict=True)}
        return [texts.get(i, sample) for i, sample in enumerate(samples)]

    def _pieces(self, items: Item | list[Item], to: str) -> list[list[Item]]:
        """Each item as it is, or in pieces where it is too long to be written down or spoken."""
        several = items if isinstance(items, list) else [items]
        return [chunks.split(item, to, self.config.model, self.tokenizer) for item in several]

    def _half(self) -> torch.autocast:
        """What the decoders run in: the precision of the training."""
        half = self.config.train.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half)

    def _each(self, samples: list[Sample], make: Callable[[Fused, list[int]], list]) -> list:
        """What is made of each sample, and of its number; answers in their order."""
        return self._batched(samples, lambda t, some: make(self.network.fuse(*t.values()), some))

    def _memories(self, samples: list[Sample]) -> list[Tokens | None]:
        """What the text decoder sees of samples that hold no text, each a batch of one."""
        wordless = [i for i, sample in enumerate(samples) if sample.text is None]

        def apart(fused: Fused, indices: list[int]) -> list[Tokens]:
            return [fused.tokens[i : i + 1] for i in range(len(indices))]

        found: list[Tokens | None] = [None] * len(samples)
        for i, tokens in zip(
            wordless, self._each([samples[i] for i in wordless], apart), strict=True
        ):
            found[i] = tokens
        return found

    def _ids(self, samples: list[Sample]) -> list[Tensor | None]:
        """The token ids of samples that hold a text."""
        size = self.config.model.text.max_tokens
        texts = [sample.text for sample in samples]
        return [None if t is None else torch.tensor(self.tokenizer.encode(t, size)) for t in texts]

    @torch.no_grad()
    def _batched(
        self, samples: list[Sample], make: Callable[[dict[str, Tokens], list[int]], list]
    ) -> list:
        """Runs samples of the same senses, and as many frames, through the encoders together."""
        groups: dict[tuple[tuple[str, ...], int], list[int]] = {}
        for index, sample in enumerate(samples):
            senses = tuple(s for s in sorted(SENSES) if getattr(sample, s) is not None)
            groups.setdefault((senses, num_frames(sample)), []).append(index)
        answers: dict[int, Any] = {}
        for (senses, frames), members in groups.items():
            for some in torch.tensor(members).split(max(1, CHUNK // frames)):
                indices = some.tolist()
                chosen = [samples[i] for i in indices]
                tokens = {s: self._encode(s, chosen, frames) for s in senses}
                answers.update(zip(indices, make(tokens, indices), strict=True))
        return [answers[index] for index in range(len(samples))]

    def _encode(self, sense: str, samples: list[Sample], frames: int) -> Tokens:
        """The tokens of samples that have a sense, of pictures so many each."""
        content = [getattr(sample, sense) for sample in samples]
        if sense == "image":
            content = [frame for x in content for frame in x.view(-1, *x.shape[-3:])]
        alone = [Sample("query", **{sense: one}) for one in content]
        batch = collate(alone, self.tokenizer, self.config.model)
        part = batch.to(self.device).parts[sense]
        if sense == "image" and frames > 1:
            return self.network.encode_frames(part, frames)
        return self.network.encode(sense, part)

    def _samples(self, items: Item | list[Item]) -> list[Sample]:
        if isinstance(items, list) and not items:
            raise ValueError("items must not be an empty list")
        rate, items = (
            self.config.model.audio.sample_rate,
            items if isinstance(items, list) else [items],
        )
        return [to_sample(item, rate) for item in items]


def num_frames(sample: Sample) -> int:
    """Of its video; 1 where it has a picture or none."""
    return 1 if sample.image is None or sample.image.ndim == 3 else len(sample.image)


def _check(to: str, counts: dict[str, int]) -> None:
    """Raises `ValueError` for an unknown sense, or a number that is none of something."""
    if to not in SENSES:
        raise ValueError(f"to must be one of {', '.join(SENSES)}; got {to!r}")
    for name, value in counts.items():
        if value < 1:
            raise ValueError(f"{name} must be at least 1, got {value}")
