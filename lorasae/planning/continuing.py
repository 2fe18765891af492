"""The settings of a run that begins with an adapter: of the run it came from, or, for a stranger's, as its files state them. No torch."""

from collections.abc import Mapping
from typing import Any

from huggingface_hub import HfApi

from lorasae.config import RunConfig, overlay
from lorasae.costs.estimates import placement
from lorasae.costs.model_sizes import sizes_of
from lorasae.errors import LabError
from lorasae.planning.probing import placed_saes
from lorasae.sources.catalog import models
from lorasae.sources.peft_files import AdapterShape, refuse_other_model, refuse_other_settings
from lorasae.sources.published_models import hub_id
from lorasae.sources.same_model import short_name
from lorasae.store.runs import RunStore
from lorasae.store.started_from import Start, find_start


def settings_to_continue(start: str, found: Start) -> dict[str, Any]:
    """What a run that begins with this adapter starts from, nested: all of the settings of the run that made it, so that only what is
    meant to change has to be changed; of an adapter made elsewhere its model, rank, scale and places, and nothing trained.
    """
    shape = found.shape
    own: dict[str, Any] = {"start": start, "rank": shape.rank, "alpha": shape.alpha, "layers": list(shape.layers)}
    if found.run is not None:
        return overlay(found.run.config.model_dump(mode="json"), {"adapter": own})
    adapter = {**own, "modules": list(shape.modules)}
    return {"model": {"model": model_of(shape)}, "adapter": adapter, "train": {"tokens": 0}}


def model_of(shape: AdapterShape) -> str:
    """The model of an adapter as the lab names it: a copy under another owner's name is the model that SAEs exist for."""
    name = hub_id(shape.base_model)
    known = [offer.model for offer in models()]
    return name if name in known else next((each for each in known if short_name(each) == short_name(name)), name)


def with_start(start: str, values: Mapping[str, Any], owner: str, store: RunStore, api: HfApi) -> dict[str, Any]:
    """Settings from a terminal, laid over those of the adapter they begin with; how it is trained is asked for anew.

    Raises:
        LabError: As `find_start`.
    """
    settings = settings_to_continue(start, find_start(start, owner, store, api))
    return overlay({key: settings[key] for key in ("model", "saes", "adapter", "data") if key in settings}, values)


def refuse_other_adapter(config: RunConfig, shape: AdapterShape) -> None:
    """Whether a run's settings are those of the adapter it begins with, as far as the model's sizes are known here.

    Raises:
        LabError: For another model, rank, scale or place.
    """
    asked = f"The adapter {config.adapter.start} was to be begun with"
    refuse_other_model(asked, shape, config.model.model)
    sizes = sizes_of(config.model)
    if sizes is None:
        return
    placed = placement(config.adapter, sizes, placed_saes(config, sizes))
    refuse_other_settings(config.adapter, shape, placed.layers, [each.path for each in placed.projections])
    sides = {each.path: (each.n_in, each.n_out) for each in placed.projections}
    if odd := [path for path, size in shape.sizes.items() if sides.get(path) != size]:
        raise LabError(asked, f"Its matrices on {odd[0]} are not of this model's size", "Choose an adapter that was made for this model")
