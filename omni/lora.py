"""Low-rank adapters (LoRA, arXiv:2106.09685) by peft, in the linear maps of some parts."""

import re

from torch import Tensor, nn

from omni.config import TrainConfig
from omni.network import Network


def add_adapters(network: Network, config: TrainConfig) -> None:
    """Adapters that change nothing yet; of the parts that have them nothing else learns.

    Raises `ValueError` for what cannot have any.
    """
    if bool(config.lora) != bool(config.lora_parts):
        raise ValueError(
            "train.lora and train.lora_parts go together: a rank, and parts of the network; "
            f"got {config.lora} and {config.lora_parts}"
        )
    if not config.lora:
        return
    if config.mesh[2] > 1:
        raise ValueError("train.lora needs matrices that are not split by heads: a mesh of N N 1")
    try:
        from peft import LoraConfig, inject_adapter_in_model
    except ImportError as error:
        raise ValueError("train.lora needs peft: pip install -e '.[lora]'") from error
    for name in config.lora_parts:
        part = network.part(name, "train.lora_parts")
        maps = [k for k, m in part.named_modules() if k and isinstance(m, nn.Linear)]
        linear = [k for k in maps if not re.search(r"(^|\.)(base_layer|lora_[AB]\.)", k)]
        if not linear:
            raise ValueError(f"train.lora_parts: {name} holds no linear maps, or another part does")
        pattern = "|".join(map(re.escape, linear))
        settings = LoraConfig(r=config.lora, lora_alpha=config.lora, target_modules=pattern)
        inject_adapter_in_model(settings, part)


def merge(weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights of a plain network that does what one with adapters does: W + B A."""
    merged = {}
    for name, tensor in weights.items():
        stem, _, kind = name.rpartition(".base_layer.")
        down, up = (weights.get(f"{stem}.lora_{x}.default.weight") for x in "AB")
        if kind == "weight" and down is not None and up is not None:
            tensor = tensor + up @ down
        if ".lora_" not in name:
            merged[f"{stem}.{kind}" if stem else name] = tensor
    return merged
