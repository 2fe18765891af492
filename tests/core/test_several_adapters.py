"""Several adapters on one frozen model: each acts alone, and each is, in its bits, what it would have been alone."""

import pytest
import torch
from peft import PeftModel
from torch import Tensor, nn

from lorasae.core.adapter import (
    adapted_layers,
    adapter_off,
    adapter_parameters,
    adapter_weights,
    attach,
    evaluating,
    in_use,
    load_adapter_weights,
    train_adapter_only,
)
from lorasae.core.randomness import Randomness
from tests.core.toys import FAMILIES, some_ids, tiny_model

SHAPES = {"small": ((2, 3), ("attention", "mlp"), 2), "large": ((1, 2, 3), ("mlp",), 4), "one": ((3,), ("attention",), 1)}


def with_adapter(model: nn.Module, name: str) -> tuple[PeftModel, Randomness]:
    """A further adapter of the model, which draws from a stream of its own."""
    layers, modules, rank = SHAPES[name]
    randomness = Randomness(11)
    with randomness.in_use():
        return attach(model, layers, modules, rank=rank, alpha=4.0, dropout=0.2, name=name), randomness


def three(family: str) -> tuple[PeftModel, dict[str, Randomness]]:
    model: nn.Module = tiny_model(family)
    streams = {}
    for name in SHAPES:
        model, streams[name] = with_adapter(model, name)
    assert isinstance(model, PeftModel)
    return model, streams


def logits_of(model: nn.Module) -> Tensor:
    return model(input_ids=some_ids(), use_cache=False).logits


def trained(model: PeftModel, name: str, randomness: Randomness, n_steps: int = 3) -> dict[str, Tensor]:
    """The adapter's weights after a few steps of some loss, dropout on."""
    optimizer = torch.optim.AdamW(adapter_parameters(model, name), lr=1e-2)
    for _ in range(n_steps):
        train_adapter_only(model)
        optimizer.zero_grad()
        with in_use(model, name), randomness.in_use():
            logits_of(model).square().mean().backward()
        optimizer.step()
    return adapter_weights(model, name)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", SHAPES)
def test_an_adapter_beside_others_begins_and_trains_in_the_same_bits_as_alone(family: str, name: str) -> None:
    model, streams = three(family)
    for other in SHAPES.keys() - {name}:
        trained(model, other, streams[other])
    torch.manual_seed(5)  # whatever the rest of the process draws
    beside = trained(model, name, streams[name])
    alone = trained(*_alone(family, name))
    assert beside.keys() == alone.keys() and all(torch.equal(beside[path], alone[path]) for path in alone)


def _alone(family: str, name: str) -> tuple[PeftModel, str, Randomness]:
    model, randomness = with_adapter(tiny_model(family), name)
    return model, name, randomness


def test_only_the_adapter_in_use_acts_and_the_original_model_stays_what_it_was() -> None:
    model, streams = three("gemma2")
    for name, randomness in streams.items():
        trained(model, name, randomness)
    seen = []
    with evaluating(model), torch.no_grad():
        for name in SHAPES:
            with in_use(model, name):
                seen.append(logits_of(model))
                with adapter_off(model):
                    assert torch.equal(logits_of(model), logits_of(tiny_model("gemma2")))
    assert not torch.equal(seen[0], seen[1]) and not torch.equal(seen[1], seen[2])


@pytest.mark.parametrize("family", FAMILIES)
def test_the_adapter_in_use_alone_can_be_trained_and_never_the_frozen_model(family: str) -> None:
    model, _ = three(family)

    def trainable() -> set[str]:
        return {path for path, parameter in model.named_parameters() if parameter.requires_grad}

    first = trainable()
    assert first and all(".small." in path for path in first)
    for name in SHAPES:
        with in_use(model, name):
            assert {id(each) for each in adapter_parameters(model, name)} == {id(each) for each in model.parameters() if each.requires_grad}
    with pytest.raises(RuntimeError), in_use(model, "large"):
        raise RuntimeError
    assert trainable() == first


def test_where_each_adapter_sits_is_told_by_name() -> None:
    model, _ = three("llama")
    assert {name: tuple(adapted_layers(model, name)) for name in SHAPES} == {name: shape[0] for name, shape in SHAPES.items()}


def test_weights_go_to_the_adapter_that_is_named_and_to_no_other() -> None:
    model, streams = three("gpt2")
    kept = {name: adapter_weights(model, name) for name in SHAPES}
    after = trained(model, "large", streams["large"])
    load_adapter_weights(model, kept["large"], "large")
    for name, weights in kept.items():
        assert all(torch.equal(tensor, weights[path]) for path, tensor in adapter_weights(model, name).items())
    assert any(not torch.equal(after[path], kept["large"][path]) for path in after)


# --- the stream of random numbers


def test_a_private_stream_is_the_seeds_and_leaves_the_global_one_where_it_was() -> None:
    torch.manual_seed(3)
    expected = torch.rand(6)
    torch.manual_seed(8)
    before = torch.rand(1)
    private = Randomness(3)
    with private.in_use():
        first = torch.rand(2)
    middle = torch.rand(1)
    with private.in_use():
        rest = torch.rand(4)
    torch.manual_seed(8)
    assert torch.equal(torch.cat([first, rest]), expected) and torch.equal(torch.cat([before, middle]), torch.rand(2))


def test_what_failed_can_be_tried_again_with_the_same_numbers() -> None:
    private = Randomness(3)
    drawn = []
    with pytest.raises(RuntimeError), private.in_use():
        drawn.append(torch.rand(2))
        raise RuntimeError
    with private.in_use():
        drawn.append(torch.rand(2))
    assert torch.equal(*drawn)


def test_a_stream_goes_on_from_its_state() -> None:
    private, other = Randomness(3), Randomness(4)
    with private.in_use():
        torch.rand(3)
    other.state = private.state
    with private.in_use():
        expected = torch.rand(2)
    with other.in_use():
        assert torch.equal(torch.rand(2), expected)
