"""One function a run; its docstring says the command, the time and what to expect."""

from collections.abc import Callable
from dataclasses import replace

from omni.config import (
    AudioConfig,
    Config,
    DataConfig,
    ImageConfig,
    ModelConfig,
    TextConfig,
    TrainConfig,
)


def debug() -> Config:
    """`python train.py debug`: coloured shapes that sing, 1 M parameters, 20 s on two cores."""
    return Config(
        name="debug",
        model=ModelConfig(
            width=64,
            depth=1,
            num_heads=2,
            embed_dim=64,
            flow_width=64,
            flow_depth=2,
            image=ImageConfig(encoder="test_resnet", size=32),
            audio=AudioConfig(num_mels=32, max_seconds=0.6, depth=1),
            text=TextConfig(vocab_size=512, max_tokens=8, depth=1, decoder_depth=1),
        ),
        data=DataConfig(path="synthetic", batch_size=32),
        train=TrainConfig(
            steps=150, precision="fp32", lr=3e-3, warmup=20, ema=0.95, save_every=50, sample_every=0, log_every=5
        ),
    )


def demo() -> Config:
    """`python train.py demo`: the emoji in the repository, on two cores."""
    return Config(name="demo")


PRESETS: dict[str, Callable[[], Config]] = {
    preset.__name__: preset for preset in (debug, demo)
}


def variant(config: Config, **train: object) -> Config:
    """The same run with other fields of `train`."""
    return replace(config, train=replace(config.train, **train))
