"""Batches of shards, endless, exactly the right samples: any step can be asked for at any time."""

import time
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from omni.batch import Batch, Sample
from omni.config import DataConfig, ModelConfig, TextConfig
from omni.modality.text import Tokenizer
from omni.modality.tower import adopt_tokenizer
from omni.pipeline.assemble import KEY, Assembler, Made, draw_numbers
from omni.pipeline.collate import Buffers
from omni.pipeline.dataset import Dataset
from omni.pipeline.formats import BITS
from omni.pipeline.plan import WINDOW, Plan, Share, few_samples
from omni.pipeline.prefetch import Job, Prefetcher
from omni.pipeline.quarantine import Ledger, Quarantine
from omni.pipeline.reader import Reader, SampleError
from omni.pipeline.remote import Cache, is_remote
from omni.pipeline.sample import decode_sample, read_texts
from omni.pipeline.synthetic import WORLDS, synthetic_shards
from omni.pipeline.worker import Workers

AHEAD = 4
"""batches that a thread prepares while the network works"""
WINDOWS_AHEAD, SHARDS_AHEAD = 4, 16
"""how far ahead shards are fetched that are far away"""
KEPT_BYTES = 512 << 20
"""of decoded samples that stay in memory, where one process does all"""
ALL = sum(BITS.values())


