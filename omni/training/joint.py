"""Objectives on sequences of all senses: which of them belong together, and what is hidden."""

from torch import Tensor

from omni.batch import SENSES, Tokens
from omni.modality.text import END
from omni.network import Fused
from omni.objective.masked import corrupt, draw_hidden, patches_loss, words_loss
from omni.objective.matching import blur, matching_loss, mix
from omni.training.micro_batch import MicroBatch, at_least_one


def matching(step: MicroBatch) -> dict[str, Tensor]:
    """Foreign items are of this micro-batch: the one loss that depends on what else is in it."""
    mine = step.mine(step.selection.matched)
    rows = at_least_one(mine)
    vectors = {sense: step.fused[sense,].vector.detach() for sense in step.parts}
    groups = {s: step.batch.group[part.rows.clamp(min=0)] for s, part in step.parts.items()}
    group, keys = step.batch.group[rows], step.key[rows]
    mixture = mix(vectors, groups, step.items(rows), group, keys, step.network.scale.detach())
    senses = {}
    for number, sense in ((SENSES.index(sense), sense) for sense in step.parts):
        fused = step.fused[sense,][mixture.index[:, number]]
        there = fused.tokens.mask & mixture.present[:, number, None]
        vector = blur(fused.vector.detach(), keys, number)
        senses[sense] = Fused(Tokens(fused.tokens.x, there), vector)
    loss = matching_loss(step.network.match(senses), mixture.label, len(step.selection.matched))
    return {"matching": loss * bool(len(mine))}


def masked(step: MicroBatch) -> dict[str, Tensor]:
    """Some tokens of every sense, from all that is left of the sample."""
    network, mine = step.network, step.mine(step.selection.masked)
    keys, items = step.key[at_least_one(mine)], step.items(at_least_one(mine))
    sequence, hidden = [], {}
    for number, sense in ((SENSES.index(sense), sense) for sense in step.parts):
        item, there = items[:, number].clamp(min=0), (items[:, number] >= 0)[:, None]
        tokens = step.tokens[sense][item]
        hide = draw_hidden(keys, number, tokens.x.shape[1]) & tokens.mask & there
        if sense == "text":
            ids = step.parts["text"].data[item]
            hide = hide & (ids > END)
            tokens = network.encode_blanked(*corrupt(ids, hide, keys, network.read_size))
        else:
            tokens = network.hide(sense, tokens, hide)
        sequence.append(Tokens(tokens.x, tokens.mask & there))
        hidden[sense] = hide
    x = network.fuse(*sequence).tokens.x
    parts = x.split([tokens.x.shape[1] for tokens in sequence], 1)
    losses = {}
    for (sense, hide), part in zip(hidden.items(), parts, strict=True):
        item = items[:, SENSES.index(sense)].clamp(min=0)
        total = int(step.selection.table.has(sense)[step.selection.masked].sum())
        if sense == "text":
            loss = words_loss(
                network.guess_words(part[hide]), step.parts["text"].data[item], hide, total
            )
        else:
            patches = network.token_patches(sense, step.signals[sense][0])[item]
            loss = patches_loss(network.rebuild[sense](part[hide]), patches, hide, total)
        losses[f"masked/{sense}"] = loss * bool(len(mine))
    return losses
