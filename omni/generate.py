"""Sampling: text by beam search with a cache, pictures and speech by integrating a flow.

Several candidates are made of everything; the model's own retrieval vectors help to choose.
Letters: N items, K candidates, L tokens, T patches, P values of a patch.
"""

from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from omni.batch import Part, Tokens, stack
from omni.modality.audio import LogMel, frame_mask
from omni.modality.text import END, PAD, Tokenizer
from omni.network import Fused, Network

MIN_FRAMES = 16
"""shortest speech, in log-mel frames"""
SHORTLIST = 128
"""texts to choose from that are looked at to their ends"""


@torch.no_grad()
def write(
    network: Network,
    tokenizer: Tokenizer,
    fused: Fused,
    language: int,
    candidates: int,
    asked: bool = False,
) -> list[list[int]]:
    """The token ids after the token of the language that suit the source best.

    Beam search finds the `candidates` likeliest. Of these the one is chosen whose log-probability
    and scaled cosine with the source's vector have the largest sum: the decoder's word for it and
    the contrast's. Where something is `asked` the likeliest is: an answer is not what it is about.
    """
    memory = fused.tokens
    languages = torch.full((len(memory.x),), language, device=memory.x.device)
    ids, log_p = _beams(network, memory, languages, candidates)
    if candidates > 1 and not asked:
        flat = tokenizer.reread(ids.flatten(0, 1))
        rows = torch.arange(len(flat), device=flat.device)
        texts = network.fuse(network.encode("text", Part(flat, rows, (flat != PAD).sum(1))))
        cosines = (texts.vector.view(len(ids), candidates, -1) * fused.vector[:, None]).sum(-1)
        log_p = log_p + network.scale * cosines
    return ids[torch.arange(len(ids)), log_p.argmax(1)].tolist()


@torch.no_grad()
def log_likelihood(
    network: Network,
    memory: Tokens,
    which: Int[Tensor, "N"],
    ids: Int[Tensor, "N L"],
    language: Int[Tensor, "N"],
) -> Float[Tensor, "N"]:
    """How likely the text decoder finds texts, padded after their ends: the logarithm.

    `which` of the memories each is about: what is attended to is computed once for each of them.
    """
    decoder, inputs = network.text_decoder, torch.cat([language[:, None], ids[:, :-1]], 1)
    keys = [(k[which], v[which]) for k, v in decoder.keys(memory)]
    x, _ = decoder.hidden(inputs, keys, memory.mask[which])
    rows, places = (ids != PAD).nonzero(as_tuple=True)  # a vocabulary of logits for each of them
    logits, tokens = decoder.head(x[rows, places]).float(), ids[rows, places]
    each = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(1)
    return each.new_zeros(len(ids)).index_add(0, rows, each)


@torch.no_grad()
def choose(
    network: Network, memory: Tokens, choices: Int[Tensor, "C L"], language: int
) -> list[int]:
    """Which of some texts, padded after their ends, is the likeliest for each item.

    By the sum over their tokens, not the mean, of those `SHORTLIST` whose first token is the
    likeliest: as answers are ranked by ALBEF (arXiv:2107.07651, section 5) and BLIP.
    """
    decoder, best = network.text_decoder, []
    languages = torch.full((max(len(memory.x), len(choices)),), language, device=choices.device)
    starts, _ = decoder(languages[: len(memory.x), None], decoder.keys(memory), memory.mask)
    shortlists = starts[:, 0, choices[:, 0]].topk(min(SHORTLIST, len(choices))).indices
    for i, few in enumerate(shortlists):
        own = few.new_full((len(few),), i)
        likely = log_likelihood(network, memory, own, choices[few], languages[: len(few)])
        best.append(int(few[likely.argmax()]))
    return best


