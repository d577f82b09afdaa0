"""Properties of the network: absence, padding, gradients."""

import re
from contextlib import nullcontext
from dataclasses import replace
from itertools import combinations

import pytest
import torch
import torch.nn.functional as F

from omni.batch import Batch, Tokens
from omni.config import Config, LossConfig
from omni.modality.text import Tokenizer
from omni.network import Network
from omni.nn.transformer import Gist, init_weights
from omni.pipeline.loader import Loader
from omni.presets import PRESETS, debug
from omni.training.contrast import Kept
from omni.training.losses import Losses
from omni.training.parallel import Parallel
from omni.training.selection import JOINT
from omni.training.step import Step

CONFIG: Config = debug()
ALONE = Parallel(CONFIG.train, torch.device("cpu"))


def step_of(
    network: Network,
    batch: Batch,
    weights: LossConfig = CONFIG.loss,
    seed: int = 0,
    past: Kept | None = None,
    progress: float = 0.0,
) -> Step:
    return Step(Losses(network, weights), [batch], ALONE, past or {}, nullcontext(), seed, progress)


@pytest.fixture(scope="module")
def loader() -> Loader:
    return Loader(CONFIG.data)


@pytest.fixture(scope="module")
def tokenizer(loader: Loader) -> Tokenizer:
    return loader.learn_tokenizer(400)


@pytest.fixture(scope="module")
def network(tokenizer: Tokenizer) -> Network:
    torch.manual_seed(0)
    return Network(CONFIG.model, tokenizer).eval()


@pytest.fixture(scope="module")
def batch(loader: Loader, tokenizer: Tokenizer) -> Batch:
    return loader.batch(0, tokenizer, CONFIG.model)


def test_a_masked_sense_is_an_absent_sense(network: Network, batch: Batch) -> None:
    index = torch.arange(4)
    image = network.encode("image", batch.parts["image"][index])
    sound = network.encode("audio", batch.parts["audio"][index])
    hidden = replace(sound, mask=torch.zeros_like(sound.mask))
    alone, absent = network.fuse(image).vector, network.fuse(hidden, image).vector
    torch.testing.assert_close(absent, alone, atol=1e-5, rtol=0)
    assert (network.fuse(sound, image).vector - alone).abs().max() > 1e-3


SUBSETS = [c for size in (1, 2, 3) for c in combinations(("image", "audio", "text"), size)]


@pytest.mark.parametrize("senses", SUBSETS, ids="+".join)
def test_batched_and_padded_equals_single(
    network: Network, batch: Batch, senses: tuple[str, ...]
) -> None:
    whole = {sense: rows_of(batch, sense, network) for sense in senses}
    rows = sorted(set.intersection(*(set(found) for _, found in whole.values())))[:4]
    assert len(rows) == 4
    together = [tokens[torch.tensor([found[r] for r in rows])] for tokens, found in whole.values()]
    vectors = network.fuse(*together).vector
    for i, row in enumerate(rows):
        alone = []
        for sense in senses:
            one = batch.parts[sense][torch.tensor([whole[sense][1][row]])]
            size = int(one.lengths) if sense != "image" else one.data.shape[-1]
            alone.append(network.encode(sense, replace(one, data=one.data[..., :size])))
        torch.testing.assert_close(network.fuse(*alone).vector[0], vectors[i], atol=1e-5, rtol=0)


