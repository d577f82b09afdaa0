"""The training loop, whole: python train.py PRESET [--section.field value] [--resume].

python train.py demo                       # the emoji of the repository, on a laptop
python train.py demo --train.steps 300     # any field of omni/config.py is a flag
python train.py demo --resume              # goes on from the newest checkpoint
"""

import os
import sys
from pathlib import Path

import torch
import tyro

from omni.config import Config
from omni.interface import Omni, pick_device
from omni.modality.text import Tokenizer
from omni.network import Network
from omni.nn.flow import FlowBlock
from omni.nn.transformer import Block
from omni.pipeline.loader import Loader
from omni.presets import PRESETS
from omni.preview import write_preview
from omni.training.checkpoint import list_checkpoints, load_checkpoint, save_checkpoint
from omni.training.log import Log
from omni.training.losses import Step
from omni.training.optim import make_average, make_optimizers, step_all
from omni.training.schedule import learning_rate


def main() -> None:
    """Reads the command line and trains."""
    arguments = sys.argv[1:]
    resume = "--resume" in arguments
    arguments = [argument for argument in arguments if argument != "--resume"]
    config = tyro.extras.overridable_config_cli(
        {name: (preset.__doc__ or "", preset()) for name, preset in PRESETS.items()},
        args=arguments,
    )
    try:
        train(config, Path("runs") / config.name, resume)
    except ValueError as error:
        sys.exit(f"train.py: {error}")


def train(config: Config, run: Path, resume: bool = False) -> None:
    """Trains up to `config.train.steps`; a finished run is left as it is."""
    c = config.train
    checkpoint = next(reversed(list_checkpoints(run)), None)
    if checkpoint and _steps(checkpoint) >= c.steps:
        print(f"{run} is finished: {checkpoint}")
        return
    if checkpoint and not resume:
        raise ValueError(f"{run} holds an unfinished run: add --resume, or delete it")
    run.mkdir(parents=True, exist_ok=True)
    device = pick_device(c.device)
    torch.set_num_threads(c.threads or len(os.sched_getaffinity(0)))

    loader = Loader(config.data, c.seed, run)
    if checkpoint:
        tokenizer = Tokenizer.load(checkpoint / "tokenizer.json")
    else:
        tokenizer = loader.learn_tokenizer(config.model.text.vocab_size)
    torch.manual_seed(c.seed)
    network = Network(config.model, tokenizer.vocab_size).to(device).train()
    optimizers, average = make_optimizers(network, c), make_average(network, c.ema)
    start, past = 0, {}
    if checkpoint:
        state, past = load_checkpoint(checkpoint, network, optimizers, average)
        start = loader.restore(state)
    if c.compile:
        compile_blocks(network)

    generator = torch.Generator(device)
    with Log(run, start, c.steps, config.data.batch_size) as log:
        batches = loader.batches(start, c.steps, tokenizer, config.model)
        for step, batch in enumerate(batches, start):
            done = step + 1
            # Drawn anew from the step, never a running state: a resumed run is the same run.
            generator.manual_seed(c.seed * 1_000_003 + step)
            with torch.autocast(device.type, torch.bfloat16, enabled=c.precision == "bf16"):
                inputs = network, batch.to(device), config.loss, generator, past
                forward = Step(*inputs, progress=step / c.steps)
                losses = forward.losses()
            loss = config.loss.total(losses)
            loss.backward()
            norm = torch.nn.utils.clip_grad_norm_(network.parameters(), c.clip)
            step_all(optimizers, learning_rate(step, c.lr, c.warmup, c.steps))
            average.update_parameters(network)
            if done >= config.loss.memory_from * c.steps:
                past = forward.remember(config.loss.memory)

            log.advance()
            if done % c.log_every == 0 or done == c.steps:
                numbers = {"loss": loss, **losses, "norm": norm, "scale": network.scale}
                log.record(done, numbers | {"damaged": loader.damaged}, loader.waited)
            if done % c.save_every == 0 or done == c.steps:
                state = network, optimizers, average, past
                save_checkpoint(run, done, loader.state(done), config, tokenizer, *state)
            if c.sample_every and (done % c.sample_every == 0 or done == c.steps):
                folder = run / "preview" / f"step-{done:06d}"
                assert isinstance(average.module, Network)
                model = Omni(average.module, tokenizer, config, c.device)
                write_preview(model, loader.examples(8, config.model.audio.sample_rate), folder)


def compile_blocks(network: Network) -> None:
    """torch.compile, block by block: blocks of a kind share what was compiled."""
    for module in network.modules():
        if isinstance(module, Block | FlowBlock):
            module.compile()


def _steps(checkpoint: Path) -> int:
    return int(checkpoint.name.removeprefix("step-"))


if __name__ == "__main__":
    main()
