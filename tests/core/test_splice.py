"""Transforms in the stream: what they see, what they leave alone, and that nothing of them stays behind."""

from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from lorasae.core.hook_points import HookPoint, decoder_blocks
from lorasae.core.special_tokens import SpecialTokens
from lorasae.core.splice import spliced
from lorasae.errors import LabError
from tests.core.toys import (
    BOS,
    D_IN,
    EOS,
    FAMILIES,
    NO_SPECIAL,
    SPECIAL,
    VOCAB,
    adapted_model,
    captured,
    n_hooks,
    resid,
    some_ids,
    sparse_sae,
    tiny_model,
)


def identity(x: Tensor) -> Tensor:
    return x


def logits_of(model: nn.Module, ids: Tensor) -> Tensor:
    with torch.no_grad():
        return model(input_ids=ids, use_cache=False).logits


@pytest.mark.parametrize("family", FAMILIES)
def test_a_transform_that_returns_its_input_leaves_the_logits_bit_equal(family: str) -> None:
    model, ids = tiny_model(family), some_ids()
    plain = logits_of(model, ids)
    with spliced(model, {HookPoint(0, "resid_pre"): identity, resid(1): identity, HookPoint(2, "attn_z"): identity}, SPECIAL):
        assert torch.equal(logits_of(model, ids), plain)


@pytest.mark.parametrize("family", FAMILIES)
def test_the_stream_behind_a_layer_is_the_stream_before_the_next(family: str) -> None:
    """One is an output hook and the other an input hook, met positionally by some families and by keyword by others."""
    model, ids, sae = tiny_model(family), some_ids(), sparse_sae()
    with spliced(model, {resid(1): sae.reconstruct}, SPECIAL):
        behind = logits_of(model, ids)
    with spliced(model, {HookPoint(2, "resid_pre"): sae.reconstruct}, SPECIAL):
        before = logits_of(model, ids)
    assert torch.equal(behind, before)
    assert not torch.equal(behind, logits_of(model, ids))


@pytest.mark.parametrize("family", FAMILIES)
def test_positions_of_special_tokens_pass_bit_for_bit_and_all_others_are_replaced(family: str) -> None:
    """BOS at 0 and EOS in mid-chunk: a rule by position, as in one of the authors' scripts, would reconstruct the EOS."""
    model, ids, sae = tiny_model(family), some_ids(), sparse_sae()
    block = decoder_blocks(model)[1]
    before = captured(model, block, lambda: logits_of(model, ids))
    with spliced(model, {resid(1): sae.reconstruct}, SPECIAL):
        after = captured(model, block, lambda: logits_of(model, ids))
    special = (ids == BOS) | (ids == EOS)
    assert 0 < special.sum() < special.numel()
    assert torch.equal(after[special], before[special])
    torch.testing.assert_close(after[~special], sae.reconstruct(before[~special]))


def test_a_transform_sees_only_the_positions_that_are_not_bypassed() -> None:
    model, ids = tiny_model("llama"), some_ids(n=3)
    shapes = []

    def note(x: Tensor) -> Tensor:
        shapes.append(tuple(x.shape))
        return x

    with spliced(model, {resid(0): note}, SPECIAL):
        logits_of(model, ids)
        logits_of(model, ids[:1, :4])  # another shape in the same block: the mask must follow
        logits_of(model, torch.full((1, 2), BOS))
    assert shapes == [(3 * 12 - 3 - 2, D_IN), (3, D_IN), (0, D_IN)]


class ToyBlock(nn.Module):
    def __init__(self, as_tuple: bool) -> None:
        super().__init__()
        self.linear = nn.Linear(D_IN, D_IN)
        self.as_tuple = as_tuple

    def forward(self, hidden_states: Tensor) -> Tensor | tuple[Tensor, str]:
        out = hidden_states + self.linear(hidden_states)
        return (out, "attention weights") if self.as_tuple else out


class ToyLM(nn.Module):
    """Two blocks between an embedding and a head; notes what else than the stream its blocks answered."""

    def __init__(self, as_tuple: bool) -> None:
        super().__init__()
        self.config = SimpleNamespace(num_hidden_layers=2)
        self.embed = nn.Embedding(VOCAB, D_IN)
        self.layers = nn.ModuleList([ToyBlock(as_tuple), ToyBlock(as_tuple)])
        self.rest: list[object] = []

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embed

    def forward(self, ids: Tensor) -> Tensor:
        stream = self.embed(ids)
        for block in self.layers:
            out = block(hidden_states=stream)
            stream, rest = (out[0], out[1:]) if isinstance(out, tuple) else (out, None)
            self.rest.append(rest)
        return stream


