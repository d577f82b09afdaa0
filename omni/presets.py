"""One function a run; its docstring says the command, the time and what to expect."""

from collections.abc import Callable
from dataclasses import replace

from omni.config import (
    AudioConfig,
    Config,
    DataConfig,
    ImageConfig,
    LossConfig,
    ModelConfig,
    TextConfig,
    TrainConfig,
)


def debug() -> Config:
    """`python train.py debug`: coloured shapes that sing; 1.4 M parameters, 20 s."""
    return Config(
        name="debug",
        model=ModelConfig(
            width=64,
            depth=1,
            num_heads=2,
            embed_dim=64,
            flow_width=64,
            flow_depth=2,
            flow_draft=128,
            image=ImageConfig(encoder="test_resnet", size=32, patch=8),
            audio=AudioConfig(num_mels=32, max_seconds=0.6, depth=1),
            text=TextConfig(vocab_size=512, max_tokens=8, ngrams=512, decoder_depth=1),
        ),
        data=DataConfig(path=("synthetic",), batch_size=32, extra_texts=32),
        loss=LossConfig(matching=0.25),
        train=TrainConfig(
            steps=150,
            precision="fp32",
            lr=4e-3,
            warmup=20,
            ema=0.95,
            save_every=50,
            sample_every=0,
            log_every=5,
        ),
    )


def demo() -> Config:
    """`python train.py demo`: the emoji in the repository; 46 M parameters, 30 minutes, two cores.

    Reaches R@1 .97 (speech to name) and .47 (picture to name) of 1,109: the README's table.
    """
    return Config(
        name="demo",
        loss=LossConfig(matching=0.25),
        train=TrainConfig(steps=820, save_every=205, sample_every=205),
    )


def stamps() -> Config:
    """`python train.py stamps`: Tux Paint's stamps, spoken in nine languages; data/README.md.

    52 to 57 minutes of one core with AMX, as its memory is; without bf16 nearly twice. No pictures
    or speech are made. What was measured is in data/README.md.
    """
    c = demo()
    return replace(
        c,
        name="stamps",
        model=replace(
            c.model,
            flow_draft=0,
            embed_dim=576,
            gist_dim=384,  # room for all that MiniLM tells apart
            image=replace(c.model.image, encoder="tf_efficientnet_lite0", size=224),
            # The Catalan voice says 30 letters a second: tokens of 25 ms.
            audio=replace(c.model.audio, max_seconds=4.0, hop=100),
            # Letters, so that a word that was never heard can be spelled.
            text=replace(c.model.text, vocab_size=0, max_tokens=64),
        ),
        data=DataConfig(
            # One sample in six a picture: a stamp has nine recordings, but is drawn once.
            path=("data/stamps", "data/stamps"),
            require=("audio+text", "image+text"),
            weights=(5.0, 1.0),
            batch_size=64,
            extra_texts=32,
            foreign=0.2,
            translated=0.5,
            languages=("be", "bg", "ca", "da", "el", "en", "es", "fr", "nl", "ro", "ru"),
        ),
        # Of pictures and speech there are one or two pairs in a step: noise, if they are compared.
        loss=LossConfig(
            image_flow=0.0,
            audio_flow=0.0,
            joint=0.0,
            pairs=("image+text", "audio+text"),
            # Past vectors are of the same few captions, and of voices in other languages.
            memory=0,
            # Captions are soon known by heart: what comes next must be heard all the same.
            next_token=1.5,
            word_dropout=0.3,
        ),
        train=TrainConfig(steps=1000, save_every=250, sample_every=0),
    )


def _gpu(
    name: str, width: int, depth: int, heads: int, vit: str, batch_size: int, lr: float
) -> Config:
    """What the presets for GPUs share: 224 px, 20 s of sound, 32 k tokens, a ViT."""
    return Config(
        name=name,
        model=ModelConfig(
            width=width,
            depth=depth,
            num_heads=heads,
            embed_dim=min(width, 1024),
            flow_width=width,
            flow_depth=depth,
            flow_draft=0,  # a table of all pixels would be larger than the rest
            image=ImageConfig(encoder=vit, size=224, patch=16),
            audio=AudioConfig(num_mels=80, hop=160, max_seconds=20.0, depth=depth),
            text=TextConfig(vocab_size=32_000, max_tokens=128, depth=depth, decoder_depth=depth),
        ),
        data=DataConfig(path=("data/shards",), batch_size=batch_size),
        train=TrainConfig(
            steps=200_000, lr=lr, warmup=2_000, ema=0.9999, save_every=2_000, sample_every=2_000
        ),
    )


def small() -> Config:
    """`python train.py small --data.path SHARDS`: 112 M parameters, one GPU; not trained yet."""
    return _gpu("small", 384, 4, 6, "vit_small_patch16_224", 256, 5e-4)


def base() -> Config:
    """`python train.py base --data.path SHARDS`: 315 M parameters, one GPU; not trained yet."""
    return _gpu("base", 512, 8, 8, "vit_base_patch16_224", 256, 3e-4)


def large() -> Config:
    """`python train.py large --data.path SHARDS`: 975 M parameters; not trained yet."""
    return _gpu("large", 768, 12, 12, "vit_large_patch16_224", 128, 2e-4)


PRESETS: dict[str, Callable[[], Config]] = {
    preset.__name__: preset for preset in (debug, demo, stamps, small, base, large)
}
