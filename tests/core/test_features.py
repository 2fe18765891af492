"""One text under each condition: what its features and predictions did."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lorasae.core.conditions import ALL, Condition, condition
from lorasae.core.evaluate import measure
from lorasae.core.features import adapter_reaches, batch_firings, most_active_features, most_changed_features, text_activity
from lorasae.core.firings import Firings
from lorasae.core.hook_points import HookPoint, decoder_blocks
from lorasae.core.losses import kl_divergence, next_token_ce
from lorasae.core.splice import spliced
from tests.core.toys import BOS, D_IN, EOS, FAMILIES, NO_SPECIAL, SPECIAL, adapted_model, n_hooks, resid, some_ids, sparse_sae, tiny_model

TEXT = some_ids(n=1)
SPLICED = ((TEXT != BOS) & (TEXT != EOS))[0]


def stream(layer: int, family: str = "gpt2") -> Tensor:
    with torch.no_grad():
        return tiny_model(family)(input_ids=TEXT, output_hidden_states=True).hidden_states[layer + 1][0]


def sparse(acts: list[list[float]]) -> Firings:
    dense = np.asarray(acts, dtype=np.float32)
    feature, token = dense.T.nonzero()
    return Firings(feature.astype(np.int32), token.astype(np.int32), dense.T[feature, token], *dense.shape)


def test_features_are_those_of_the_stream_and_rows_of_special_tokens_are_zero() -> None:
    sae = sparse_sae()
    activity = text_activity(adapted_model("gpt2", trained=True), TEXT, "original", {resid(1): sae}, {resid(1): sae}, SPECIAL)
    feature_acts = activity.feature_acts[resid(1)]
    torch.testing.assert_close(feature_acts[SPLICED], sae.encode(stream(1)[SPLICED]))
    assert feature_acts.shape == (len(SPLICED), sae.d_sae)
    assert feature_acts[~SPLICED].abs().sum() == 0


def test_observing_is_not_splicing() -> None:
    """Another SAE may be looked through, above or below the one in the stream, without changing what the model says."""
    model, sae = adapted_model("gpt2", trained=True), sparse_sae()
    observed = {resid(layer): sparse_sae(seed=layer) for layer in range(4)}
    watched = text_activity(model, TEXT, "adapted_sae", {resid(1): sae}, observed, SPECIAL)
    alone = text_activity(model, TEXT, "adapted_sae", {resid(1): sae}, {}, SPECIAL)
    assert torch.equal(watched.logits, alone.logits)
    assert watched.feature_acts.keys() == observed.keys()
    assert alone.feature_acts == {}


def test_an_observed_sae_reads_the_stream_as_it_is_under_the_condition() -> None:
    """At the splice itself that is what the SAE is given, not what it makes of it; above, the consequences."""
    sae, above = sparse_sae(), sparse_sae(seed=7)
    model = tiny_model("gpt2")
    plain = text_activity(model, TEXT, "original", {resid(1): sae}, {resid(1): sae, resid(2): above}, SPECIAL)
    with_sae = text_activity(model, TEXT, "original_sae", {resid(1): sae}, {resid(1): sae, resid(2): above}, SPECIAL)
    assert torch.equal(plain.feature_acts[resid(1)], with_sae.feature_acts[resid(1)])
    assert not torch.equal(plain.feature_acts[resid(2)], with_sae.feature_acts[resid(2)])


@pytest.mark.parametrize("family", FAMILIES)
def test_an_adapter_after_the_sae_leaves_every_activation_bit_equal_and_one_below_does_not(family: str) -> None:
    sae = sparse_sae()

    def feature_acts(layers: tuple[int, ...], name: Condition) -> Tensor:
        model = adapted_model(family, layers, trained=True)
        return text_activity(model, TEXT, name, {resid(1): sae}, {resid(1): sae}, SPECIAL).feature_acts[resid(1)]

    original = feature_acts((2, 3), "original_sae")
    assert original.abs().sum() > 0
    assert torch.equal(feature_acts((2, 3), "adapted_sae"), original)
    assert torch.equal(feature_acts((2, 3), "adapted"), original)
    assert not torch.equal(feature_acts((0, 1, 2, 3), "adapted_sae"), original)


@pytest.mark.parametrize("name", ALL)
def test_losses_of_a_text_add_up_to_what_measure_says_of_it(name: Condition) -> None:
    """`zero` used to leave the stream untouched here."""
    model, saes = adapted_model("gpt2", trained=True), {resid(1): sparse_sae()}
    measured = measure(model, [TEXT], saes, NO_SPECIAL)
    activity = text_activity(model, TEXT, name, saes, saes, NO_SPECIAL)
    assert activity.ce.sum().item() == pytest.approx(measured.ce_sums[name][0], rel=1e-5)
    if name in measured.kl_sums:
        assert activity.kl.sum().item() == pytest.approx(measured.kl_sums[name][0], rel=1e-4)


def test_logits_ce_and_kl_belong_together() -> None:
    sae, model = sparse_sae(), tiny_model("llama")
    activity = text_activity(model, TEXT, "original_sae", {resid(1): sae}, {}, SPECIAL)
    with torch.no_grad():
        teacher = model(input_ids=TEXT).logits
        with spliced(model, {resid(1): sae.reconstruct}, SPECIAL):
            student = model(input_ids=TEXT).logits
    assert torch.equal(activity.logits, student[0])
    assert torch.equal(activity.ce, next_token_ce(student, TEXT)[0])
    torch.testing.assert_close(activity.kl, kl_divergence(teacher, student)[0])
    assert text_activity(model, TEXT, "original", {resid(1): sae}, {}, SPECIAL).kl.abs().max() == 0


def test_a_text_of_special_tokens_alone_has_no_features() -> None:
    sae = sparse_sae()
    activity = text_activity(tiny_model("gpt2"), torch.tensor([[BOS, EOS]]), "original_sae", {resid(1): sae}, {resid(1): sae}, SPECIAL)
    assert activity.feature_acts[resid(1)].tolist() == torch.zeros(2, sae.d_sae).tolist()


def test_a_text_of_one_token_has_no_surprise() -> None:
    activity = text_activity(tiny_model("gpt2"), torch.tensor([[5]]), "original", {}, {}, SPECIAL)
    assert (activity.ce.shape, activity.kl.shape) == ((0,), (1,))


def test_most_changed_features_count_what_moved_up_and_down_at_different_tokens() -> None:
    """A feature that moves from one word to another keeps its sum and has still changed."""
    before = sparse([[1.0, 0.0, 2.0, 0.5], [0.0, 0.0, 2.0, 0.5]])
    after = sparse([[0.0, 0.5, 2.0, 0.5], [1.0, 0.0, 2.0, 0.5]])
    assert most_changed_features(before, after, 10) == [0, 1]
    assert most_changed_features(before, after, 1) == [0]
    assert most_changed_features(before, before, 3) == []


def test_most_active_features_are_ordered_by_their_largest_activation() -> None:
    acts = sparse([[1.0, 0.0, 2.0, 0.0], [1.0, 0.0, 0.0, 3.0], [1.0, 0.0, 0.0, 0.0]])
    assert most_active_features(acts, 10) == [3, 2, 0]
    assert most_active_features(acts, 2) == [3, 2]
    assert most_active_features(sparse([[0.0] * D_IN] * 2), 2) == []


class CountedModel(nn.Module):
    """A model that counts how often its layers and its vocabulary are computed."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.passes: list[str] = []
        blocks = decoder_blocks(model)
        blocks[0].register_forward_hook(lambda *_: self.passes.append("first"))
        blocks[-1].register_forward_hook(lambda *_: self.passes.append("last"))


