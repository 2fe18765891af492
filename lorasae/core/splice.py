"""Put a function into the model's stream at one or several hook points, for as long as a `with` block lasts.

An SAE's `reconstruct` is such a function; so are "zeros" and an observer that returns its input. Positions of special tokens keep the
model's own activation. The token ids are read where they enter the model, so that the mask is right for any caller: a training step,
lm-eval's batches, or `generate` with a key-value cache.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn

from lorasae.core.hook_points import HookPoint, place, stream_of, unwrapped, with_stream
from lorasae.core.special_tokens import SpecialTokens

Transform = Callable[[Tensor], Tensor]  # (tokens, d_in) -> (tokens, d_in), tokens being the positions that are not bypassed


@contextmanager
def spliced(model: nn.Module, transforms: Mapping[HookPoint, Transform], special_tokens: SpecialTokens) -> Iterator[None]:
    """Inside the block, the stream at each hook point is what its transform makes of it. No hook outlives the block.

    A transform sees only the positions that are not bypassed and may answer in another dtype; the stream keeps its own. Gradients flow
    through the transforms, so that adapters below an SAE can be trained through it.
    """
    positions: list[Tensor] = []  # the mask of the forward pass under way, (batch, pos)

    def note_positions(_module: nn.Module, args: tuple[Any, ...]) -> None:
        positions[:] = [special_tokens.spliced_positions(args[0])]

    with ExitStack() as hooks:
        embeddings = unwrapped(model).get_input_embeddings()
        hooks.enter_context(_removed(embeddings.register_forward_pre_hook(note_positions)))
        for hook_point, transform in transforms.items():
            module, side = place(model, hook_point)
            hooks.enter_context(_removed(_replace_stream(module, side, transform, positions)))
        yield


def _replace_stream(module: nn.Module, side: str, transform: Transform, positions: list[Tensor]) -> Any:
    def replaced(stream: Tensor) -> Tensor:
        mask = positions[0]
        new = stream.clone()
        new[mask] = transform(stream[mask]).to(stream.dtype)
        return new

    def on_input(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        if args:
            return (replaced(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": replaced(kwargs["hidden_states"])}

    def on_output(_module: nn.Module, _args: tuple[Any, ...], outputs: Any) -> Any:
        return with_stream(outputs, replaced(stream_of(outputs)))

    if side == "input":
        return module.register_forward_pre_hook(on_input, with_kwargs=True)
    return module.register_forward_hook(on_output)


@contextmanager
def _removed(handle: Any) -> Iterator[None]:
    """The hook behind `handle`, gone when the block ends or raises."""
    try:
        yield
    finally:
        handle.remove()
