"""Steering: what is added, where, and that nothing else differs between the lanes."""

import pytest
import torch

from lorasae.core.hook_points import decoder_blocks
from lorasae.core.sae import sae_from_weights
from lorasae.core.splice import spliced
from lorasae.core.steering import LANES, Push, lanes, written
from tests.core.toys import BOS, D_IN, FAMILIES, SPECIAL, adapted_model, captured, n_hooks, resid, some_ids, sparse_sae, tiny_model

PROMPT = some_ids(n=1, pos=6)
NO_EOS: frozenset[int] = frozenset()


def texts(model, amount=3.0, temperature=0.8, seed=1, n=12, transforms=None, eos=NO_EOS, layer=1):
    push = Push(resid(layer), sparse_sae(), 5, amount)
    lane = lanes(model, push, transforms or {}, SPECIAL, temperature=temperature, seed=seed, eos=eos)
    for _ in written(lane, PROMPT, n):
        pass
    return {name: each.tokens for name, each in lane.items()}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("with_sae", [False, True])
def test_strength_zero_is_plain_and_the_same_seed_the_same_text(family, with_sae):
    model = adapted_model(family, trained=True).eval()
    transforms = {resid(1): sparse_sae().reconstruct} if with_sae else {}
    still = texts(model, amount=0.0, transforms=transforms)
    assert still["original_plain"] == still["original_steered"] and still["adapted_plain"] == still["adapted_steered"]
    pushed = texts(model, amount=30.0, transforms=transforms)
    assert pushed == texts(model, amount=30.0, transforms=transforms) and pushed != texts(model, amount=30.0, transforms=transforms, seed=2)
    assert pushed["original_plain"] == still["original_plain"] and pushed["adapted_plain"] == still["adapted_plain"]
    assert pushed["original_steered"] != still["original_steered"]


@pytest.mark.parametrize("family", FAMILIES)
def test_with_the_adapter_off_the_text_is_the_original_model_s_own(family):
    """Greedy, token by token, with the model's own generate as the judge; and the adapter is on again afterwards."""
    adapted, original = adapted_model(family, trained=True).eval(), tiny_model(family)
    before = adapted(input_ids=PROMPT).logits
    told = texts(adapted, temperature=0.0)
    assert torch.equal(adapted(input_ids=PROMPT).logits, before) and n_hooks(adapted) == n_hooks(original)
    own = original.generate(input_ids=PROMPT, attention_mask=torch.ones_like(PROMPT), max_new_tokens=12, do_sample=False, eos_token_id=None)
    assert told["original_plain"] == own[0, PROMPT.shape[1] :].tolist()


def test_a_step_s_logits_are_bit_equal_to_the_original_model_s():
    adapted, original = adapted_model("gemma2", trained=True).eval(), tiny_model("gemma2")
    lane = lanes(adapted, Push(resid(1), sparse_sae(), 5, 3.0), {}, SPECIAL, temperature=0, seed=0, eos=NO_EOS)["original_plain"]
    head = captured(adapted, adapted.get_base_model().lm_head, lambda: lane.step(PROMPT))
    with torch.no_grad():
        own = captured(original, original.lm_head, lambda: original(input_ids=PROMPT))
    assert torch.equal(head[:, -1], own[:, -1])


@pytest.mark.parametrize("family", FAMILIES)
def test_writing_with_a_memory_is_writing_without_one(family):
    """The push and the SAE at every position, past ones too: the last logits are those of one whole pass under the same transforms."""
    model, sae = adapted_model(family, trained=True).eval(), sparse_sae()
    push = Push(resid(1), sae, 5, 3.0)
    lane = lanes(model, push, {resid(1): sae.reconstruct}, SPECIAL, temperature=0, seed=0, eos=NO_EOS)["adapted_steered"]
    token = lane.step(PROMPT)
    for _ in range(10):
        token = lane.step(torch.tensor([[token]]))
    whole = torch.cat([PROMPT, torch.tensor([lane.tokens[:-1]])], dim=1)
    with torch.no_grad(), spliced(model, push.into({resid(1): sae.reconstruct}), SPECIAL):
        logits = model(input_ids=whole, use_cache=False).logits[0, -1]
    assert int(logits.argmax()) == lane.tokens[-1]


def test_the_direction_is_added_once_everywhere_but_at_special_tokens():
    model, sae = tiny_model("llama"), sparse_sae()
    block = decoder_blocks(model)[1]

    def stream(amount):
        with torch.no_grad(), spliced(model, Push(resid(1), sae, 5, amount).into({}), SPECIAL):
            return captured(model, block, lambda: model(input_ids=PROMPT))[0]

    added = stream(2.0) - stream(0.0)
    special = (PROMPT == BOS)[0] | (PROMPT == 2)[0]
    torch.testing.assert_close(added[~special], (2.0 * sae.W_dec[5]).expand((~special).sum(), D_IN), atol=1e-5, rtol=1e-4)
    assert added[special].abs().max() == 0


def test_with_the_sae_in_the_stream_the_push_is_added_to_its_reconstruction():
    sae, x = sparse_sae(), torch.randn(3, D_IN)
    pushed = Push(resid(1), sae, 5, 2.0).into({resid(1): sae.reconstruct})[resid(1)]
    torch.testing.assert_close(pushed(x), sae.reconstruct(x) + 2.0 * sae.W_dec[5])
    elsewhere = Push(resid(2), sae, 5, 2.0).into({resid(1): sae.reconstruct})
    assert set(elsewhere) == {resid(1), resid(2)} and torch.equal(elsewhere[resid(1)](x), sae.reconstruct(x))


def test_where_an_sae_rescales_its_input_the_push_is_rescaled_with_its_output():
    """One unit of a feature adds what one more unit of its activation would add to the reconstruction."""
    plain = sparse_sae()
    weights = {"W_enc": plain.W_enc, "W_dec": plain.W_dec, "b_dec": plain.b_dec, "b_enc": torch.zeros(48)}
    sae = sae_from_weights("standard", weights, normalisation="layer_norm")
    x = torch.randn(3, D_IN)
    acts = sae.encode(x)
    more = acts.clone()
    more[:, 5] += 1
    _, scale = sae._shift_and_scale(x)
    torch.testing.assert_close(sae.written_by(x, 5), (sae.decode(more) - sae.decode(acts)) * scale)


def test_a_lane_ends_at_the_end_of_its_text_and_the_others_go_on():
    model = adapted_model("gpt2", trained=True).eval()
    free = texts(model, n=20)
    stop = free["original_plain"][3]
    told = texts(model, n=20, eos=frozenset({stop}))
    assert set(told) == set(LANES)
    for name, tokens in free.items():
        assert told[name] == (tokens[: tokens.index(stop) + 1] if stop in tokens else tokens)


def test_all_temperatures_draw_from_the_softmax():
    """The share of the likeliest token over many seeds is its probability."""
    model = tiny_model("gpt2")
    with torch.no_grad():
        probabilities = (model(input_ids=PROMPT).logits[0, -1] / 2.0).softmax(dim=-1)
    push = Push(resid(1), sparse_sae(), 5, 0.0)
    drawn = [lanes(model, push, {}, SPECIAL, temperature=2.0, seed=seed, eos=NO_EOS)["original_plain"].step(PROMPT) for seed in range(300)]
    likeliest = int(probabilities.argmax())
    expected = probabilities[likeliest].item()
    assert drawn.count(likeliest) / 300 == pytest.approx(expected, abs=4 * (expected * (1 - expected) / 300) ** 0.5)
