"""Where a run is opened when a job may be at work on the GPU: there if it leaves the job room, else on the CPU, else not at all."""

from dataclasses import dataclass

from lorasae.costs.machine import free_ram_bytes
from lorasae.costs.model_sizes import sizes_of
from lorasae.errors import LabError
from lorasae.store.device_turns import Turn
from lorasae.store.run_folder import Run

FACTOR, SPARE_BYTES = 1.15, 4e9  # what must be free beside a job: the need and a little, and room for the job's own peaks
CPU_PARAMETERS = 1.5e9  # three passes of such a model over 512 tokens are some tens of seconds on a few cores
_WORK_BYTES = 1.5e9  # activations and logits of three conditions


@dataclass(frozen=True)
class Need:
    """What an opened run takes."""

    n_bytes: float
    n_parameters: float


def need_of(run: Run) -> Need:
    """The model, the run's SAEs in fp32, and what is made of a text; without bounds where the model's sizes are not known."""
    sizes = sizes_of(run.config.model)
    if sizes is None:
        return Need(float("inf"), float("inf"))
    weights = sizes.n_parameters * {"float32": 4, "bfloat16": 2}[run.config.model.dtype]
    saes = sum(8 * each["d_in"] * each["d_sae"] for each in run.result["saes"])
    return Need(weights + saes + _WORK_BYTES, sizes.n_parameters)


def device_beside_job(asked: str, need: Need, free_gpu_bytes: float, free_ram_bytes: float) -> str:
    """`cuda` or `cpu`, for a run that is opened while a job is at work on the GPU.

    Raises:
        LabError: If it has room on neither.
    """
    wanted = need.n_bytes * FACTOR + SPARE_BYTES
    if free_gpu_bytes >= wanted:
        return "cuda"
    if need.n_parameters <= CPU_PARAMETERS and free_ram_bytes >= need.n_bytes + SPARE_BYTES:
        return "cpu"
    size = f"{need.n_bytes / 1e9:.1f} GB" if need.n_bytes < float("inf") else "a model of unknown size"
    found = f"A job is at work on the GPU, which has {free_gpu_bytes / 1e9:.1f} GB free: this takes {size}, and the job must keep some"
    raise LabError(asked, f"{found}. For the CPU the model is too large", "Wait until the job is done, or pause it on its page")


def device_for(run: Run, turn: Turn, device_type: str) -> str | None:
    """Where to open a run now; None: where its own settings say.

    Raises:
        LabError: As device_beside_job.
    """
    if device_type != "cuda" or run.config.model.device == "cpu" or turn.job() is None:
        return None
    import torch

    free, _ = torch.cuda.mem_get_info()
    return device_beside_job(f"The run {run.run_id} was to be opened", need_of(run), free, free_ram_bytes())