@pytest.mark.parametrize("site", ["resid_pre", "resid_post"])
def test_blocks_that_answer_a_tensor_and_blocks_that_answer_a_tuple_are_spliced_alike(site: str) -> None:
    """transformers blocks answered tuples and now answer tensors: `output[0]` on a tensor silently takes the first sequence."""
    plain, in_tuple = ToyLM(as_tuple=False), ToyLM(as_tuple=True)
    in_tuple.load_state_dict(plain.state_dict())
    ids, transforms = some_ids(n=3), {HookPoint(1, site): sparse_sae().reconstruct}
    with spliced(plain, transforms, SPECIAL), spliced(in_tuple, transforms, SPECIAL):
        assert torch.equal(plain(ids), in_tuple(ids))
    assert in_tuple.rest == [("attention weights",)] * 2
    assert plain.rest == [None] * 2


def test_no_hook_remains_after_the_block() -> None:
    for model in (tiny_model("gpt2"), adapted_model("gpt2")):
        before = n_hooks(model)
        with spliced(model, {resid(1): identity, HookPoint(2, "resid_pre"): identity}, SPECIAL):
            assert n_hooks(model) == before + 3
            logits_of(model, some_ids())
        assert n_hooks(model) == before


def test_no_hook_remains_after_an_error_in_the_block() -> None:
    model = tiny_model("gpt2")
    with pytest.raises(RuntimeError, match="mine"), spliced(model, {resid(1): identity}, SPECIAL):
        raise RuntimeError("mine")
    assert n_hooks(model) == 0


def test_no_hook_remains_after_an_error_inside_a_transform() -> None:
    model = tiny_model("gpt2")

    def fail(_x: Tensor) -> Tensor:
        raise RuntimeError("no such feature")

    with pytest.raises(RuntimeError, match="no such feature"), spliced(model, {resid(0): identity, resid(1): fail}, SPECIAL):
        logits_of(model, some_ids())
    assert n_hooks(model) == 0


def test_no_hook_remains_when_a_hook_point_does_not_exist() -> None:
    model = tiny_model("gpt2")
    with pytest.raises(LabError, match="4 layers"), spliced(model, {resid(0): identity, resid(9): identity}, SPECIAL):
        pass
    assert n_hooks(model) == 0


def test_the_stream_keeps_its_dtype_whatever_the_transform_answers_in() -> None:
    """Gemma Scope SAEs are fp32 in a bf16 model."""
    model, ids, sae = tiny_model("llama", torch.bfloat16), some_ids(), sparse_sae()
    with spliced(model, {resid(1): sae.reconstruct}, SPECIAL):
        stream = captured(model, decoder_blocks(model)[1], lambda: logits_of(model, ids))
    assert stream.dtype == torch.bfloat16


def test_gradients_reach_what_lies_below_the_transform() -> None:
    model, ids, sae = tiny_model("llama"), some_ids(), sparse_sae()
    with spliced(model, {resid(2): sae.reconstruct}, NO_SPECIAL):
        model(input_ids=ids, use_cache=False).logits.square().sum().backward()
    assert decoder_blocks(model)[0].mlp.up_proj.weight.grad.abs().sum() > 0  # type: ignore[union-attr]


def test_several_saes_act_in_the_order_of_the_forward_pass() -> None:
    model, ids, low, high = tiny_model("llama"), some_ids(), sparse_sae(seed=3), sparse_sae("topk", seed=5)
    blocks = decoder_blocks(model)
    with spliced(model, {resid(2): high.reconstruct, resid(0): low.reconstruct}, NO_SPECIAL):
        both = logits_of(model, ids)
        with torch.no_grad():
            below = captured(model, blocks[0], lambda: logits_of(model, ids))
    with spliced(model, {resid(0): lambda _x: below.flatten(0, 1)}, NO_SPECIAL), spliced(model, {resid(2): high.reconstruct}, NO_SPECIAL):
        assert torch.equal(logits_of(model, ids), both)
    with spliced(model, {resid(0): low.reconstruct}, NO_SPECIAL):
        assert not torch.equal(logits_of(model, ids), both)


@pytest.mark.parametrize("family", FAMILIES)
def test_generation_with_and_without_a_key_value_cache_gives_the_same_tokens(family: str) -> None:
    """With a cache each pass sees only the newest token: the mask must follow the ids, not the shape of the prompt."""
    model, prompt, sae = tiny_model(family), some_ids(n=2, pos=6), sparse_sae()
    model.generation_config.eos_token_id = None
    every_second = SpecialTokens(bypassed=tuple(range(0, VOCAB, 2)))  # so that generated tokens fall on both sides of the mask

    def generated(use_cache: bool) -> Tensor:
        mask = torch.ones_like(prompt)  # greedy; no token twice, because tiny models fall into loops
        out = model.generate(prompt, attention_mask=mask, max_new_tokens=16, do_sample=False, use_cache=use_cache, no_repeat_ngram_size=1)
        return out[:, 6:]

    with spliced(model, {resid(1): sae.reconstruct}, every_second):
        cached, uncached = generated(use_cache=True), generated(use_cache=False)
    assert torch.equal(cached, uncached)
    assert cached.shape == (2, 16)
    assert 4 < (cached % 2).sum() < 28
    assert not torch.equal(cached, generated(use_cache=True))
