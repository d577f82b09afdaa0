"""Known models, tiny and with random weights: what the libraries say, as unit vectors."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from torch.nn.functional import normalize
from transformers import (
    ClapConfig,
    ClapFeatureExtractor,
    ClapModel,
    CLIPConfig,
    CLIPImageProcessor,
    CLIPModel,
    PreTrainedTokenizerFast,
    SiglipConfig,
    SiglipImageProcessor,
    SiglipModel,
)

from eval import adapters
from eval.embedder import Adapter
from eval.run import main
from eval.table import NAME
from omni import Audio

ARCHITECTURE = {
    "embed_dim": 32,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "head_width": 16, "patch_size": 16},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}
META = {"format": "pt"}
TEXTS = ["red apple", "a", "the cat sat on the mat with a hat", "red"]


def pictures(count: int) -> list[Image.Image]:
    rng = np.random.default_rng(0)
    sizes = rng.integers(20, 60, (count, 2))
    return [Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)) for size in sizes]


def sounds(count: int, rate: int = 16_000) -> list[Audio]:
    rng = np.random.default_rng(0)
    return [
        Audio(rng.standard_normal(rate * n // 4).astype(np.float32) / 9, rate)
        for n in range(1, count + 1)
    ]


@pytest.fixture(scope="module")
def architecture(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A tiny CLIP that open_clip knows by name, as long as these tests last."""
    path = tmp_path_factory.mktemp("architectures") / "tiny-clip.json"
    path.write_text(json.dumps(ARCHITECTURE))
    open_clip.add_model_config(path)
    yield path.stem
    shutil.rmtree(path.parent)
    open_clip.factory._MODEL_CONFIG_PATHS.remove(path)
    open_clip.factory._rescan_model_configs()


@pytest.fixture(scope="module")
def opened(architecture, tmp_path_factory) -> tuple[str, torch.nn.Module]:
    """The name of such a model, kept as safetensors, and the model of the library."""
    torch.manual_seed(1)
    model = open_clip.create_model(architecture).eval()
    path = tmp_path_factory.mktemp("open_clip") / "weights.safetensors"
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, path)
    return f"open_clip:{architecture}:{path}", model


