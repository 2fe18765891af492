"""Everything that a run needs, brought into memory and checked."""

import io
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch
from huggingface_hub import HfApi
from peft import PeftModel
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import nn

from lorasae.config import AdapterConfig, RunConfig
from lorasae.core.adapter import ALONE, adapter_parameters, attach, load_adapter_weights, placed_layers
from lorasae.core.hook_points import decoder_blocks
from lorasae.core.randomness import Randomness
from lorasae.core.step import Student
from lorasae.errors import LabError
from lorasae.sources.data import Chunks, micro_batches, prepare, refuse_without_text, step_chunks
from lorasae.sources.fetching import Progress
from lorasae.sources.hub_access import token_in_use
from lorasae.sources.loading import Loaded, load
from lorasae.sources.still_to_fetch import still_to_fetch
from lorasae.store.commit_record import record_commits, recorded_commits
from lorasae.store.durable import replace_file
from lorasae.store.run_folder import Run
from lorasae.store.source_record import record_source
from lorasae.store.started_from import bring_start, weights_of_start
from lorasae.training.lookahead import Lookahead, how_far_ahead
from lorasae.training.pace import Pace
from lorasae.training.room import sequences_at_once
from lorasae.training.supervision import Report, StopRequest
from lorasae.training.threads import are_prescribed, fastest
from lorasae.training.way import Way, recorded_way, why_not_fast
from lorasae.training.workbench import Workbench
from lorasae.training.workshop import Workshop

TRIED_S = 0.06  # so much of a step is tried with each number of threads: sequences of a micro-batch, at least one


def set_up(run: Run, report: Report, stop: StopRequest, shop: Workshop) -> Workbench:
    """Everything in memory and checked, the adapter fresh or as the run begins with it, the held-out text on disk, the way chosen."""
    config = run.config
    turn = shop.turn_for(config.model)
    if not shop.alone_at_device:
        report.phase("loading", "another run is at work on this device: both take turns, step by step")
    _tell_what_comes(config, report)
    start = bring_start(run, HfApi(token=token_in_use()))
    loaded = shop.loaded = shop.loaded or load(config, recorded_commits(run), _arriving(report, stop), start)
    record_commits(run, loaded.commits)
    name = ALONE if shop.model is None else run.run_id
    randomness = Randomness(config.seed, loaded.device)
    with randomness.in_use():
        model = shop.model = attach_adapter(shop.model or loaded.model, loaded, config.adapter, name)
    if start is not None:
        begin_with(model, run, name)
    report.phase("reading", f"text from {config.data.source}")
    record_source(run, config)
    corpus = shop.corpus = shop.corpus or prepare(config.data, loaded.tokenizer, config.n_steps * config.train.tokens_per_step)
    replace_file(run.heldout, _npy(corpus.heldout))
    train, before = config.train, recorded_way(run)
    optimizer = torch.optim.AdamW(adapter_parameters(model, name), lr=train.learning_rate, weight_decay=train.weight_decay, fused=True)
    fast = why_not_fast(config, before) or shop.fast_gradients(train.kl_reduction, [Student(name, randomness)])
    wanted = before.micro_batch_size if before else config.micro_batch_size
    at_once = min(wanted, sequences_at_once(config, loaded, fast=not isinstance(fast, str), n_runs=shop.n_runs))
    if isinstance(fast, str):
        way = Way("reference", fast, at_once, None)
    else:
        frozen = before.frozen if before else how_far_ahead(config, loaded, corpus.train)
        way = Way("fast", "", at_once, None, frozen=frozen)
        shop.lookahead = shop.lookahead or Lookahead(corpus.train, config, loaded.device)
    bench = Workbench(run, config, loaded, corpus, model, name, randomness, optimizer, way, Pace(), shop, turn)
    bench.go(replace(way, n_threads=_n_threads(bench, before, shop), beside=shop.n_runs - 1))
    if at_once < wanted:
        report.remark(f"{wanted} sequences at once are reckoned to need more memory than there is; {at_once} at once do the same")
    report.remark(f"{bench.way}")
    return bench