class Loader:
    """The batches of a run.

    Args:
        config: which samples, and how many.
        seed: with the step, all that the order depends on.
        folder: of the run, where damaged samples are written down.
        rank, world: this process among those that share every batch.
        parts: micro-batches that its share comes in.

    Raises:
        ValueError: the data sets, or what is asked of them, are not as they must be.
    """

    def __init__(
        self,
        config: DataConfig,
        seed: int = 0,
        folder: Path | None = None,
        rank: int = 0,
        world: int = 1,
        parts: int = 1,
    ) -> None:
        paths = [
            synthetic_shards(path, config.split) if path in WORLDS else path for path in config.path
        ]
        self.config, self.share = config, Share(rank, world, parts)
        self.datasets = [Dataset(path, config.split) for path in paths]
        self.plan = Plan(config, seed, self.datasets)
        orders = self.plan.blend.orders
        self.quarantine = Quarantine(folder, config.max_bad, sum(map(len, orders)))
        self.waited = 0.0
        """seconds that somebody has waited for a batch"""

    @property
    def warning(self) -> str:
        """What is doubtful about the data, as `data.prepare check` says it; or ""."""
        return few_samples(self.quarantine.total, self.config.batch_size)

    @property
    def damaged(self) -> int:
        """Samples found damaged so far, in this run and in what it goes on from."""
        return len({(name, number) for name, number, _ in self.quarantine.faults})

    def find_tokenizer(self) -> Tokenizer | None:
        """The tokenizer that lies beside the first shards, near or far."""
        text = self.datasets[0].beside("tokenizer.json")
        return None if text is None else Tokenizer.from_json(text)

    def make_tokenizer(self, text: TextConfig) -> Tokenizer:
        """One that is learned; a pretrained encoder, if one is named, reads by its own."""
        learned = self.learn_tokenizer(text.vocab_size)
        if not text.pretrained:
            return learned
        return Tokenizer(learned.fast, adopt_tokenizer(text.pretrained))

    def learn_tokenizer(self, vocab_size: int) -> Tokenizer:
        """The tokenizer that lies beside the shards, or one for the texts of the split."""
        return self.find_tokenizer() or Tokenizer.train(*self.texts(), vocab_size)

    def texts(self) -> tuple[list[str], list[str]]:
        """Texts of the split, of a large one the first, and the language of each."""
        languages, texts = [], []
        for dataset in self.datasets:
            for sample in read_texts(dataset):
                allowed = (
                    {*self.config.languages, sample.language} if self.config.languages else None
                )
                for language, values in sample.texts.items():
                    if allowed is None or language in allowed:
                        languages += [language] * len(values)
                        texts += values
                languages += [sample.language] * len(sample.answers)
                texts += sample.answers
        return texts, languages

    @property
    def masks(self) -> set[int]:
        """The sets of modalities that the samples of the run have."""
        return {mask for order in self.plan.blend.orders for mask in order.masks}

    @cached_property
    def written(self) -> tuple[bool, set[str]]:
        """Whether there are questions with answers, and the languages that texts are taken in."""
        has_answers, languages = False, set[str]()
        translates = self.config.foreign > 0 or self.config.translated > 0
        for dataset in self.datasets:
            for sample in read_texts(dataset):
                has_answers |= bool(sample.answers)
                languages.add(sample.language)
                if translates:
                    allowed = self.config.languages or sample.texts.keys()
                    languages |= sample.texts.keys() & {*allowed}
        return has_answers, languages

    def has_answers(self) -> bool:
        """Whether there are questions with answers among the first texts."""
        return self.written[0]

    def examples(self, count: int, sample_rate: int) -> list[Sample]:
        """At most `count` samples of the first data set that have all senses, spread evenly.

        Those that are damaged are passed over: they are told of when their turn comes in training.
        """
        dataset, reader = self.datasets[0], Reader(self.datasets[0])
        ends = np.cumsum([shard.counts[ALL] for shard in dataset.shards])
        total, found = int(ends[-1]), []
        for rank in range(0, total, max(1, -(-total // count))):
            at = int(np.searchsorted(ends, rank, "right"))
            row = dataset.shards[at].rows(ALL)[rank - ends[at] + dataset.shards[at].counts[ALL]]
            with suppress(SampleError):
                members = reader.members(int(dataset.starts[at] + row))
                sample = decode_sample(*members, sample_rate, dataset.shards[at].name)
                if len(sample.senses) == len(BITS):  # an old index counts empty files
                    found.append(sample)
        reader.close()
        return found

    def batch(self, step: int, tokenizer: Tokenizer, model: ModelConfig) -> Batch:
        """The batch of a step."""
        return Assembler(**self._rules(tokenizer, model)).make(step).batch

    def batches(
        self, start: int, stop: int, tokenizer: Tokenizer, model: ModelConfig
    ) -> Generator[Batch, None, None]:
        """The micro-batches of the steps `start` to `stop - 1`, each good until the next is taken.

        Raises `ValueError` where too much is damaged, `WorkerError` where a worker cannot go on.
        """
        rules, ledger = self._rules(tokenizer, model), Ledger(self.plan, start)
        source = self._by_workers if self.config.workers else self._by_thread
        shards = (shard for dataset in self.datasets for shard in dataset.shards)
        prefetcher = Prefetcher(Cache()) if any(is_remote(s.url) for s in shards) else None
        parts = self.share.parts
        turns = start * parts, stop * parts
        made, began = source(*turns, rules), time.monotonic()
        try:
            for turn, result in enumerate(made, turns[0]):
                self.waited += time.monotonic() - began
                step, *place = self.share.locate(turn)
                if (
                    prefetcher
                    and turn % parts == 0
                    and (step == start or self.plan.opens_window(step))
                ):
                    prefetcher.want(self._ahead(step))
                picks = self.plan.batch(step, *place)
                self.quarantine.add(result.faults, result.damaged, len(picks))
                if self.share.world == 1:
                    ledger.add(step, picks, result.substituted, (turn + 1) % parts == 0)
                yield result.batch
                began = time.monotonic()
        finally:
            made.close()
            if prefetcher:
                prefetcher.close()

    def _ahead(self, step: int) -> list[Job]:
        """The shards that are far away among those that come next."""
        stop = step + WINDOWS_AHEAD * WINDOW
        shards = self.plan.shards(step, stop, self.share.rank, self.share.world)
        far = [shard for shard in shards if is_remote(shard.url)][:SHARDS_AHEAD]
        return [(shard.url, shard.index.tar_bytes, shard.sha256) for shard in far]

    def state(self, step: int) -> dict[str, Any]:
        """What a checkpoint after so many steps needs of the loader: less than a kilobyte."""
        return self.plan.state(step)

    def restore(self, state: dict[str, Any], changed: bool = False) -> int:
        """The step with which to go on (see `Plan.restore`)."""
        return self.plan.restore(state, changed)

    def names(self, step: int, keys: list[int]) -> Iterator[str]:
        """What the samples with some keys are called: SHARD/KEY."""
        wanted = {*keys}  # a sample may come a second time, with its text alone
        picks = [*self.plan.batch(step), *self.plan.extra(step)]
        found = draw_numbers(self.plan.seed, picks)[:, KEY].view(np.int64).tolist()
        for pick, key in zip(picks, found, strict=True):
            if key in wanted:
                wanted.remove(key)
                reader = Reader(self.datasets[pick.source])
                yield f"{reader.dataset.locate(pick.number)[0].name}/{reader.key(pick.number)}"
                reader.close()

    def _rules(self, tokenizer: Tokenizer, model: ModelConfig) -> dict[str, Any]:
        return {
            "config": self.config,
            "plan": self.plan,
            "tokenizer": tokenizer,
            "model": model,
            "share": self.share,
            "known": frozenset(self.quarantine.faults),
        }

    def _by_workers(
        self, start: int, stop: int, rules: dict[str, Any]
    ) -> Generator[Made, None, None]:
        workers = Workers(self.config.workers, rules)
        try:
            yield from workers.batches(start, stop)
        finally:
            workers.close()

    def _by_thread(
        self, start: int, stop: int, rules: dict[str, Any]
    ) -> Generator[Made, None, None]:
        """Prepared ahead in a thread: decoders leave the interpreter to others."""
        assembler = Assembler(**rules, keep_bytes=KEPT_BYTES)
        ring = [Buffers.allocate(assembler.size, assembler.model) for _ in range(AHEAD + 1)]
        with ThreadPoolExecutor(1) as pool:

            def ask(turn: int):
                return pool.submit(assembler.make, turn, ring[turn % len(ring)])

            waiting = [ask(turn) for turn in range(start, min(start + AHEAD, stop))]
            try:
                for turn in range(start, stop):
                    made = waiting.pop(0).result()
                    if turn + AHEAD < stop:
                        waiting.append(ask(turn + AHEAD))
                    yield made
            finally:
                for future in waiting:
                    future.cancel()
