"""Pictures: fitting, patches, augmentation."""

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from omni.config import ImageConfig
from omni.modality.image import ImageEncoder, augment, fit, normalize, patchify, to_pil, unpatchify


def test_fitting_keeps_the_whole_picture_on_white() -> None:
    wide = torch.zeros(3, 20, 60, dtype=torch.uint8)
    fitted = fit(wide, 32)
    assert fitted.shape == (3, 32, 32)
    assert (fitted[:, :9] == 255).all()
    assert (fitted[:, 13:19] == 0).all()


def test_patches_come_back() -> None:
    pixels = torch.randn(2, 3, 16, 16)
    torch.testing.assert_close(unpatchify(patchify(pixels, 4), 4), pixels)


def test_pixels_survive_the_way_to_pil() -> None:
    pixels = torch.randint(256, (1, 3, 8, 8), dtype=torch.uint8)
    back = torch.frombuffer(bytearray(to_pil(normalize(pixels)[0]).tobytes()), dtype=torch.uint8)
    assert (back.view(8, 8, 3).permute(2, 0, 1) == pixels[0]).all()


def test_augmentation_is_keyed_and_keeps_the_range() -> None:
    pixels = torch.rand(8, 3, 32, 32) * 2 - 1
    keys = torch.arange(8)
    first, other = augment(pixels, keys), augment(pixels, keys + 100)
    assert not torch.equal(first, other)
    assert first.abs().max() <= 1
    # A picture is changed as its key says, whichever others are in the batch.
    torch.testing.assert_close(augment(pixels[3:5], keys[3:5]), first[3:5], atol=1e-5, rtol=0)


FAMILIES = [
    # Of each way to be built one, with its tokens of a picture of 96 pixels.
    ("test_resnet", 9),
    ("test_convnext", 9),
    ("test_efficientnet", 9),
    ("test_mambaout", 9),  # [N h w C]
    ("swin_tiny_patch4_window7_224", 9),  # [N h w C], and must know the size, as the last three
    ("test_vit", 36),
    ("mobilevitv2_050", 16),  # it pads: four in a row, where its step of 32 pixels says three
    ("test_vit3", 36),
    ("vit_tiny_patch16_224", 36),
    ("eva02_tiny_patch14_224", 36),  # six patches of 14 in 96
]


@pytest.mark.parametrize(("name", "tokens"), FAMILIES)
def test_a_model_of_each_family_reads_pictures_of_any_size(name: str, tokens: int) -> None:
    encoder = ImageEncoder(ImageConfig(encoder=name, size=96), 8, 0).eval()
    with torch.no_grad():
        assert encoder(torch.randn(1, 3, 96, 96)).x.shape == (1, tokens, 8)
    assert encoder.side**2 == tokens
    assert encoder.side * encoder.cell >= 96  # what tokens are to guess covers the picture


def test_a_picture_is_seen_alike_in_rows_and_columns_whatever_the_layout() -> None:
    """A map [N h w C] that is taken for [N C h w] would mix places and channels."""
    encoder = ImageEncoder(ImageConfig(encoder="test_mambaout", size=96), 8, 0).eval()
    with torch.no_grad():
        features = encoder.backbone(torch.ones(1, 3, 96, 96))[-1]
        tokens = encoder(torch.ones(1, 3, 96, 96)).x
        torch.testing.assert_close(tokens[0, 5], encoder.project(features[0, 1, 2]))


@pytest.mark.parametrize(
    ("name", "size", "message"),
    [
        ("resnet999", 64, r"model.image.encoder .*'resnet999'.*Unknown model"),
        (
            "efficientformer_l1",
            64,
            r"model.image.encoder .*'efficientformer_l1' and 64.* reads 224",
        ),
    ],
)
def test_a_model_that_cannot_be_is_refused_by_name(name: str, size: int, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ImageEncoder(ImageConfig(encoder=name, size=size), 8, 0)


@pytest.mark.parametrize("name", ["test_vit3", "test_convnext", "test_efficientnet"])
def test_weights_of_a_file_are_taken_over_at_another_size(name: str, tmp_path: Path) -> None:
    """Also where the model of feature maps has other names for them than the whole model."""
    file = tmp_path / "weights.safetensors"
    given = timm.create_model(name).state_dict()
    save_file(given, file)
    config = ImageConfig(encoder=name, size=64, pretrained=str(file))
    encoder = ImageEncoder(config, 8, 0)
    encoder.start_from(name, config.pretrained)
    by_name = {key.replace(".", "_"): tensor for key, tensor in given.items()}
    resampled = []
    for key, tensor in encoder.backbone.state_dict().items():
        theirs = by_name[key.removeprefix("model.").replace(".", "_")]
        if tensor.shape != theirs.shape:
            resampled.append(key)
        else:
            assert torch.equal(tensor, theirs), key
    assert resampled == (["model.pos_embed"] if name == "test_vit3" else [])

    del given[next(key for key in given if "norm" in key or "bn" in key)]
    save_file(given, file)
    with pytest.raises(ValueError, match=f"is not of {name}: it lacks "):
        encoder.start_from(name, config.pretrained)


def test_a_lone_picture_is_normed_by_the_running_statistics() -> None:
    """Where a batch norm sees one value a channel; torch refuses to norm that by itself."""
    encoder = ImageEncoder(ImageConfig(encoder="test_resnet", size=32), 8, 0).train()
    lone = [norm for norm in encoder.lone_norms if isinstance(norm, nn.BatchNorm2d)]
    assert lone
    before = [norm.running_mean.clone() for norm in lone]
    x = encoder(torch.randn(1, 3, 32, 32)).x
    x.sum().backward()
    assert x.isfinite().all() and all(p.grad is not None for p in encoder.parameters())
    assert all(torch.equal(a, norm.running_mean) for a, norm in zip(before, lone, strict=True))
    assert all(norm.training for norm in lone)
    encoder(torch.randn(2, 3, 32, 32))  # two are a batch, and are learned from
    assert not any(torch.equal(a, norm.running_mean) for a, norm in zip(before, lone, strict=True))
