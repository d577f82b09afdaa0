"""Pictures: fitting, patches, augmentation."""

import torch

from omni.modality.image import augment, fit, normalize, patchify, to_pil, unpatchify


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
