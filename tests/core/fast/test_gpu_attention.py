"""Which attention is chosen, with candidates that are wrong in the ways real ones have been; the real ones as far as a CPU runs them."""

import sys

import pytest
import torch
from torch import Tensor

from lorasae.core.fast.attention import Attention, causal_attention
from lorasae.core.fast.gpu_attention import (
    BLOCKED,
    ChosenAttention,
    FlexAttention,
    chosen_attention,
    flash_attention,
    known_candidates,
    torch_attention,
)

CPU = torch.device("cpu")


def choose(candidates: dict[str, Attention], softcap: float | None = 50.0, window: int | None = None) -> ChosenAttention:
    return chosen_attention(CPU, torch.float32, 16, softcap, window, candidates)


def right(q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None) -> Tensor:
    return causal_attention(q, k, v, scale=scale, softcap=softcap, window=window)


def without_the_cap(q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None) -> Tensor:
    return causal_attention(q, k, v, scale=scale, window=window)


def with_a_window_one_too_wide(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None
) -> Tensor:
    return causal_attention(q, k, v, scale=scale, softcap=softcap, window=window and window + 1)


def without_the_cap_backwards(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None
) -> Tensor:
    value = causal_attention(q.detach(), k.detach(), v.detach(), scale=scale, softcap=softcap, window=window)
    uncapped = causal_attention(q, k, v, scale=scale, window=window)
    return value + uncapped - uncapped.detach()


def nan_backwards(q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None) -> Tensor:
    out = causal_attention(q, k, v, scale=scale, softcap=softcap, window=window)
    out.register_hook(lambda gradient: gradient * torch.nan)
    return out


def that_does_not_build(
    q: Tensor, k: Tensor, v: Tensor, *, scale: float, softcap: float | None = None, window: int | None = None
) -> Tensor:
    raise RuntimeError("out of shared memory\nand forty lines of Triton")


def test_the_first_that_is_right_is_chosen_and_the_rest_is_not_tried() -> None:
    chosen = choose({"first": right, "second": that_does_not_build})
    assert (chosen.name, chosen.attention) == ("first", right)
    assert chosen.passed_over == {}


@pytest.mark.parametrize("softcap", [50.0, 5.0])
@pytest.mark.parametrize("wrong", [without_the_cap, without_the_cap_backwards, nan_backwards])
def test_a_candidate_that_drops_the_cap_is_refused_and_the_reason_kept(wrong: Attention, softcap: float) -> None:
    chosen = choose({"wrong": wrong, "right": right}, softcap=softcap)
    assert chosen.name == "right"
    assert "away from the right one" in chosen.passed_over["wrong"]


def test_what_is_wrong_only_backwards_is_refused_for_its_gradient() -> None:
    assert "gradient" in choose({"wrong": without_the_cap_backwards}).passed_over["wrong"]


def test_dropping_the_cap_is_fine_where_there_is_none() -> None:
    assert choose({"capless": without_the_cap}, softcap=None).name == "capless"


@pytest.mark.parametrize("window", [40, 4096])
def test_a_window_wrong_by_one_token_is_refused(window: int) -> None:
    assert "wide" in choose({"wide": with_a_window_one_too_wide}, window=window).passed_over
    assert choose({"wide": with_a_window_one_too_wide}, window=None).name == "wide"


def test_a_candidate_that_raises_is_passed_over_with_the_first_line_of_its_error() -> None:
    chosen = choose({"broken": that_does_not_build})
    assert chosen.name == BLOCKED and chosen.attention is causal_attention
    assert chosen.passed_over == {"broken": "RuntimeError: out of shared memory"}


def test_a_candidate_without_a_backward_pass_is_passed_over() -> None:
    chosen = choose({"flex": FlexAttention()})
    assert chosen.name == BLOCKED and "backward" in chosen.passed_over["flex"]


@pytest.mark.parametrize("head_dim", [16, 256])
@pytest.mark.parametrize("softcap", [None, 50.0, 5.0])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_the_rounding_of_a_precision_is_no_objection(dtype: torch.dtype, softcap: float | None, head_dim: int) -> None:
    assert chosen_attention(CPU, dtype, head_dim, softcap, 40, {"right": right}).name == "right"


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_dropped_cap_is_seen_in_sixteen_bits_too(dtype: torch.dtype) -> None:
    assert chosen_attention(CPU, dtype, 256, 50.0, None, {"wrong": without_the_cap}).name == BLOCKED


def test_choosing_draws_no_random_numbers_of_the_run() -> None:
    state = torch.get_rng_state()
    choose({"right": right})
    assert torch.equal(state, torch.get_rng_state())


def test_choosing_works_where_gradients_are_off() -> None:
    with torch.no_grad():
        assert choose({"right": right}).name == "right"


def test_off_cuda_our_own_is_taken_untried() -> None:
    assert chosen_attention(CPU, torch.float32, 16, 50.0, None).name == BLOCKED


def test_torchs_own_is_chosen_without_cap_and_window_only() -> None:
    assert choose({"torch": torch_attention}, softcap=None).name == "torch"
    assert choose({"torch": torch_attention}, softcap=50.0).name == BLOCKED
    assert choose({"torch": torch_attention}, softcap=None, window=40).name == BLOCKED


def test_an_uninstalled_package_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "flash_attn", None)
    assert "flash_attn" in choose({"flash-attn": flash_attention}).passed_over["flash-attn"]


def test_every_known_candidate_has_a_name_of_its_own_and_ours_is_not_among_them() -> None:
    assert list(known_candidates()) == ["flash-attn", "torch", "flex"]


@pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")
@pytest.mark.parametrize("window", [None, 30])
@pytest.mark.parametrize("softcap", [None, 5.0])
def test_flex_attention_is_asked_for_the_same_scores(softcap: float | None, window: int | None) -> None:
    """Forwards and uncompiled, which is all that a CPU does."""
    q, k, v = (torch.randn(2, heads, 150, 16, generator=torch.Generator().manual_seed(heads)) for heads in (4, 2, 2))
    found = FlexAttention()(q, k, v, scale=2.0, softcap=softcap, window=window)
    torch.testing.assert_close(found, causal_attention(q, k, v, scale=2.0, softcap=softcap, window=window), rtol=1e-4, atol=1e-4)


def test_flash_attention_is_asked_for_the_same_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """A stand-in for the package, with its layout and its reading of a window: as many keys to the left, and the token itself."""

    class Package:
        @staticmethod
        def flash_attn_func(
            q: Tensor, k: Tensor, v: Tensor, *, softmax_scale: float, causal: bool, window_size: tuple[int, int], softcap: float
        ) -> Tensor:
            assert causal and window_size[1] == 0
            window = None if window_size[0] < 0 else window_size[0] + 1
            q, k, v = (x.transpose(1, 2) for x in (q, k, v))
            return causal_attention(q, k, v, scale=softmax_scale, softcap=softcap or None, window=window).transpose(1, 2)

    monkeypatch.setitem(sys.modules, "flash_attn", Package)
    for softcap, window in [(50.0, None), (50.0, 40), (None, None), (None, 40)]:
        assert choose({"flash-attn": flash_attention}, softcap, window).name == "flash-attn"
