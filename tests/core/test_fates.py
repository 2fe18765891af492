"""The thresholds of kept, shifted, lost and new, one feature per case."""

import numpy as np
import pytest

from lorasae.core.fates import STATUSES, statuses


@pytest.mark.parametrize(
    ("before", "after", "correlation", "expected"),
    [
        (100, 100, 1.0, "kept"),
        (100, 200, 0.9, "kept"),
        (100, 50, 0.9, "kept"),
        (100, 100, 0.89, "shifted"),
        (100, 201, 0.99, "shifted"),
        (100, 49, 0.99, "shifted"),
        (100, 11, 0.3, "shifted"),
        (100, 10, 0.3, "lost"),
        (100, 0, np.nan, "lost"),
        (10, 100, 0.3, "new"),
        (0, 8, np.nan, "new"),
        (0, 7, np.nan, None),
        (7, 7, 1.0, None),
        (8, 7, 1.0, "kept"),
        (8, 8, np.nan, "shifted"),
        (0, 0, np.nan, None),
    ],
)
def test_a_feature_s_fate(before, after, correlation, expected):
    (code,) = statuses(np.array([before]), np.array([after]), np.array([correlation], np.float32))
    assert STATUSES[code] == expected