def test_a_gist_counts_beside_what_is_shared_where_its_sense_is_present(
    network: Network, batch: Batch, tokenizer: Tokenizer
) -> None:
    torch.manual_seed(3)
    network = Network(replace(network.config, embed_dim=80, gist_dim=16), tokenizer).eval()
    gist = Gist(16, 16).apply(init_weights)
    means = torch.randn(4, 16)
    gists, index = gist(means), torch.arange(4)
    expected = F.normalize(F.layer_norm(means, (16,)), dim=1)
    near = F.normalize(gists, dim=1)
    torch.testing.assert_close(near @ near.T, expected @ expected.T)  # what is near stays near
    plain = network.encode("image", batch.parts["image"][index])
    image = replace(plain, gist=gists)
    sound = network.encode("audio", batch.parts["audio"][index])
    both, one, without = network.fuse(sound, image), network.fuse(image), network.fuse(plain)
    torch.testing.assert_close(one.vector.norm(dim=1), torch.ones(4))
    torch.testing.assert_close(F.normalize(one.vector[:, 64:]), near)
    torch.testing.assert_close(F.normalize(both.vector[:, 64:]), near)
    torch.testing.assert_close(F.normalize(one.vector[:, :64]), without.vector[:, :64])
    assert not without.vector[:, 64:].any()  # so what has a gist is found as if it had none
    torch.testing.assert_close(one.tokens.x, without.tokens.x)  # decoders see no gist
    shut = replace(image, mask=torch.zeros_like(image.mask))
    torch.testing.assert_close(network.fuse(sound, shut).vector, network.fuse(sound).vector)
    torch.testing.assert_close(network.fuse(image[index[2:]]).vector, one.vector[2:])
    for wrong in (-1, 80):
        with pytest.raises(ValueError, match=f"gist_dim must be 0 ... 79 .*got {wrong}"):
            Network(replace(network.config, gist_dim=wrong), tokenizer)


def rows_of(batch: Batch, sense: str, network: Network) -> tuple[Tokens, dict[int, int]]:
    """All items of a sense encoded at once, and where that of each sample is."""
    part = batch.parts[sense]
    return network.encode(sense, part), {row: i for i, row in enumerate(part.rows.tolist())}


@pytest.mark.parametrize("name", PRESETS)
def test_every_parameter_gets_a_gradient(name: str, loader: Loader, tokenizer: Tokenizer) -> None:
    model = PRESETS[name]().model
    toy = replace(
        model,
        width=32,
        depth=min(model.depth, 2),
        num_heads=2,
        embed_dim=16,
        gist_dim=0,
        flow_width=32,
        flow_depth=2,
        image=replace(model.image, encoder="test_resnet", size=32, patch=8),
        audio=replace(model.audio, depth=1),
        text=replace(model.text, depth=1, decoder_depth=1),
    )
    network = Network(toy, tokenizer).train()
    batch = loader.batch(0, tokenizer, toy)
    # Layers that start at zero let nothing through before the first step.
    for flow in network.flows.values():
        torch.nn.init.normal_(flow.patch_out.weight)
        if flow.draft is not None:
            torch.nn.init.normal_(flow.draft[-1].weight)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.ones_(module.weight)
    drawn = set()
    for seed in range(16):
        step = step_of(network, batch, replace(CONFIG.loss, masked=1.0), seed)
        step.backward()
        drawn.add(step.selection.joint)
    assert drawn == set(JOINT)
    without = [n for n, p in network.named_parameters() if p.grad is None or not p.grad.any()]
    assert without == [], without


def test_past_vectors_are_more_candidates(network: Network, batch: Batch) -> None:
    def made(past: Kept, memory: int = 1000) -> tuple[dict[str, torch.Tensor], Kept]:
        step = step_of(network, batch, replace(CONFIG.loss, memory=memory), past=past)
        return step.backward(), step.remember()

    alone, first = made({})
    _, kept = made(first)
    assert batch.key is not None
    for sense, (vectors, groups) in kept.items():
        part = batch.parts[sense]
        assert not vectors.requires_grad
        assert len(vectors) == 2 * len(part.rows)
        torch.testing.assert_close(vectors[: len(part.rows)], first[sense][0])
        by_key = part.rows[batch.key[part.rows].argsort(stable=True)]
        assert groups.tolist() == batch.group[by_key].tolist() * 2
    _, few = made({}, memory=3)
    assert all(len(vectors) == len(groups) == 3 for vectors, groups in few.values())
    assert made({}, memory=0)[1] == {}

    crowded, _ = made({s: (v, torch.full_like(g, -1)) for s, (v, g) in first.items()})
    names = [name for name in alone if name.startswith("contrastive/")]
    assert len(names) == 3
    assert all(crowded[name] > alone[name] for name in names)
    # What joint queries look for is of one sense, and is looked for among the past ones too.
    assert {n.split("/")[0] for n in crowded} - {n.split("/")[0] for n in alone} == {"within"}


