"""Evaluation by shared work against one whole forward pass after the other."""

import numpy as np
import pytest
import torch

from lorasae.core.conditions import ALL, BEFORE
from lorasae.core.evaluate import measure
from lorasae.core.fast.shared_pass import SharedPass
from lorasae.core.hook_points import HookPoint
from lorasae.core.plain_pass import PlainPass
from tests.core.fast.test_fast_step import PLACEMENTS, SITES, SPECIAL, adapted, sae, some_ids
from tests.toys import FAMILIES, tiny_model


def both(model, saes, conditions=ALL):
    batches = some_ids(5).split(2)
    plain = measure(model, batches, saes, SPECIAL, conditions, PlainPass(model, SPECIAL))
    shared = measure(model, batches, saes, SPECIAL, conditions, SharedPass(model, saes, SPECIAL))
    return plain, shared


def assert_same(plain, shared):
    for kind in ("ce_sums", "kl_sums"):
        old, new = getattr(plain, kind), getattr(shared, kind)
        assert old.keys() == new.keys()
        for name in old:
            np.testing.assert_allclose(new[name], old[name], rtol=1e-9, err_msg=f"{kind} {name}")
    for kind in ("sites", "adapted_sites"):
        old, new = getattr(plain, kind), getattr(shared, kind)
        assert old.keys() == new.keys()
        for place in old:
            assert new[place].n_tokens == old[place].n_tokens
            assert torch.equal(new[place].fired, old[place].fired)
            assert new[place].fve == pytest.approx(old[place].fve, rel=1e-9)


@pytest.mark.parametrize("placement", PLACEMENTS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_condition_equals_a_pass_of_its_own(family, placement, exact):
    assert_same(*both(exact(adapted(family, PLACEMENTS[placement], dropout=0.2)), {HookPoint(1, "resid_post"): sae()}))


@pytest.mark.parametrize("site", SITES)
def test_every_condition_equals_a_pass_of_its_own_at_every_place(site, exact):
    saes = {hook_point: sae(d_in=d_in, seed=5 + hook_point.layer) for hook_point, d_in in SITES[site].items()}
    for family in ("gemma2", "gpt_neox"):
        for layers in ((2, 3), (0, 1, 2, 3)):
            assert_same(*both(exact(adapted(family, layers)), saes))


@pytest.mark.parametrize("conditions", [BEFORE, ("original", "adapted_sae"), ("adapted",), ("original_sae", "adapted_sae")])
def test_any_choice_of_conditions_can_be_measured(conditions, exact):
    assert_same(*both(exact(adapted("gemma2", (2, 3))), {HookPoint(1, "resid_post"): sae()}, conditions))


def test_a_bare_model_is_measured_too(exact):
    assert_same(*both(exact(tiny_model("llama").double()), {HookPoint(1, "resid_post"): sae()}, BEFORE))
