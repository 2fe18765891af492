"""Floating-point operations of one training token in each way, matrix product by matrix product, from shapes alone.

A product of `(n, k)` and `(k, m)` counts 2nkm. Pointwise work, norms, the optimizer, and what an SAE adds up over active features alone
are not counted: they cost time, but are no product. `tests/test_bench_ways.py` holds the sums equal to what PyTorch's own counter finds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from lorasae.costs.estimates import PlacedSAE
from lorasae.sources.published_models import ModelSizes, Projection

Parts = dict[str, float]  # part of the step -> operations per token
_BEHIND_ATTENTION = ("o_proj", "c_proj", "dense")  # by name: the maps of the attention that do not read the block's own input


@dataclass(frozen=True)
class Scene:
    """What a step's operations depend on."""

    sizes: ModelSizes
    saes: tuple[PlacedSAE, ...]
    layers: tuple[int, ...]  # with an adapter on every linear map
    ranks: tuple[int, ...]  # of the adapters that are trained together
    context: int

    @property
    def lowest(self) -> int:
        return min(self.layers)

    @property
    def n_adapted(self) -> int:
        """Blocks that are run with a gradient."""
        return self.sizes.n_layers - self.lowest

    @property
    def saes_to_pass_back(self) -> tuple[PlacedSAE, ...]:
        """Those that a gradient to the lowest adapter flows through."""
        return tuple(sae for sae in self.saes if sae.first_layer_after > self.lowest)

    @property
    def squares(self) -> list[float]:
        """By block: keys that one token meets where attention is written out."""
        return [float(self.context)] * self.sizes.n_layers


def two_forwards(scene: Scene) -> Parts:
    """The authors' loop, and our reference step, of one adapter: teacher and student each through the whole model, dense SAEs, autograd."""
    (rank,) = scene.ranks
    through = _blocks(scene, scene.squares) + _head(scene)
    beside = len(scene.layers) * _beside(scene, rank)
    return {
        "teacher": through,
        "student": through + beside + sum(map(_dense_sae, scene.saes)),
        "backward": _backward(scene, rank, scene.squares, spared=rank) + _head(scene) + sum(map(_dense_sae, scene.saes_to_pass_back)),
    }


def shared(scene: Scene, keys: Sequence[float], merged_over: int | None, *, kept: bool = False) -> Parts:
    """The fast step: what is frozen once for all adapters, sparse SAEs, the head's gradient made with its value.

    Args:
        scene: Its ranks share the frozen part.
        keys: By block: keys that one token meets on average, where what a mask hides is not computed.
        merged_over: Tokens of a step, where each adapter is added to the weights once per step; None: it is computed beside them.
        kept: What is frozen is there already, up to what the teacher's head reads.
    """
    border = min([scene.lowest, *(sae.first_layer_after for sae in scene.saes)])  # from here on teacher and student differ
    passed = scene.saes_to_pass_back
    frozen_saes = sum(_encode(sae) for sae in scene.saes if sae not in passed)
    parts = {
        "frozen stream": 0.0 if kept else _blocks(scene, keys[: scene.lowest]) + frozen_saes,
        "teacher": (0.0 if kept else _blocks(scene, keys[border:])) + _head(scene),
        "students": 0.0,
        "backward": 0.0,
    }
    for rank in scene.ranks:
        adapter = len(scene.layers) * (_beside(scene, rank) if merged_over is None else _merge(scene, rank) / merged_over)
        parts["students"] += _blocks(scene, keys[scene.lowest :]) + adapter + sum(map(_encode, passed)) + _head(scene)
        parts["backward"] += _backward(scene, rank, keys, spared=0 if merged_over else rank) + _head(scene)
    return parts


def causal_keys(context: int, block: int, window: int | None) -> float:
    """Keys that a token meets on average where queries are taken `block` at a time, with the keys that one of them sees."""
    met = 0
    for start in range(0, context, block):
        stop = min(start + block, context)
        met += (stop - start) * (stop - (0 if window is None else max(0, start + 1 - window)))
    return met / context


def _blocks(scene: Scene, keys: Sequence[float]) -> float:
    """As many blocks as `keys` has entries: their linear maps, and queries with keys and weights with values."""
    return 2 * scene.sizes.layer_parameters * len(keys) + 4 * sum(keys) * scene.sizes.n_heads * scene.sizes.d_head


def _head(scene: Scene) -> float:
    return 2 * scene.sizes.vocab * scene.sizes.d_model


def _dense_sae(sae: PlacedSAE) -> float:
    """Encode and decode, or the gradient through both."""
    return _encode(sae) + 2 * sae.d_sae * sae.d_in


def _encode(sae: PlacedSAE) -> float:
    return 2 * sae.d_in * sae.d_sae


def _beside(scene: Scene, rank: int) -> float:
    """One block's adapters, computed beside the maps that they sit on."""
    return sum(2 * rank * (each.n_in + each.n_out) for each in scene.sizes.projections)


def _merge(scene: Scene, rank: int) -> float:
    """One block's adapters, added to the weights of their maps."""
    return 2 * rank * scene.sizes.layer_parameters


def _backward(scene: Scene, rank: int, keys: Sequence[float], spared: int) -> float:
    """From the last block to the lowest adapter: to activations and to the adapter, never to frozen weights.

    The input of the lowest adapted block needs no gradient, so the maps that read it pass none on; neither do adapters of rank `spared`
    beside them. Of an adapter there are four products as large as its two of the forward pass, or, where it was merged, four as well: the
    gradient to its input is then part of the map's.
    """
    sizes = scene.sizes
    attention = 8 * sum(keys[scene.lowest :]) * sizes.n_heads * sizes.d_head
    maps = 2 * sizes.layer_parameters * scene.n_adapted
    at_the_bottom = [each for each in sizes.projections if _reads_the_block(each, sizes.family)]
    not_needed = sum(2 * each.n_in * each.n_out + 2 * spared * each.n_in for each in at_the_bottom)
    return maps + attention + 2 * len(scene.layers) * _beside(scene, rank) - not_needed


def _reads_the_block(projection: Projection, family: str) -> bool:
    if family == "gpt_neox" and projection.name == "dense_h_to_4h":  # attention and MLP side by side
        return True
    return projection.group == "attention" and projection.name not in _BEHIND_ATTENTION