def test_augmentation_of_pictures_fades_out(network: Network, batch: Batch) -> None:
    plain = network.fuse(network.encode("image", batch.parts["image"])).vector
    for progress, clean in ((0.0, False), (1.0, True)):
        step = step_of(network, batch, progress=progress)
        step.backward()
        shown = step.contrast.vectors["image",]
        assert torch.allclose(shown, plain, atol=1e-5) == clean


def test_an_objective_of_weight_zero_is_not_computed(network: Network, batch: Batch) -> None:
    weights = replace(CONFIG.loss, image_flow=0.0, next_token=0.0, matching=0.0)
    losses = step_of(network, batch, weights).backward()
    assert {name.split("/")[0] for name in losses} == {"contrastive", "joint", "audio_flow"}


def test_only_the_pairs_that_are_named_are_compared(network: Network, batch: Batch) -> None:
    def names(*pairs: str) -> set[str]:
        losses = step_of(network, batch, replace(CONFIG.loss, pairs=pairs, joint=0.0)).backward()
        return {name for name in losses if name.startswith("contrastive")}

    assert names("audio+text") == {"contrastive/audio-text"}
    assert names("image+text", "image+audio") == {
        "contrastive/image-text",
        "contrastive/image-audio",
    }
    for wrong in ("image", "image+image", "image+smell", "image+audio+text"):
        with pytest.raises(ValueError, match=re.escape(repr(wrong))):
            names(wrong)


def test_what_is_hidden_cannot_be_seen(network: Network, batch: Batch) -> None:
    """In words not even through runs of several; neither kind is the same as an absent token."""
    ids = batch.parts["text"].data[:4]
    blank = torch.zeros_like(ids, dtype=torch.bool)
    blank[:, 1] = True
    other = ids.clone()
    other[:, 1] = 2 + (ids[:, 1] + 1) % 300
    with torch.no_grad():
        one, same = (network.encode_blanked(x, blank).x for x in (ids, other))
        assert torch.equal(one, same)
        assert not torch.equal(network.encode_blanked(other, ~blank & False).x, one)
        tokens = network.encode("audio", batch.parts["audio"][torch.arange(4)])
        hidden = torch.zeros_like(tokens.mask)
        hidden[:, 2] = True
        changed = replace(tokens, x=tokens.x + hidden[..., None])
        seen = [network.fuse(network.hide("audio", t, hidden)).vector for t in (tokens, changed)]
        assert torch.equal(*seen)
        plain = [network.fuse(t).vector for t in (tokens, changed)]
        assert not torch.equal(*plain)
        absent = network.fuse(replace(tokens, mask=tokens.mask & ~hidden)).vector
        assert (absent - seen[0]).abs().max() > 1e-4


def test_a_token_stands_for_its_own_patch(network: Network, batch: Batch) -> None:
    for sense in ("image", "audio"):
        part = batch.parts[sense][torch.arange(4)]
        signal, lengths = network.prepare(sense, part)
        tokens = network.encode_signal(sense, signal, lengths)
        patches = network.token_patches(sense, signal)
        assert patches.shape[:2] == tokens.x.shape[:2]
        assert patches.shape[2] == network.rebuild[sense].out_features
        inside = patches.flatten()[: signal[0].numel()].sort().values
        assert torch.isin(signal[0].flatten()[:10], inside).all()