def _tell_what_comes(config: RunConfig, report: Report) -> None:
    where = f"layers {list(config.adapter.layers)}" if config.adapter.layers else f"placement {config.adapter.placement}"
    adapter = f"adapter of rank {config.adapter.rank}, {where}"
    if missing := still_to_fetch(config):
        report.phase("downloading", f"{', '.join(missing)}, once; later runs find it on this machine")
        refuse_without_text(config.data)
    else:
        report.phase("loading", f"{config.model.model}; SAE {', '.join(map(str, config.saes))}; {adapter}")


def _arriving(report: Report, stop: StopRequest) -> Progress:
    """Tells how far a download is, with the time left at its pace; a stop is heeded in the middle of it, and what has come is kept."""
    began: dict[str, tuple[float, int]] = {}  # repository -> when its first byte of now came, and how many were here before

    def arrived(repository: str, here: int, n_bytes: int) -> None:
        stop.heed(f"Stopped while fetching {repository}; what has come is kept", trained=False)
        started, before = began.setdefault(repository, (time.monotonic(), here))
        fetched = here - before
        left_s = (time.monotonic() - started) / fetched * (n_bytes - here) if fetched else None
        report.arriving(f"{repository}: {here / 1e6:,.0f} of {n_bytes / 1e6:,.0f} MB", here / n_bytes if n_bytes else 1.0, left_s)

    return arrived


def attach_adapter(model: nn.Module, loaded: Loaded, config: AdapterConfig, name: str = ALONE) -> PeftModel:
    """A further adapter of `model`, which is the one loaded, where the config places it."""
    layers = placed_layers(config.placement, config.layers, list(loaded.saes), len(decoder_blocks(model)))
    return attach(model, layers, config.modules, config.rank, config.alpha, config.dropout, name)


def begin_with(model: PeftModel, run: Run, name: str) -> None:
    """Put the weights that the run begins with into its adapter.

    Raises:
        LabError: If they are damaged or do not fit.
    """
    try:
        load_adapter_weights(model, load_file(weights_of_start(run)), name)
    except (SafetensorError, ValueError, RuntimeError) as error:
        asked = f"The run {run.run_id} was to begin with the adapter {run.config.adapter.start}"
        raise LabError(asked, f"Its weights do not fit: {str(error).splitlines()[0][:200]}", "Choose another") from error


def _n_threads(bench: Workbench, before: Way | None, shop: Workshop) -> int | None:
    """How many threads compute from now on: as prescribed, as before, or as many as turn out to be fastest. None on a GPU."""
    if bench.loaded.device.type != "cpu":
        return None
    if before and before.n_threads and before.n_threads <= shop.allowed_threads and not are_prescribed():
        torch.set_num_threads(before.n_threads)
    elif not shop.threads_chosen and not are_prescribed() and bench.config.n_steps:
        fastest(shop.allowed_threads, _piece_of_a_step(bench))
    shop.threads_chosen = True
    return torch.get_num_threads()


def _piece_of_a_step(bench: Workbench) -> Callable[[], None]:
    """Computes a gradient of so many sequences of a micro-batch as take about TRIED_S, and leaves no trace."""
    chunks = step_chunks(bench.corpus.train, bench.config.order_seed, 0, bench.config.sequences_per_step)

    gradients = bench.shop.gradients(bench.way.step, bench.config.train.kl_reduction, [replace(bench.student, randomness=Randomness(0))])

    def compute(n_sequences: int) -> None:
        gradients.accumulate_each(list(micro_batches(chunks[:n_sequences], n_sequences, bench.loaded.device)))
        bench.optimizer.zero_grad(set_to_none=True)

    compute(1)  # warms up
    began = time.monotonic()
    compute(1)
    n_sequences = min(bench.way.micro_batch_size, max(1, int(TRIED_S / (time.monotonic() - began))))
    return lambda: compute(n_sequences)


def _npy(chunks: Chunks) -> bytes:
    content = io.BytesIO()
    np.save(content, chunks, allow_pickle=False)
    return content.getvalue()
