"""The image judge's parts: pixels, augmentation, network.

Letters in shapes: N pictures, H and W pixels, C classes.
"""

from collections.abc import Sequence

import numpy as np
import PIL.Image
import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from eval.pieces import PieceClassifier

SIZE = 64


def prepare(pictures: Sequence[PIL.Image.Image]) -> UInt8[Tensor, "N 3 H W"]:
    """RGB pixels at 64 x 64."""
    sized = [p.convert("RGB").resize((SIZE, SIZE), PIL.Image.Resampling.BICUBIC) for p in pictures]
    return torch.from_numpy(np.stack([np.asarray(p) for p in sized])).permute(0, 3, 1, 2)


def normalized(x: UInt8[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 H W"]:
    """Floats around zero; white, the ground of every picture, becomes 0.

    Zero padding, in the network and in `augment`, then continues the picture's ground.
    """
    return x.float() / 127.5 - 2.0


def augment(x: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N 3 H W"]:
    """Each picture turned, sized, shifted, coloured and blurred at random, all at once."""
    n = len(x)
    angle = torch.randn(n) * 0.15
    scale = torch.exp(torch.randn(n, 2) * 0.12)
    cos, sin = angle.cos(), angle.sin()
    shift = torch.randn(n, 2) * 0.06
    rows = [cos / scale[:, 0], -sin / scale[:, 0], shift[:, 0]]
    rows += [sin / scale[:, 1], cos / scale[:, 1], shift[:, 1]]
    theta = torch.stack(rows, dim=1).view(n, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    x = F.grid_sample(x, grid, padding_mode="zeros", align_corners=False)

    def per_picture(*shape: int) -> Tensor:
        return torch.randn(n, *shape, 1, 1)

    grey = x.mean(dim=1, keepdim=True)
    x = grey + (x - grey) * (1 + 0.3 * per_picture(1))  # saturation
    x = x + 0.3 * x * per_picture(3).clamp(-1.5, 1.5)  # colour balance and contrast
    soft = F.avg_pool2d(x, 3, stride=1, padding=1)
    x = torch.where(torch.rand(n, 1, 1, 1) < 0.25, soft, x)
    return x


class Eye(nn.Module):
    """Plain 3 x 3 convolutions in the manner of VGG (Simonyan and Zisserman 2015).

    Dense convolutions, batch norm and nothing else: from scratch, in a minute on two cores, that
    sees more pictures than the depthwise and grouped convolutions of newer families.

    Args:
        names: English name of each concept.
        width: channels of the first layer; doubled at each of the three later resolutions.
    """

    def __init__(self, names: Sequence[str], width: int = 40):
        super().__init__()
        layers, channels = [unit(3, width, stride=2)], width
        for stage in (2, 4, 8):
            layers += [unit(channels, stage * width, stride=2), unit(stage * width, stage * width)]
            channels = stage * width
        self.layers = nn.Sequential(*layers)
        self.classify = PieceClassifier(channels, names)

    def forward(self, x: Float[Tensor, "N 3 H W"]) -> Float[Tensor, "N C"]:
        """Logits of each concept."""
        return self.classify(self.layers(x).mean(dim=(2, 3)))


def unit(channels: int, width: int, stride: int = 1) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(width), nn.ReLU())
