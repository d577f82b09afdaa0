"""Pictures: uint8 pixels to tokens by any timm model, and patches for the decoder.

Letters: N pictures, H = W = S pixels, T tokens, P values of a patch, D width.
"""

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import timm
import torch
import torch.nn.functional as F
from einops import rearrange
from jaxtyping import Float, Int, UInt8
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file
from timm.layers import Format
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torchvision.transforms.v2 import functional as tv

from omni.batch import Tokens
from omni.config import ImageConfig
from omni.modality.encoder import one_line
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
    """Any timm model that gives feature maps; the last one, row by row, is the sequence.

    Raises `ValueError` for a name that timm does not know, and for a model that has no feature maps
    or does not read pictures of this size.
    """

    def __init__(self, config: ImageConfig, width: int, gist_dim: int) -> None:
        super().__init__()
        self.backbone, self.options, features = build_backbone(config)
        """the timm model, what it was built with, and what it makes of a picture [1 C h w]"""
        self.has_channels_last = channels_last(self.backbone)
        _, channels, side, _ = features.shape
        self.project = Projection(channels, width)
        self.gist = Gist(channels, gist_dim) if config.pretrained and gist_dim else None
        self.colours: Any = timm.get_pretrained_cfg(config.encoder) if config.pretrained else None
        """with `mean` and `std` of the colours in 0 ... 1 that pretrained weights are used to"""
        self.side: int = side
        """tokens in a row"""
        reduction = self.backbone.feature_info.reduction()[-1]
        fits = -(-config.size // reduction) == side
        self.cell: int = reduction if fits else -(-config.size // side)
        """side of the square that a token stands for, in pixels"""
        self.lone_norms = find_lone_norms(self.backbone, config.size)

    def forward(self, pixels: Float[Tensor, "N 3 S S"]) -> Tokens:
        """Tokens of normalised pictures; all are present."""
        if self.colours:
            pixels = tv.normalize(pixels / 2 + 0.5, [*self.colours.mean], [*self.colours.std])
        pixels = pixels.contiguous(memory_format=torch.channels_last)
        with running_statistics(self.lone_norms if len(pixels) == 1 else []):
            features = self.backbone(pixels)[-1]
        if self.has_channels_last:
            features = rearrange(features, "n h w c -> n c h w")
        x = self.project(rearrange(features, "n c h w -> n (h w) c"))
        gist = self.gist and self.gist(features.float().mean((2, 3)))
        return Tokens(x, x.new_ones(x.shape[:2], dtype=torch.bool), gist)

    def start_from(self, name: str, pretrained: str) -> None:
        """Takes over weights of the timm model `name`: of a file, or those that timm downloads.

        timm fits what depends on the size of the pictures. Raises `ValueError` where the weights
        are not of that model.
        """
        overlay = {}
        if pretrained != "timm":
            tensors = read_weights(pretrained)
            self._check_names(name, pretrained, tensors)
            overlay = {"state_dict": tensors, "source": "", "custom_load": False}
        options: dict[str, Any] = {"pretrained": True, "pretrained_cfg_overlay": overlay}
        try:
            found = timm.create_model(name, **self.options, **options).state_dict()
            self.backbone.load_state_dict(found)
        except Exception as error:  # of many kinds, as timm, its hub and its models are many
            raise ValueError(
                f"model.image.pretrained: {pretrained} is not of {name}: {one_line(error)}"
            ) from error

    def _check_names(self, name: str, pretrained: str, tensors: dict[str, Tensor]) -> None:
        """Every weight must be there: timm would leave what lacks as it is."""
        expected = [*self.backbone.state_dict()]
        # A model of feature maps has a prefix, or underscores where the whole model has dots.
        if all(key.startswith("model.") for key in expected):
            expected = [key.removeprefix("model.") for key in expected]
        given = {key.replace(".", "_") for key in tensors}
        for key in expected:
            if key.replace(".", "_") not in given:
                raise ValueError(
                    f"model.image.pretrained: {pretrained} is not of {name}: it lacks {key!r}"
                )


def build_backbone(config: ImageConfig) -> tuple[Any, dict[str, Any], Tensor]:
    """A timm model that reads pictures of the config's size, the options that it takes for that,
    and its feature map [1 C h w] of one. Raises `ValueError` where there is none.
    """
    name, size = config.encoder, config.size
    plain: dict[str, Any] = {"features_only": True, "out_indices": (-1,)}
    # Most read any size. The others must know it beforehand: ViT, Swin, MaxViT ...
    sized: dict[str, Any] = plain | {"img_size": size}
    reasons = []
    for options in (plain, sized):
        try:
            backbone = timm.create_model(name, **options)
            return backbone, options, _look(backbone, size)
        except Exception as error:  # of many kinds, as timm's models are many
            reasons.append(one_line(error))
    settings = timm.get_pretrained_cfg(name, allow_unregistered=True)
    usual = f"; it usually reads {settings.input_size[-1]}" if settings else ""
    raise ValueError(
        f"model.image.encoder must be a timm model with feature maps of pictures of "
        f"model.image.size, got {name!r} and {size}: {reasons[0]}{usual}"
    )


def _look(backbone: Any, size: int) -> Float[Tensor, "1 C h w"]:
    """The feature map of one picture. Raises `ValueError` where it is no square of its channels."""
    backbone.eval()
    with torch.no_grad():
        features = backbone(torch.zeros(1, 3, size, size))[-1]
    backbone.train()
    if channels_last(backbone) and features.ndim == 4:
        features = rearrange(features, "n h w c -> n c h w")
    channels, shape = backbone.feature_info.channels()[-1], tuple(features.shape)
    if shape[:2] != (1, channels) or len(shape) != 4 or shape[2] != shape[3]:
        raise ValueError(f"its features must be [1 {channels} h h], are {[*shape]}")
    return features


def channels_last(backbone: Any) -> bool:
    """Whether the feature maps of a timm model are [N h w C], as Swin's are."""
    return getattr(backbone, "output_fmt", None) == Format.NHWC


def find_lone_norms(backbone: nn.Module, size: int) -> list[nn.Module]:
    """The batch norms that see one value a channel of a picture: of it alone there is no variance.

    With several pictures in a micro-batch they norm by these, as all others do.
    """
    lone: list[nn.Module] = []

    def look(norm: nn.Module, inputs: tuple[Tensor]) -> None:
        if inputs[0].numel() == inputs[0].shape[1]:
            lone.append(norm)

    norms = [module for module in backbone.modules() if isinstance(module, _BatchNorm)]
    hooks = [norm.register_forward_pre_hook(look) for norm in norms]
    if norms:
        _look(backbone, size)
    for hook in hooks:
        hook.remove()
    return lone


@contextmanager
def running_statistics(norms: list[nn.Module]) -> Iterator[None]:
    """Norm by the running statistics, and leave them as they are."""
    learning = [norm for norm in norms if norm.training]
    for norm in learning:
        norm.eval()
    yield
    for norm in learning:
        norm.train()


def read_weights(path: str) -> dict[str, Tensor]:
    """Those of a file. Raises `ValueError` where it is none of safetensors."""
    try:
        return load_file(path)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"model.image.pretrained: {path} is no file of safetensors: {error}"
        ) from error