def test_with_the_original_s_logits_known_every_condition_costs_one_pass() -> None:
    model, saes = adapted_model("gemma2", trained=True), {resid(1): sparse_sae()}
    count = CountedModel(model)
    original = text_activity(model, TEXT, "original", saes, saes, SPECIAL)
    known = text_activity(model, TEXT, "adapted_sae", saes, saes, SPECIAL, original.logits)
    assert count.passes == ["first", "last"] * 2
    alone = text_activity(model, TEXT, "adapted_sae", saes, saes, SPECIAL)
    assert torch.equal(known.kl, alone.kl) and torch.equal(known.logits, alone.logits)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("name", ["original", "original_sae", "adapted_sae"])
def test_a_batch_s_firings_are_those_of_whole_passes_and_the_layers_above_are_not_computed(family: str, name: Condition) -> None:
    model, ids = adapted_model(family, trained=True), some_ids(n=3)
    saes, above = {resid(1): sparse_sae()}, (resid(2), sparse_sae(seed=8))
    count = CountedModel(model)
    found = batch_firings(model, ids, name, saes, above, SPECIAL)
    assert count.passes == ["first"] and n_hooks(model) == 2
    whole = [text_activity(model, row[None], name, saes, dict([above]), SPECIAL).firings[resid(2)] for row in ids]
    np.testing.assert_allclose(found.on(range(48)), np.concatenate([each.on(range(48)) for each in whole]), atol=1e-5)


def test_an_adapter_reaches_what_lies_above_it_and_nothing_else() -> None:
    after = adapted_model("gemma2", (2, 3))
    assert not adapter_reaches(after, resid(1)) and not adapter_reaches(after, HookPoint(2, "resid_pre"))
    assert adapter_reaches(after, resid(2)) and adapter_reaches(after, HookPoint(2, "attn_z"))
    mlp = adapted_model("gemma2", (2,), modules=("mlp",))
    assert not adapter_reaches(mlp, HookPoint(2, "attn_z")) and not adapter_reaches(mlp, HookPoint(2, "attn_out"))
    assert adapter_reaches(mlp, HookPoint(2, "mlp_out")) and adapter_reaches(mlp, HookPoint(3, "attn_z"))
    projection = adapted_model("gemma2", (2,), modules=("o_proj",))
    assert not adapter_reaches(projection, HookPoint(2, "attn_z")) and adapter_reaches(projection, HookPoint(2, "attn_out"))


@pytest.mark.parametrize("family", FAMILIES)
def test_where_the_adapter_does_not_reach_nothing_changes_and_where_it_does_something_does(family: str) -> None:
    model = adapted_model(family, (2,), trained=True)
    places = [HookPoint(layer, site) for layer in range(1, 4) for site in ("resid_pre", "attn_z", "attn_out", "mlp_out", "resid_post")]
    streams: dict[str, list[Tensor]] = {}
    for name in ("original", "adapted"):
        streams[name] = []
        for hook_point in places:
            seen: list[Tensor] = []
            with torch.no_grad(), condition(model, name, {hook_point: lambda x, seen=seen: seen.append(x) or x}, NO_SPECIAL):
                model(input_ids=TEXT, use_cache=False)
            streams[name].append(seen[0])
    for hook_point, before, after in zip(places, streams["original"], streams["adapted"], strict=True):
        assert torch.equal(before, after) == (not adapter_reaches(model, hook_point)), hook_point