def _beams(
    network: Network, memory: Tokens, language: Int[Tensor, "N"], beams: int
) -> tuple[Int[Tensor, "N K L"], Float[Tensor, "N K"]]:
    """The likeliest texts of each item, padded after their ends, and their log-probabilities."""
    decoder, size, device = network.text_decoder, len(language), language.device
    rows = torch.arange(size, device=device).repeat_interleave(beams)
    memory, ids = memory[rows], language[rows, None]
    keys, past = decoder.keys(memory), None
    log_p = torch.full((size, beams), -torch.inf, device=device)
    log_p[:, 0] = 0  # at first all beams of an item are the same
    for _ in range(network.config.text.max_tokens):
        logits, past = decoder(ids[:, -1:], keys, memory.mask, past)
        logits[..., PAD] = -torch.inf
        step = logits[:, -1].float().log_softmax(-1)
        ended = (ids[:, -1] == END) | (ids[:, -1] == PAD)
        if ended.all():
            break
        # What has ended goes on with padding, which costs nothing.
        step[ended] = -torch.inf
        step[ended, PAD] = 0
        vocabulary = step.shape[1]
        log_p, best = (log_p.view(-1, 1) + step).view(size, -1).topk(beams)
        origin = (best // vocabulary + beams * torch.arange(size, device=device)[:, None]).view(-1)
        ids = torch.cat([ids[origin], (best % vocabulary).view(-1, 1)], 1)
        past = [(k[origin], v[origin]) for k, v in past]
    return ids[:, 1:].view(size, beams, -1), log_p


@dataclass(frozen=True)
class Sampling:
    """How pictures and speech are made."""

    steps: int = 10
    guidance: float = 3.0
    candidates: int = 4
    negative: Tokens | None = None
    """what guidance moves away from, [1 M D]; without, it is no source at all"""
    given: "Given | None" = None


@dataclass(frozen=True)
class Given:
    """What is there already of every item: the rest is made to go with it."""

    signal: Tensor
    """a picture [3 S S] or log-mel frames [M F]"""
    kept: Bool[Tensor, "..."]
    """of the same shape: what stays, to the bit"""


@torch.no_grad()
def make(
    network: Network, sense: str, fused: Fused, generators: list[torch.Generator], how: Sampling
) -> tuple[Tensor, Int[Tensor, "N"]]:
    """A picture [N 3 S S] or log-mel frames [N M F] for each item, and how many frames are valid.

    Of several candidates for each item the one is kept whose own vector is nearest to the source's
    (as in DALL-E, arXiv:2102.12092, section 2.6).
    """
    frames, lengths = _sizes(network, sense, fused.tokens, how.given)
    signals, cosines = [], []
    for _ in range(how.candidates):
        patches = sample_flow(network, sense, fused.tokens, lengths, generators, how)
        signals.append(_as_given(network.signal(sense, patches), how.given))
        heard = as_heard(network, sense, signals[-1], frames)
        vector = network.fuse(network.encode_signal(sense, *heard)).vector
        cosines.append((vector * fused.vector).sum(-1))
    best = torch.stack(cosines).argmax(0)
    return torch.stack(signals)[best, torch.arange(len(best))], frames


def as_heard(
    network: Network, sense: str, signal: Tensor, lengths: Int[Tensor, "N"]
) -> tuple[Tensor, Int[Tensor, "N"]]:
    """What `Network.encode_signal` takes of pictures or log-mel frames that a decoder has made."""
    hearing = network.hearing
    if sense == "image" or isinstance(hearing, LogMel):
        return signal, lengths
    return hearing.translate(signal, lengths, network.log_mel)


@torch.no_grad()
def sample_flow(
    network: Network,
    sense: str,
    memory: Tokens,
    lengths: Int[Tensor, "N"],
    generators: list[torch.Generator],
    how: Sampling,
) -> Float[Tensor, "N T P"]:
    """Patches of `lengths` each, drawn by Euler steps from noise (t = 0) to signal (t = 1).

    Classifier-free guidance (arXiv:2207.12598): the prediction without a source, or from the
    negative one, moved `guidance` times the way to the one with it. What is given goes along its
    own straight path, so that the rest can follow it (as in RePaint, arXiv:2201.09865). One
    generator an item, so that what an item becomes does not depend on its neighbours.
    """
    flow, device = network.flow(sense), memory.x.device
    n, size = len(lengths), int(lengths.max())
    shapes = [(int(length), flow.patch_out.out_features) for length in lengths]
    noise = [torch.randn(s, generator=g) for s, g in zip(shapes, generators, strict=True)]
    x = noise = pad_sequence(noise, batch_first=True).to(device)
    mask = frame_mask(lengths, size).repeat(2, 1)
    other = memory if how.negative is None else how.negative[torch.zeros(n, dtype=torch.long)]
    both = stack([memory, other])
    drop = (torch.arange(2 * n, device=device) >= n) & (how.negative is None)
    signal, kept = _given_patches(network, sense, how.given, x)
    times = torch.linspace(0, 1, how.steps + 1).tolist()
    for now, then in pairwise(times):
        time = torch.full((2 * n,), now, device=device)
        clean = flow(x.repeat(2, 1, 1), mask, time, both.x, both.mask, drop)
        clean = torch.lerp(clean[n:], clean[:n], how.guidance)
        x = x + (clean - x) * (then - now) / (1 - now)
        x = torch.where(kept, torch.lerp(noise, signal, then), x)
    return x


def _given_patches(
    network: Network, sense: str, given: Given | None, x: Float[Tensor, "N T P"]
) -> tuple[Tensor, Tensor]:
    """What is given, and where, as patches like `x`; nothing where nothing is."""
    signal, kept = torch.zeros_like(x), torch.zeros_like(x, dtype=torch.bool)
    if given is not None:
        both = (given.signal, given.kept.to(given.signal))
        patches = [network.as_patches(sense, part[None])[:, : x.shape[1]] for part in both]
        count = patches[0].shape[1]
        signal[:, :count], kept[:, :count] = patches[0], patches[1] > 0
    return signal, kept


def _as_given(signals: Tensor, given: Given | None) -> Tensor:
    """The signals with what is given in its place, to the bit."""
    if given is None:
        return signals
    size = min(signals.shape[-1], given.signal.shape[-1])
    signals = signals.clone()
    signals[..., :size] = torch.where(
        given.kept[..., :size], given.signal[..., :size], signals[..., :size]
    )
    return signals


def _sizes(
    network: Network, sense: str, memory: Tokens, given: Given | None
) -> tuple[Int[Tensor, "N"], Int[Tensor, "N"]]:
    """Log-mel frames that speech for each item takes (for pictures, 1), and patches."""
    config, size, device = network.config, len(memory.x), memory.x.device
    if sense == "image":
        count = len(network.flow("image").positions)
        return torch.ones(size, device=device).long(), torch.full((size,), count, device=device)
    predicted = network.num_frames(memory).exp().round().long()
    least = MIN_FRAMES if given is None else max(MIN_FRAMES, given.signal.shape[1])
    frames = predicted.clamp(min(least, config.audio.max_frames), config.audio.max_frames)
    return frames, (frames + config.audio.patch - 1) // config.audio.patch
