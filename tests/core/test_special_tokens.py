"""Which positions an SAE sees and which predictions count."""

import torch

from lorasae.core.special_tokens import SpecialTokens
from tests.core.toys import BOS, EOS, NO_SPECIAL, PAD, some_ids


def test_positions_are_chosen_by_id_and_not_by_place() -> None:
    """Packed chunks carry an EOS in their middle; the research code's benchmark script bypasses position 0 only."""
    policy = SpecialTokens(bypassed=(BOS, EOS), unscored=(EOS,))
    ids = torch.tensor([[BOS, 5, EOS, 6], [7, BOS, 8, 9]])
    assert policy.spliced_positions(ids).tolist() == [[False, True, False, True], [True, False, True, True]]
    assert policy.scored_positions(ids).tolist() == [[True, True, False, True], [True, True, True, True]]


def test_without_special_tokens_every_position_is_spliced_and_scored() -> None:
    ids = some_ids()
    assert NO_SPECIAL.spliced_positions(ids).all()
    assert NO_SPECIAL.scored_positions(ids).all()


def test_bypass_and_score_are_independent() -> None:
    """The paper's preset bypasses BOS and EOS and scores every position."""
    policy = SpecialTokens(bypassed=(BOS, EOS, PAD))
    ids = some_ids()
    assert not policy.spliced_positions(ids).all()
    assert policy.scored_positions(ids).all()
