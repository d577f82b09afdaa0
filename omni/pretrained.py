"""A model as a folder: config.json, tokenizer.json, model.safetensors; from disk or a hub.

Tensors are stored as safetensors only: nothing in a model folder can run code.
"""

from pathlib import Path

from safetensors.torch import load_file, save_file
from torch import Tensor

from omni import lora
from omni.config import Config
from omni.modality.text import Tokenizer
from omni.network import Network

FILES = ("config.json", "tokenizer.json", "model.safetensors")


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
    network = Network(config.model, tokenizer.vocab_size)
    weights = lora.merge(load_file(folder / "model.safetensors"))
    expected = network.state_dict()
    for key in sorted(expected.keys() ^ weights.keys()):
        there = "lacks" if key in expected else "has unknown"
        raise ValueError(f"{folder}/model.safetensors {there} tensor {key!r}")
    network.load_state_dict(weights)
    return network, tokenizer, config


def find(name: str | Path) -> Path:
    """The folder that holds the three files. Raises `ValueError` naming where it looked."""
    path = Path(name)
    for folder in (path, *sorted((path / "checkpoints").glob("step-*"), reverse=True)):
        if all((folder / file).is_file() for file in FILES):
            return folder
    if path.exists():
        raise ValueError(f"{name} holds no model: neither {', '.join(FILES)} nor a checkpoint")
    return _download(str(name))


def _download(name: str) -> Path:
    if name.count("/") != 1 or name.startswith(("runs/", ".", "/")):
        raise ValueError(f"there is no model {name!r}: no such folder (train one: make demo)")
    from huggingface_hub import snapshot_download

    try:
        return Path(snapshot_download(name, allow_patterns=list(FILES)))
    except Exception as error:
        raise ValueError(f"no folder and no hub repository {name!r}: {error}") from error
