"""What became of each feature: kept, shifted, lost or new, judged by its activations on the same text before and after.

kept      correlation at least 0.9, and as often active within a factor of 2
lost      active at most a tenth as often as before
new       active before at most a tenth as often as now
shifted   everything else
None      active on fewer than 8 tokens in both: too seldom to say
"""

from typing import Literal

import numpy as np
from numpy.typing import NDArray

Status = Literal["kept", "shifted", "lost", "new"]

KEPT_CORRELATION = 0.9
KEPT_FACTOR = 2.0
GONE_SHARE = 0.1
MIN_FIRED = 8

STATUSES: tuple[Status | None, ...] = (None, "kept", "shifted", "lost", "new")  # the number a status is stored as is its index here


def statuses(fired_before: NDArray[np.int64], fired_after: NDArray[np.int64], correlation: NDArray[np.float32]) -> NDArray[np.int8]:
    """`(d_sae,)`: indices into STATUSES, from how often each feature fired and how its activations correlate."""
    seldom = np.maximum(fired_before, fired_after) < MIN_FIRED
    lost = fired_after <= GONE_SHARE * fired_before
    new = fired_before <= GONE_SHARE * fired_after
    as_often = (fired_after <= KEPT_FACTOR * fired_before) & (fired_before <= KEPT_FACTOR * fired_after)
    kept = as_often & (np.nan_to_num(correlation, nan=0.0) >= KEPT_CORRELATION)
    names = np.select([seldom, lost, new, kept], [0, 3, 4, 1], default=2)
    return names.astype(np.int8)
