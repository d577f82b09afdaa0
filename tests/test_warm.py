"""Encoders that begin with weights of others, from small local stand-ins of what hubs hold."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer as FastTokenizer
from transformers import (
    AutoModel,
    AutoTokenizer,
    BertConfig,
    BertModel,
    BertTokenizerFast,
    RobertaConfig,
    RobertaModel,
    WhisperConfig,
    WhisperForConditionalGeneration,
)

import train
from omni.config import Config, TextConfig
from omni.interface import load
from omni.modality.text import END, PAD, Tokenizer
from omni.modality.tower import (
    ALPHABET,
    BEGINS,
    LONGEST,
    TextTower,
    adopt_tokenizer,
    find_settings,
    spell,
)
from omni.presets import debug

FROZEN = ("encoders.image.backbone", "encoders.text.encoder", "encoders.audio.encoder")
VOCABULARY = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "blue", "green"]


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a timm model with a classifier, as a file."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp("timm") / "weights.safetensors"
    save_file(timm.create_model("test_resnet").state_dict(), path)
    return path


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of one layer with its tokenizer, as transformers writes them."""
    folder = tmp_path_factory.mktemp("bert")
    pieces = [chr(c) for c in range(33, 127)]
    words = [*VOCABULARY, *pieces, *(f"##{c}" for c in pieces)]
    (folder / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(words), hidden_size=32, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=48, max_position_embeddings=32,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def others(texts: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A RoBERTa with the same tokenizer: its positions begin after that of its padding."""
    folder = tmp_path_factory.mktemp("roberta") / "model"
    shutil.copytree(texts, folder)
    told = BertConfig.from_pretrained(texts).to_dict()
    config = RobertaConfig.from_dict(told | {"model_type": "roberta", "pad_token_id": 1})
    RobertaModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def sounds(tmp_path: Path) -> Path:
    """A Whisper of one layer in half precision, as transformers writes it."""
    torch.manual_seed(3)
    config = WhisperConfig(
        d_model=32, encoder_layers=1, encoder_attention_heads=2, encoder_ffn_dim=48,
        decoder_layers=1, decoder_attention_heads=2, decoder_ffn_dim=48, vocab_size=64,
        pad_token_id=0, bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, dropout=0.5,
    )  # fmt: skip
    WhisperForConditionalGeneration(config).half().save_pretrained(tmp_path / "whisper")
    return tmp_path / "whisper"


@pytest.fixture
def config(pictures: Path, texts: Path, sounds: Path) -> Config:
    """Four steps, in the first two of which the towers are frozen."""
    c = debug()
    model = replace(
        c.model,
        image=replace(c.model.image, pretrained=str(pictures)),
        text=replace(c.model.text, pretrained=str(texts)),
        audio=replace(c.model.audio, pretrained=str(sounds)),
    )
    few = replace(c.train, steps=4, save_every=2, warmup=1, frozen=FROZEN, thaw=0.5)
    return replace(c, model=model, train=few)


def test_what_is_frozen_stays_until_it_thaws_and_the_checkpoint_needs_nothing_else(
    config: Config, pictures: Path, texts: Path, sounds: Path, tmp_path: Path
) -> None:
    assert train.train(config, tmp_path / "run")
    half, whole = map(load_file, sorted((tmp_path / "run").glob("**/model.safetensors")))
    theirs = load_file(pictures)
    words = load_file(texts / "model.safetensors")["embeddings.word_embeddings.weight"]
    name, table = (
        "encoders.image.backbone.",
        "encoders.text.encoder.embeddings.word_embeddings.weight",
    )
    kept = [key for key in half if key.startswith(name)]
    assert kept and all(torch.equal(half[key], theirs[key.removeprefix(name)]) for key in kept)
    assert torch.equal(half[table][-len(words) :], words)
    assert torch.equal(half[table][END], words[VOCABULARY.index("[SEP]")])
    hears, layer = load_file(sounds / "model.safetensors"), "layers.0.fc1.weight"
    there, positions = "model.encoder.", "encoders.audio.encoder.embed_positions.weight"
    kept = [key for key in hears if key.startswith(there)]
    ours = {key: f"encoders.audio.encoder.{key.removeprefix(there)}" for key in kept}
    assert kept and all(torch.equal(half[ours[key]], hears[key].float()) for key in kept)
    assert torch.equal(half[positions], whole[positions])  # Whisper's own do not learn
    learn = (f"{name}conv1.0.weight", table, ours[there + layer], "projections.text.1.weight")
    for key in learn:
        assert not torch.equal(half[key], whole[key])

    shutil.rmtree(sounds)
    loaded = load(tmp_path / "run")
    assert loaded.config.model.text.encoder.startswith("{")
    spoken = loaded.generate("red", to="audio", steps=1, candidates=2)
    assert loaded.embed([spoken]).shape == (1, 64)
    assert loaded.embed(["red", "a red circle"]).shape == (2, 64)
    several = ["red", "a red and a green circle", "blue", "a", "dots of blue", "red red", "i", "j"]
    alone = torch.cat([loaded.embed(text) for text in several])  # whatever is beside a text
    torch.testing.assert_close(loaded.embed(several), alone, atol=1e-5, rtol=0)
    assert loaded.untrained().embed("red").isfinite().all()
    tokens = loaded.tokenizer
    assert tokens.decode(tokens.encode("Red circle!", 20)) == "Red circle!"
    assert tokens.reader.decode(tokens.reader.encode("Red circle!", 20)) == "red circle!"


def test_a_run_with_frozen_parts_goes_on_as_if_never_stopped(
    config: Config, tmp_path: Path
) -> None:
    train.train(config, tmp_path / "whole")
    train.train(config, tmp_path / "other")
    shutil.rmtree(tmp_path / "other" / "checkpoints" / "step-000004")
    train.train(config, tmp_path / "other", resume=True)
    last = "checkpoints/step-000004/model.safetensors"
    a, b = (load_file(tmp_path / run / last) for run in ("whole", "other"))
    assert a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


def test_a_tokenizer_is_adopted_with_our_tokens_before_its_own(texts: Path) -> None:
    reader = adopt_tokenizer(str(texts))
    ids = reader.encode("red <end> dot", 30)
    assert ids[0] == 2 + VOCABULARY.index("red") and ids[-1] == END and min(ids[:-1]) >= 2
    assert reader.tokens[:3] == ["<pad>", "<end>", "[PAD]"]


def test_what_is_read_and_what_is_written_are_one_file(texts: Path, tmp_path: Path) -> None:
    own = Tokenizer.train(["red dots and dors"], ["en"], 300)
    both = Tokenizer(own.fast, adopt_tokenizer(str(texts)))
    both.save(tmp_path / "tokenizer.json")
    again = Tokenizer.load(tmp_path / "tokenizer.json")
    text = "red dot"
    assert again.encode(text, 30) == own.encode(text, 30) != again.reader.encode(text, 30)
    assert again.reader.encode(text, 30) == both.reader.encode(text, 30)
    assert again.to_json() == both.to_json()
    own.save(tmp_path / "own.json")
    plain = FastTokenizer.from_file(str(tmp_path / "own.json"))  # as anyone would read it
    assert plain.encode(text).ids == own.fast.encode(text).ids
    written = torch.tensor([[*own.encode(text, 8), PAD]])
    assert both.reread(written)[0].tolist() == both.reader.encode(text, 8)
    assert own.reread(written)[0].tolist() == own.reader.encode(text, 8)
    plain = Tokenizer(own.fast)
    assert plain.reread(written) is written


@pytest.mark.parametrize("kind", ["texts", "others"])
def test_a_pretrained_encoder_sees_a_text_as_it_was_trained_to(
    kind: str, request: pytest.FixtureRequest
) -> None:
    folder = request.getfixturevalue(kind)
    reader = adopt_tokenizer(str(folder))
    settings = find_settings(str(folder), "model.text.pretrained")
    tower = TextTower(TextConfig(encoder=settings), reader.vocab_size, 16, 2, 24).eval()
    told = ["red", "a red and a green circle", "blue dots"]
    ids = [reader.encode(text, 30) for text in told]
    table = torch.tensor([row + [PAD] * (30 - len(row)) for row in ids])[:, :29]
    theirs, tokenizer = AutoModel.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
    means = [theirs(**tokenizer(text, return_tensors="pt"))[0].mean(1) for text in told]
    assert tower.gist is not None
    expected = tower.gist(torch.cat(means))
    assert not torch.allclose(tower(table).gist, expected, atol=1e-2)
    tower.start_from(str(folder), reader)
    torch.testing.assert_close(tower(table).gist, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(("kind", "places"), [("texts", 32), ("others", 30)])
def test_texts_longer_than_the_pretrained_encoder_reads_are_refused(
    kind: str, places: int, request: pytest.FixtureRequest
) -> None:
    settings = find_settings(str(request.getfixturevalue(kind)), "model.text.pretrained")
    longest = TextConfig(encoder=settings, max_tokens=places - 1)
    tower = TextTower(longest, 9, 16, 2, 0).eval()
    assert tower(torch.full((1, places - 1), END)).x.isfinite().all()
    with pytest.raises(ValueError, match=rf"less than the {places} positions.*got {places}"):
        TextTower(replace(longest, max_tokens=places), 9, 16, 2, 0)


def test_a_text_is_spelled_whatever_its_tokens_are() -> None:
    apple, inside = spell("apple"), spell("##apple")
    assert apple[1:] == inside and apple[2] == apple[3] and apple[0] == spell("red")[0] == BEGINS
    assert BEGINS not in inside
    assert PAD not in apple and max(apple) < ALPHABET
    assert len(spell("x" * 40)) == LONGEST
    torch.manual_seed(0)
    settings = json.dumps({"model_type": "bert", "hidden_size": 8, "num_attention_heads": 1})
    tower = TextTower(TextConfig(encoder=settings, ngrams=64), 9, 16, 2, 16)
    tower.letters[2, :6], tower.letters[3, :3] = torch.tensor(apple), torch.tensor(apple[:3])
    tower.letters[4, :3] = torch.tensor(inside[2:])
    whole, parts = (tower._spelled(tower.letters[None, ids].long())[0] for ids in ([2], [3, 4, 5]))
    torch.testing.assert_close(whole[0], parts[:2].mean(0))  # three letters each
    assert not whole[0].allclose(parts[0]) and not parts[2].any()


def test_a_text_without_words_is_spelled_only_and_moves_no_other() -> None:
    torch.manual_seed(0)
    settings = json.dumps({"model_type": "bert", "hidden_size": 8, "num_attention_heads": 1})
    tower = TextTower(TextConfig(encoder=settings, ngrams=64), 9, 16, 2, 16)
    for i, token in enumerate(("red", "##s", "##m", "a", "x"), 2):
        tower.letters[i, : len(spell(token))] = torch.tensor(spell(token))
    words, pieces = [5, 2, 5, END], [2, 3, 5, END]  # "a red a", "reds a"
    ids = torch.tensor([words, pieces, [5, 6, END, PAD], [END, PAD, PAD, PAD]])
    assert tower.knows(ids).tolist() == [True, False, True, False]
    found = tower(ids)
    before, gist = found.x, found.gist
    assert gist is not None and gist.any(1).all()  # what is near in pieces is near as well
    spelled = tower._spelled(tower.letters[ids].long())
    torch.testing.assert_close(before[1], spelled[1])
    assert not torch.allclose(before[0], spelled[0], atol=1e-2)
    torch.testing.assert_close(tower(ids[:1]).x[0], before[0])
    assert not tower(ids[3:]).x[0, 0].any()  # nothing but an end, alone
    tower.gist = None  # of texts of pieces the encoder then has nothing to say
    torch.testing.assert_close(tower(ids).x, before)
    before.sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in tower.parameters())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoder": "test_vit"}, "is not of test_vit"),
        ({"pretrained": "no/such.safetensors"}, "no/such.safetensors is no file of safetensors"),
    ],
)
def test_weights_that_do_not_fit_are_named(
    config: Config, change: dict[str, str], message: str, tmp_path: Path
) -> None:
    image = replace(config.model.image, **change)
    with pytest.raises(ValueError, match=message):
        train.train(replace(config, model=replace(config.model, image=image)), tmp_path / "run")


def test_an_encoder_or_a_frozen_part_that_is_not_there_is_named(
    config: Config, tmp_path: Path
) -> None:
    text = replace(config.model.text, pretrained=str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match=r"model.text.pretrained: .*nothing"):
        train.train(replace(config, model=replace(config.model, text=text)), tmp_path / "a")
    audio = replace(config.model.audio, pretrained=config.model.text.pretrained)
    with pytest.raises(ValueError, match=r"model.audio.encoder must be a whisper, got bert"):
        train.train(replace(config, model=replace(config.model, audio=audio)), tmp_path / "a")
    few = replace(config.train, frozen=("encoders.smell",))
    with pytest.raises(ValueError, match=r"no part 'encoders\.smell'"):
        train.train(replace(config, train=few), tmp_path / "b")


SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "embedding_size": 16,  # of ELECTRA and ALBERT
    "vocab_size": 20,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 1,
    "cls_token_id": 1,
    "sep_token_id": 1,
}


@pytest.mark.parametrize(
    "kind",
    [
        *("albert", "bart", "bert", "camembert", "deberta-v2", "distilbert", "electra", "ernie"),
        *("modernbert", "mpnet", "nomic_bert", "roberta", "roformer", "t5", "umt5", "xlm-roberta"),
    ],
)
def test_an_encoder_of_each_family_reads_texts(kind: str) -> None:
    settings = json.dumps({"model_type": kind} | SMALL)
    tower = TextTower(TextConfig(encoder=settings, ngrams=64), 20, 8, 2, 4).eval()
    tower.letters[2:] = torch.tensor([BEGINS, 5, *[PAD] * (LONGEST - 2)])
    ids = torch.tensor([[3, 4, 5, END, PAD, PAD], [3, 4, 5, 6, 7, END]])
    with torch.no_grad():
        padded, whole = tower(ids), tower(ids[:1, :4])
    torch.testing.assert_close(padded.x[0, :4], whole.x[0], atol=1e-5, rtol=1e-4)
    assert padded.gist is not None and whole.gist is not None
    torch.testing.assert_close(padded.gist[:1], whole.gist, atol=1e-5, rtol=1e-4)
    assert tower.guess(whole.x[0]).shape[1] == tower.encoder.get_input_embeddings().num_embeddings


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("clip_text_model", "specify input_ids"),
        ("fnet", "padding"),  # it has no mask
        ("convbert", "padding"),  # its convolutions look beyond the end
        ("vit", "."),
    ],
)
def test_an_encoder_that_cannot_be_is_refused_by_name(kind: str, reason: str) -> None:
    settings = json.dumps({"model_type": kind} | SMALL)
    with pytest.raises(ValueError, match=f"model.text.encoder .*{kind!r}.*{reason}"):
        TextTower(TextConfig(encoder=settings, ngrams=64), 20, 8, 2, 4)


@pytest.mark.parametrize("more", [0, 7])
def test_a_vocabulary_of_more_rows_than_tokens_is_taken_over(
    more: int, texts: Path, tmp_path: Path
) -> None:
    """As DeBERTa-v3 has it; and a text may begin with a token that is none of them."""
    folder = tmp_path / "model"
    shutil.copytree(texts, folder)
    told = BertConfig.from_pretrained(texts)
    told.vocab_size += more
    model = BertModel(told)
    model.save_pretrained(folder)
    config = TextConfig(encoder=find_settings(str(folder), ""), ngrams=64)
    tokenizer = adopt_tokenizer(str(folder))
    tower = TextTower(config, tokenizer.vocab_size, 8, 2, 0)
    tower.start_from(str(folder), tokenizer)
    theirs, ours = model.get_input_embeddings().weight, tower.encoder.get_input_embeddings().weight
    moved = tokenizer.vocab_size - len(theirs) + more
    assert torch.equal(ours[moved:], theirs[: len(theirs) - more])
    told.vocab_size = 40
    BertModel(told).save_pretrained(folder)
    with pytest.raises(ValueError, match=r"must have a row for each of the \d+ .* has 40"):
        tower.start_from(str(folder), tokenizer)
