"""Headers that are made by a shorter way than others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.headers import _of_some, quota_headers
from scheduling.core.policy import MINUTE_KINDS
from scheduling.core.quota import Left

LEFT = st.builds(Left, st.integers(1, 10**9), st.integers(0, 10**9), st.integers(0, 10**7))


@given(LEFT, LEFT)
def test_who_has_both_quotas_of_a_minute_is_told_of_each_as_who_has_one(requests, tokens) -> None:
    left = dict(zip(MINUTE_KINDS, (requests, tokens), strict=True))

    assert quota_headers(left) == _of_some(left)
    for kind, found in left.items():
        alone = quota_headers({kind: found})
        assert set(alone[:3]) <= set(quota_headers(left))
