"""Pictures: uint8 pixels to tokens by any timm model, and patches for the decoder.

Letters: N pictures, H = W = S pixels, T tokens, P values of a patch, D width.
"""

import math
from typing import Any

import timm
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from torchvision.transforms.v2 import functional as tv

from omni.batch import Tokens
from omni.config import ImageConfig
from omni.nn.draws import Draws, Purpose
from omni.nn.transformer import Gist, Projection


def fit(pixels: UInt8[Tensor, "3 H W"], size: int) -> UInt8[Tensor, "3 S S"]:
    """The whole picture on a white square of `size`: never cropped, never stretched."""
    _, height, width = pixels.shape
    if (side := max(height, width)) != size:
        height, width = (max(1, round(extent * size / side)) for extent in (height, width))
        pixels = tv.resize(pixels, [height, width], antialias=True)
    if height != width:
        left, top = (size - width) // 2, (size - height) // 2
        pixels = tv.pad(pixels, [left, top, size - width - left, size - height - top], fill=255)
    return pixels


def normalize(pixels: UInt8[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 H W"]:
    """0 ... 255 to -1 ... 1; white is 1."""
    return pixels.float().div_(127.5).sub_(1)  # in place: fresh memory costs more than the sum


def to_pil(pixels: Float[Tensor, "3 H W"]) -> Image.Image:
    """The inverse of `normalize`, clipped."""
    levels = ((pixels.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return Image.fromarray(levels.permute(1, 2, 0).cpu().numpy())


def patchify(pixels: Float[Tensor, "N 3 H W"], patch: int) -> Float[Tensor, "N T P"]:
    """Rows of patches, each flattened."""
    return rearrange(pixels, "n c (h p) (w q) -> n (h w) (p q c)", p=patch, q=patch)


def unpatchify(patches: Float[Tensor, "N T P"], patch: int) -> Float[Tensor, "N 3 H W"]:
    """The inverse of `patchify` for a square picture."""
    side = math.isqrt(patches.shape[1])
    return rearrange(patches, "n (h w) (p q c) -> n c (h p) (w q)", h=side, p=patch, q=patch, c=3)


def augment(pixels: Float[Tensor, "N 3 H W"], keys: Int[Tensor, "N"]) -> Float[Tensor, "N 3 H W"]:
    """Random turn, scale, shift, colour and an erased box, fixed by the key of each picture."""
    size, device = pixels.shape[-1], pixels.device
    draws = Draws(keys, Purpose.IMAGE_AUGMENTATION)
    uniform = draws.uniform

    angle, scale, aspect = uniform(-0.35, 0.35), uniform(0.85, 1.4), uniform(-0.15, 0.15).exp()
    shift = uniform(-0.12, 0.12, 2)
    cos, sin = scale * angle.cos(), scale * angle.sin()
    rows = [
        torch.stack([cos * aspect, -sin, shift[:, 0]], -1),
        torch.stack([sin * aspect, cos, shift[:, 1]], -1),
    ]
    grid = F.affine_grid(torch.stack(rows, 1), list(pixels.shape), align_corners=False)
    # What comes into view from outside is white, like the paper of the rest.
    x = F.grid_sample(pixels - 1, grid, align_corners=False) + 1

    # Colour: a random 3x3 mix near the identity turns hues, a blend with grey fades them.
    eye = torch.eye(3, device=device)
    mix = eye + 0.15 * draws.noise(3, 3)
    mix = mix / mix.sum(-1, keepdim=True)  # keeps white white
    fade = uniform(-0.3, 1.0).clamp(min=0)[:, None, None]
    mix = torch.lerp(mix, torch.full_like(mix, 1 / 3), fade)
    x = torch.einsum("nij,njhw->nihw", mix, x - 1) * uniform(0.6, 1.3, 1, 1, 1) + 1

    edge = torch.linspace(-1, 1, size, device=device)
    centre, half = uniform(-1, 1, 2), uniform(0.0, 0.45, 2)
    inside = (edge - centre[..., None]).abs() < half[..., None]
    box = inside[:, 0, :, None] & inside[:, 1, None, :] & (uniform(0, 1, 1, 1) < 0.5)
    return torch.where(box[:, None], uniform(-1, 1, 3, 1, 1), x).clamp(-1, 1)


class ImageEncoder(nn.Module):
    """Any timm model that gives feature maps; the last one, row by row, is the sequence."""

    def __init__(self, config: ImageConfig, width: int, gist_dim: int) -> None:
        super().__init__()
        backbone: Any = timm.create_model(config.encoder, features_only=True, out_indices=(-1,))
        self.backbone = backbone
        channels = backbone.feature_info.channels()[-1]
        self.project = Projection(channels, width)
        self.gist = Gist(channels, gist_dim) if config.pretrained and gist_dim else None
        self.colours: Any = timm.get_pretrained_cfg(config.encoder) if config.pretrained else None
        """with `mean` and `std` of the colours in 0 ... 1 that pretrained weights are used to"""
        self.cell: int = backbone.feature_info.reduction()[-1]
        """side of the square that a token stands for, in pixels"""

    def forward(self, pixels: Float[Tensor, "N 3 S S"]) -> Tokens:
        """Tokens of normalised pictures; all are present."""
        if self.colours:
            pixels = tv.normalize(pixels / 2 + 0.5, [*self.colours.mean], [*self.colours.std])
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        features = self.backbone(pixels)[-1]
        x = self.project(rearrange(features, "n c h w -> n (h w) c"))
        gist = self.gist and self.gist(features.float().mean((2, 3)))
        return Tokens(x, x.new_ones(x.shape[:2], dtype=torch.bool), gist)

    def start_from(self, name: str, pretrained: str) -> None:
        """Takes over weights of the timm model `name`: of a file, or those that timm downloads.

        Raises `ValueError` where they are not of that model.
        """
        if pretrained == "timm":
            found = timm.create_model(name, pretrained=True).state_dict()
        else:
            try:
                found = load_file(pretrained)
            except (OSError, SafetensorError) as error:
                raise ValueError(
                    f"model.image.pretrained: {pretrained} is no file of safetensors: {error}"
                ) from error
        expected = self.backbone.state_dict()
        for key, tensor in expected.items():
            there = tuple(found[key].shape) if key in found else "nothing"
            if there != tuple(tensor.shape):
                raise ValueError(
                    f"model.image.pretrained: {pretrained} is not of {name}: {key!r} must be "
                    f"{tuple(tensor.shape)}, is {there}"
                )
        self.backbone.load_state_dict({key: found[key] for key in expected})
