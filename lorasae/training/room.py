"""How many sequences a run computes at once: as many as its settings say, or as many as fit into the memory there is.

The gradient of a step is the same in however many portions; a machine's own memory, unlike a GPU's, is not refused when it is short: the
process is killed. So what fits is reckoned before the first step. What the arithmetic did not see is met by `training.portions`.
"""

from lorasae.config import RunConfig
from lorasae.core.hook_points import HookPoint
from lorasae.costs.estimates import TIGHT_FROM, PlacedSAE, micro_batch_that_fits, placement
from lorasae.costs.model_sizes import sizes_from
from lorasae.errors import LabError
from lorasae.sources.loading import Loaded
from lorasae.training.memory import reachable_bytes


def sequences_at_once(config: RunConfig, loaded: Loaded, *, fast: bool, n_runs: int = 1) -> int:
    """As many as the settings say, or the largest part of a step that is reckoned to fit; 1 if none does.

    Args:
        config: The run's settings.
        loaded: What is in memory already.
        fast: Whether it is trained by the fast step.
        n_runs: Trained together in this process.
    """
    config = config.model_copy(update={"train": config.train.model_copy(update={"fast": fast})})
    saes = [placed_sae(hook_point, sae.d_in, sae.d_sae) for hook_point, sae in loaded.saes.items()]
    try:
        sizes = sizes_from(loaded.model.config.to_dict())
        placed = placement(config.adapter, sizes, saes)
    except (KeyError, LabError):  # of an architecture that the arithmetic does not know: the settings are followed
        return config.micro_batch_size
    there_is = TIGHT_FROM * reachable_bytes(loaded.device)
    return micro_batch_that_fits(config, sizes, saes, placed, there_is, loaded.device.type == "cuda", n_runs)


def placed_sae(hook_point: HookPoint, d_in: int, d_sae: int) -> PlacedSAE:
    """The SAE as the arithmetic of `costs.estimates` knows it."""
    return PlacedSAE(hook_point.layer, "before the layer" if hook_point.site == "resid_pre" else "after the layer", d_in, d_sae)
