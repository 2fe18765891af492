"""Floating-point operations of one training token in each way, matrix product by matrix product, from shapes alone.

A product of `(n, k)` and `(k, m)` counts 2nkm. Pointwise work, norms and the optimizer are not counted: they cost time, but no way of
counting them would be comparable between machines. `tests/test_bench_flops.py` holds the sums equal to what PyTorch's own counter finds.
"""

from dataclasses import dataclass

from lorasae.planning.estimates import PlacedSAE
from lorasae.sources.published_models import ModelSizes, Projection

Parts = dict[str, float]  # part of the step -> operations per token
_BEHIND_ATTENTION = ("o_proj", "c_proj", "dense")  # by name: the maps of the attention that do not read the block's own input


@dataclass(frozen=True)
class Scene:
    """What a step's operations depend on."""

    sizes: ModelSizes
    saes: tuple[PlacedSAE, ...]
    layers: tuple[int, ...]  # with an adapter on every linear map
    rank: int
    context: int

    @property
    def lowest(self) -> int:
        return min(self.layers)

    @property
    def saes_to_pass_back(self) -> tuple[PlacedSAE, ...]:
        """Those that a gradient to the lowest adapter flows through."""
        return tuple(sae for sae in self.saes if sae.first_layer_after > self.lowest)


def two_forwards(scene: Scene) -> Parts:
    """The authors' loop, and our reference step: teacher and student each through the whole model, dense SAEs, autograd."""
    sizes = scene.sizes
    through = sizes.n_layers * _layer(scene) + _head(scene)
    return {
        "teacher": through,
        "student": through + sum(map(_dense_sae, scene.saes)) + _adapter_forward(scene),
        "backward": _backward(scene) + _head(scene) + sum(map(_dense_sae, scene.saes_to_pass_back)),
    }


def _layer(scene: Scene) -> float:
    """One block, its attention written out as full squares."""
    return 2 * scene.sizes.layer_parameters + 4 * scene.context * scene.sizes.n_heads * scene.sizes.d_head


def _head(scene: Scene) -> float:
    return 2 * scene.sizes.vocab * scene.sizes.d_model


def _dense_sae(sae: PlacedSAE) -> float:
    """Encode and decode, or the gradient through both."""
    return 4 * sae.d_in * sae.d_sae


def _adapter_forward(scene: Scene) -> float:
    return len(scene.layers) * sum(2 * scene.rank * (each.n_in + each.n_out) for each in scene.sizes.projections)


def _backward(scene: Scene) -> float:
    """From the last block to the lowest adapter: to activations and to the adapter, never to frozen weights.

    The input of the lowest adapted block needs no gradient, so the maps that read it pass none on, neither do their adapters.
    """
    sizes = scene.sizes
    blocks = sizes.n_layers - scene.lowest
    attention = 8 * scene.context * sizes.n_heads * sizes.d_head
    at_the_bottom = [each for each in sizes.projections if _reads_the_block(each, sizes.family)]
    spared = sum(2 * each.n_in * each.n_out + 2 * scene.rank * each.n_in for each in at_the_bottom)
    return blocks * (2 * sizes.layer_parameters + attention) + 2 * _adapter_forward(scene) - spared


def _reads_the_block(projection: Projection, family: str) -> bool:
    if family == "gpt_neox" and projection.name == "dense_h_to_4h":  # attention and MLP side by side
        return True
    return projection.group == "attention" and projection.name not in _BEHIND_ATTENTION
