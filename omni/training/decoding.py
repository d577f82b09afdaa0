"""Objectives of the decoders: texts, pictures and speech from what the senses were fused to."""

import torch
import torch.nn.functional as F
from torch import Tensor

from omni.batch import SENSES, WRITTEN, Part, Tokens, stack
from omni.modality.text import PAD
from omni.nn.draws import Draws, Purpose
from omni.nn.lengths import by_length
from omni.objective.flow import draw_noise, draw_times, flow_loss, noised
from omni.objective.next_token import next_token_loss
from omni.training.micro_batch import MicroBatch, at_least_one
from omni.training.selection import Source

LENGTH = 0.2
"""weight of the length of speech, in log frames, beside the speech"""
UNCONDITIONAL = 0.1
"""share of the items of a flow decoder that learn without a source, for guidance"""


def next_token(step: MicroBatch, source: Source) -> dict[str, Tensor]:
    """What is to be written of the samples that have all of `source`, word by word."""
    everywhere = step.selection.common(source, ("text",))
    mine, rows = step.mine(everywhere), step.rows[source]
    captions = step.batch.parts.get("caption") or step.network.blank("text", step.device)
    captions = captions[at_least_one(torch.isin(captions.rows, mine).nonzero()[:, 0])]
    place = torch.searchsorted(rows, captions.rows).clamp(max=max(len(rows) - 1, 0))
    loss = _written(step, step.fused[source].tokens[place], captions, "caption", everywhere)
    return {f"next_token/{'+'.join(source)}": loss * bool(len(mine))}


def answer(step: MicroBatch) -> dict[str, Tensor]:
    """The answers to the questions of samples, each from all that its sample has as one sequence.

    A question is in no other objective: as it is asked of many things, it tells none from another.
    """
    network, mine = step.network, step.mine(step.selection.asked)
    question = step.batch.parts.get("question") or network.blank("text", step.device)
    items = step.items(at_least_one(mine))
    sequence = [network.encode("text", question)]
    for sense in (sense for sense in step.parts if sense != "text"):
        item = items[:, SENSES.index(sense)]
        tokens = step.tokens[sense][item.clamp(min=0)]
        sequence.append(Tokens(tokens.x, tokens.mask & (item >= 0)[:, None]))
    answers = step.batch.parts.get("answer") or network.blank("text", step.device)
    loss = _written(step, network.fuse(*sequence).tokens, answers, "answer", step.selection.asked)
    return {"next_token/answer": loss * bool(len(mine))}


def _written(
    step: MicroBatch, memory: Tokens, texts: Part, name: str, everywhere: Tensor
) -> Tensor:
    """The loss of texts, each after the token of its language, over those of the whole step."""
    decoder, ids = step.network.text_decoder, texts.data
    total = int(step.selection.table.written[everywhere, WRITTEN.index(name)].sum())
    shown = ids[:, :-1]
    if share := step.selection.word_dropout:
        draws = Draws(step.key[texts.rows.clamp(min=0)], Purpose.WORD_DROPOUT)
        away = draws.uniform(0, 1, shown.shape[1]) < share
        away[:, 0] = False  # the language
        shown = shown.masked_fill(away, PAD)

    def decode(shown: Tensor, _: Tensor, memory: Tensor, mask: Tensor) -> Tensor:
        return decoder.hidden(shown, decoder.keys(Tokens(memory, mask)), mask)[0]

    # Most positions are padding: only the others are worth a row of the vocabulary.
    targets = ids[:, 1:]
    present = targets != PAD
    hidden = by_length(decode, shown, present, memory.x, memory.mask)
    return next_token_loss(decoder.head(hidden[present]), targets[present], total)


def flow(step: MicroBatch, sense: str) -> dict[str, Tensor]:
    """The decoder of `sense` on what is dealt out to it."""
    dealt = step.selection.flows[sense]
    memories, rows = [], []
    for source, everywhere in dealt.items():
        mine = step.mine(everywhere)
        memories.append(step.fused[source].tokens[torch.searchsorted(step.rows[source], mine)])
        rows.append(mine)
    if not memories:
        return {}
    rows = torch.cat(rows)
    if not (count := len(rows)):
        source = next(iter(dealt))
        memories, rows = [step.fused[source].tokens[at_least_one(rows)]], at_least_one(rows)
    memory = stack(memories)
    index = torch.searchsorted(step.parts[sense].rows, rows)
    part = step.parts[sense][index if count else rows]
    everywhere = torch.cat([*dealt.values()])
    lengths = step.selection.table.lengths[everywhere, SENSES.index(sense)]
    total = int(step.network.num_patches(sense, lengths).sum())
    losses = {f"{sense}_flow": _flow_loss(step, sense, memory, part, step.key[rows], total)}
    if sense == "audio":
        frames = step.network.log_mel.num_frames(part.lengths).float().log()
        error = F.smooth_l1_loss(step.network.num_frames(memory), frames, reduction="sum")
        losses["audio_flow/length"] = LENGTH * error / max(len(everywhere), 1)
    return {name: loss * bool(count) for name, loss in losses.items()}


def _flow_loss(
    step: MicroBatch, sense: str, memory: Tokens, part: Part, keys: Tensor, total: int
) -> Tensor:
    clean, mask = step.network.patches(sense, part)
    flow, number = step.network.flow(sense), SENSES.index(sense)
    # As long as can be: what is drawn for an item does not depend on its neighbours' length.
    noise = draw_noise(keys, number, len(flow.positions), clean.shape[2])
    noise = noise[:, : clean.shape[1]]
    time = draw_times(keys, number)
    drop = Draws(keys, Purpose.FLOW_UNCONDITIONAL, number).uniform(0, 1) < UNCONDITIONAL
    predicted = flow(noised(clean, noise, time), mask, time, memory.x, memory.mask, drop)
    return flow_loss(predicted, clean, time, mask, total)
