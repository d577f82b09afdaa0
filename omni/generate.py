"""Sampling: text token by token with a cache, pictures and speech by integrating a flow.

Letters: N items, T patches, P values of a patch.
"""

from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from omni.batch import Tokens
from omni.modality.audio import frame_mask
from omni.modality.text import END
from omni.network import Network

MIN_FRAMES = 16
"""shortest speech, in log-mel frames"""


@torch.no_grad()
def write(network: Network, memory: Tokens, language: Int[Tensor, "N"]) -> list[list[int]]:
    """The most probable token ids after the token of the language, greedily, to the end."""
    decoder = network.text_decoder
    keys, past = decoder.keys(memory), None
    token, written = language[:, None], []
    done = torch.zeros(len(language), dtype=torch.bool, device=language.device)
    for _ in range(network.config.text.max_tokens):
        logits, past = decoder(token, keys, memory.mask, past)
        token = logits[:, -1:].argmax(-1)
        written.append(token[:, 0])
        done |= token[:, 0] == END
        if done.all():
            break
    return torch.stack(written, 1).tolist()


@torch.no_grad()
def sample_flow(
    network: Network,
    sense: str,
    memory: Tokens,
    lengths: Int[Tensor, "N"],
    generators: list[torch.Generator],
    steps: int,
    guidance: float,
) -> Float[Tensor, "N T P"]:
    """Patches of `lengths` each, drawn by Euler steps from noise (t = 0) to signal (t = 1).

    Classifier-free guidance (arXiv:2207.12598): the prediction without a source, moved
    `guidance` times the way to the one with it. One generator an item, so that what an item
    becomes does not depend on its neighbours.
    """
    flow, device = network.flow(sense), memory.x.device
    size = int(lengths.max())
    patch_dim = flow.patch_out.out_features
    x = torch.stack(
        [_noise(g, int(n), size, patch_dim) for g, n in zip(generators, lengths, strict=True)]
    )
    x, n = x.to(device), len(x)
    mask = frame_mask(lengths, size).repeat(2, 1)
    positions = network.positions(sense, size)
    both = Tokens(memory.x.repeat(2, 1, 1), memory.mask.repeat(2, 1))
    drop = torch.arange(2 * n, device=device) >= n
    times = torch.linspace(0, 1, steps + 1).tolist()
    for now, then in pairwise(times):
        time = torch.full((2 * n,), now, device=device)
        clean = flow(x.repeat(2, 1, 1), mask, time, positions, both.x, both.mask, drop)
        clean = torch.lerp(clean[n:], clean[:n], guidance)
        x = x + (clean - x) * (then - now) / (1 - now)
    return x


def _noise(generator: torch.Generator, length: int, size: int, patch_dim: int) -> Tensor:
    noise = torch.randn(length, patch_dim, generator=generator)
    return F.pad(noise, (0, 0, 0, size - length))


@torch.no_grad()
def predict_lengths(network: Network, memory: Tokens) -> Int[Tensor, "N"]:
    """Number of log-mel frames that speech for each item takes."""
    longest = network.config.audio.max_frames
    return network.num_frames(memory).exp().round().long().clamp(MIN_FRAMES, longest)
