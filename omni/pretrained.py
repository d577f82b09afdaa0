"""A model as a folder: config.json, tokenizer.json, model.safetensors; from disk or a hub.

Tensors are stored as safetensors only: nothing in a model folder can run code.
"""

import hashlib
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from omni import lora
from omni.config import Config
from omni.modality.text import Tokenizer
from omni.network import Network

WEIGHTS = "model.safetensors"
FILES = ("config.json", "tokenizer.json", WEIGHTS)


def save(folder: Path, config: Config, tokenizer: Tokenizer, weights: dict[str, Tensor]) -> None:
    """Writes the three files into an existing folder."""
    (folder / "config.json").write_text(config.to_json())
    tokenizer.save(folder / "tokenizer.json")
    save_file({k: v.contiguous() for k, v in weights.items()}, folder / "model.safetensors")


def load(name: str | Path) -> tuple[Network, Tokenizer, Config]:
    """From a model folder, the newest checkpoint of a run, or a repository of the Hugging Face hub.

    Raises `ValueError` when there is no such model or its files do not fit together.
    """
    folder = find(name)
    config = Config.from_json((folder / "config.json").read_text())
    tokenizer = Tokenizer.load(folder / "tokenizer.json")
    try:
        network = build(config, tokenizer, load_file(folder / "model.safetensors"))
    except SafetensorError as error:
        raise ValueError(f"{folder}/model.safetensors is damaged: {error}") from error
    except ValueError as error:
        raise ValueError(f"{folder}/model.safetensors {error}") from error
    return network, tokenizer, config


def build(config: Config, tokenizer: Tokenizer, weights: dict[str, Tensor]) -> Network:
    """The network of some weights, their adapters merged. Raises `ValueError` for other tensors."""
    network, weights = Network(config.model, tokenizer), lora.merge(weights)
    expected = network.state_dict()
    for key in sorted(expected.keys() ^ weights.keys()):
        there = "lacks" if key in expected else "has unknown"
        raise ValueError(f"{there} tensor {key!r}")
    network.load_state_dict(weights)
    return network


def find(name: str | Path) -> Path:
    """The folder that holds the three files. Raises `ValueError` naming where it looked."""
    path = Path(name)
    for folder in (path, *sorted((path / "checkpoints").glob("step-*"), reverse=True)):
        if all((folder / file).is_file() for file in FILES):
            return folder
    if path.exists():
        raise ValueError(f"{name} holds no model: neither {', '.join(FILES)} nor a checkpoint")
    return _download(str(name))


def digest(name: str | Path) -> str:
    """sha256 of a model's weights: what makes vectors that can be compared."""
    with (find(name) / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _download(name: str) -> Path:
    if name.count("/") != 1 or name.startswith(("runs/", ".", "/")):
        raise ValueError(f"there is no model {name!r}: no such folder (train one: make demo)")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:
        raise ValueError(f"no folder and no hub repository {name!r}: {error}") from error