def save_tokenizer(folder: Path, kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of the words of `TEXTS`; beginning, padding and end as the family has them."""
    marks = ["<s>", "<pad>", "</s>", "<unk>"]
    words = sorted({word for text in TEXTS for word in text.split()})
    fast = Tokenizer(models.WordLevel({w: i for i, w in enumerate([*marks, *words])}, "<unk>"))
    fast.pre_tokenizer = pre_tokenizers.Whitespace()
    fast.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=fast,
        bos_token="<s>",
        pad_token="<pad>",
        eos_token="</s>",
        unk_token="<unk>",
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def small_config(kind: str) -> CLIPConfig | SiglipConfig | ClapConfig:
    tower = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 1}
    tower |= {"num_attention_heads": 2}
    text = tower | {"vocab_size": 32, "max_position_embeddings": 16, "projection_dim": 32}
    text |= {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
    image = tower | {"image_size": 32, "patch_size": 16, "projection_dim": 32}
    if kind == "clip":
        return CLIPConfig(text_config=text, vision_config=image, projection_dim=32)
    if kind == "siglip":
        return SiglipConfig(text_config=text | {"projection_size": 32}, vision_config=image)
    audio = {"patch_embeds_hidden_size": 16, "hidden_size": 32, "depths": [1, 1], "spec_size": 64}
    audio |= {"num_attention_heads": [2, 2], "num_hidden_layers": 2, "window_size": 4}
    audio |= {"num_mel_bins": 16, "projection_dim": 32}
    return ClapConfig(text_config=text, audio_config=audio, projection_dim=32)


@pytest.fixture(scope="module", params=["clip", "siglip", "clap"])
def folder(request, tmp_path_factory) -> Path:
    """A model folder of each family."""
    kind, path = request.param, tmp_path_factory.mktemp(request.param)
    torch.manual_seed(2)
    model = {"clip": CLIPModel, "siglip": SiglipModel, "clap": ClapModel}[kind]
    model(small_config(kind)).save_pretrained(path)
    save_tokenizer(path, kind)
    size = {"height": 32, "width": 32}
    if kind == "clap":
        ClapFeatureExtractor(
            feature_size=16, max_length_s=1, truncation="rand_trunc", sampling_rate=24_000
        ).save_pretrained(path)
    elif kind == "clip":
        CLIPImageProcessor(size={"shortest_edge": 32}, crop_size=size).save_pretrained(path)
    else:
        SiglipImageProcessor(size=size).save_pretrained(path)
    return path


def other_items(model: Adapter, count: int) -> list:
    return sounds(count) if "audio" in model.senses else pictures(count)


def same(a: torch.Tensor, b: torch.Tensor, worst: float) -> bool:
    return a.shape == b.shape and float((a - b).abs().max()) <= worst


def test_open_clip_embeds_as_the_library_does(opened):
    name, reference = opened
    model, images = adapters.load(name), pictures(5)
    _, _, transform = open_clip.create_model_and_transforms(name.split(":")[1])
    with torch.no_grad():
        seen = reference.encode_image(torch.stack([transform(i) for i in images]), normalize=True)
        tokens = open_clip.get_tokenizer(name.split(":")[1])(TEXTS)
        read = reference.encode_text(tokens, normalize=True)
    assert same(model.embed(images), seen, 1e-6) and same(model.embed(TEXTS), read, 1e-6)
    assert same(model.embed([images[0], *TEXTS, *images[1:]])[1:5], read, 1e-6)


def test_a_folder_of_open_clip_is_read_with_its_own_preprocessing(opened, tmp_path):
    name, _ = opened
    _, architecture, weights = name.split(":")
    shutil.copy(weights, tmp_path / "open_clip_model.safetensors")
    config = {"model_cfg": ARCHITECTURE, "preprocess_cfg": {"mean": [0.1] * 3, "std": [1.0] * 3}}
    (tmp_path / "open_clip_config.json").write_text(json.dumps(config))
    model, images = adapters.load(f"open_clip:{architecture}:{tmp_path}"), pictures(3)
    assert same(model.embed(TEXTS), adapters.load(name).embed(TEXTS), 1e-6)
    assert not same(model.embed(images), adapters.load(name).embed(images), 1e-3)
    assert model.weights == adapters.load(name).weights
    assert same(model.untrained(3).embed(images), model.untrained(3).embed(images), 0)
    with pytest.raises(ValueError, match="embed_dim must be that of RN50"):
        adapters.load(f"open_clip:RN50:{tmp_path}")


def test_transformers_embeds_as_the_library_does(folder):
    model = adapters.load(f"transformers:{folder}")
    reference = model.network
    tokenizer = PreTrainedTokenizerFast.from_pretrained(folder)
    siglip = reference.config.model_type == "siglip"
    padding = {"padding": "max_length", "max_length": 16} if siglip else {"padding": True}
    inputs = tokenizer(TEXTS, return_tensors="pt", **padding)
    mask = {} if siglip else {"attention_mask": inputs["attention_mask"]}
    items = other_items(model, 3)
    with torch.no_grad():
        read = reference.get_text_features(inputs["input_ids"], **mask).pooler_output
        if "audio" in model.senses:
            short = [adapters.resample(item, 24_000) for item in items]
            mels = model.processor(short, sampling_rate=24_000, return_tensors="pt")
            found = reference.get_audio_features(mels["input_features"].float()).pooler_output
        else:
            pixels = model.processor(images=items, return_tensors="pt")["pixel_values"]
            found = reference.get_image_features(pixels).pooler_output
    assert same(model.embed(TEXTS), normalize(read, dim=1), 1e-6)
    assert same(model.embed(items), normalize(found, dim=1), 1e-6)


def test_batched_is_single_and_an_untrained_control_differs(folder):
    model = adapters.load(f"transformers:{folder}")
    items = [*TEXTS, *other_items(model, 6)]  # the last two sounds are longer than it hears
    together = model.embed(items)
    assert same(together, torch.cat([model.embed(item) for item in items]), 1e-5)
    assert same(together.norm(dim=1), torch.ones(len(items)), 1e-6)
    assert not same(together, model.untrained(0).embed(items), 0.01)
    assert same(model.untrained(0).embed(items), model.untrained(0).embed(items), 0)


def test_batched_is_single_with_open_clip(opened):
    model = adapters.load(opened[0])
    items = [*pictures(5), *TEXTS]
    assert same(model.embed(items), torch.cat([model.embed(item) for item in items]), 1e-5)
    assert not same(model.embed(items), model.untrained(0).embed(items), 0.01)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("open_clip:tiny", "named open_clip:ARCH:PATH"),
        ("open_clip:ViT-B-32:/nowhere.safetensors", "is not a known tag or valid file path"),
        ("transformers:", "transformers:PATH"),
        ("transformers:/nowhere", "/nowhere"),
    ],
)
def test_a_model_that_cannot_be_had_is_named(name, said):
    with pytest.raises(ValueError, match=said):
        adapters.load(name)


def test_weights_that_are_not_all_there_are_an_error(folder, tmp_path):
    copy = tmp_path / "model"
    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    lost = next(name for name in sorted(weights) if name.endswith(".weight"))
    save_file({k: v for k, v in weights.items() if k != lost}, copy / "model.safetensors", META)
    with pytest.raises(ValueError, match=f"{lost} is missing"):
        adapters.load(f"transformers:{copy}")
    (copy / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(ValueError, match="must be one of clip, siglip, clap, got 'bert'"):
        adapters.load(f"transformers:{copy}")


def test_a_checkpoint_that_runs_code_is_not_read(architecture, tmp_path):
    torch.save({"state_dict": {"a": Path}, "more": print}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match=r"(?i)weights.only"):
        adapters.load(f"open_clip:{architecture}:{tmp_path / 'weights.pt'}")


def test_what_a_model_has_no_sense_for_is_an_error(opened):
    model = adapters.load(opened[0])
    for items, said in [
        (sounds(1), "no sense for audio"),
        ([("red", pictures(1)[0])], "got tuple"),
        ([], "empty list"),
    ]:
        with pytest.raises(ValueError, match=said):
            model.embed(items)


def test_a_known_model_is_measured_where_it_has_the_senses(opened, small_data, tmp_path, capsys):
    given = ["--data", str(small_data), "--out", str(tmp_path)]
    main([opened[0], *given])
    text = json.loads((tmp_path / "results.json").read_text())
    directions = {NAME.fullmatch(name)["direction"] for name in text["results"]}
    assert directions == {"text->image", "image->text"}
    assert len(text["meta"]["weights"]) == 64 and text["meta"]["model"] == opened[0]
    assert "A known model" in (tmp_path / "report.html").read_text()
    with pytest.raises(SystemExit) as stopped:
        main([opened[0], "caption", *given])
    told = capsys.readouterr().err
    assert stopped.value.code == 2 and told.count("\n") == 1
    assert opened[0] in told and "caption asks for more" in told


def test_a_folder_of_classes_is_told_apart_by_a_known_model(opened, tmp_path, capsys):
    for number, image in enumerate(pictures(6)):
        place = tmp_path / "data" / "test" / ("cat" if number % 2 else "dog")
        place.mkdir(parents=True, exist_ok=True)
        image.save(place / f"{number}.png")
    given = ["classify", "--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]
    main([opened[0], *given])
    text = json.loads((tmp_path / "out" / "results.json").read_text())
    assert text["results"]["test/classify/image->class/zero_shot@1"]["n"] == 6
    assert text["meta"]["protocols"]["classify"]["templates"] == ["{}"]
    for image in (tmp_path / "data").rglob("*.png"):
        image.unlink()
    for place in (tmp_path / "data" / "test").iterdir():
        sounds(1)[0].save(place / "1.wav")
    capsys.readouterr()
    with pytest.raises(SystemExit) as stopped:
        main([opened[0], *given])
    assert stopped.value.code == 2 and "no sense for audio" in capsys.readouterr().err
