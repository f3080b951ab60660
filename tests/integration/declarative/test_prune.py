"""What pruning by a file leaves alone."""

from __future__ import annotations

import pytest

from scheduling import services
from scheduling.models import Pool
from tests.integration.declarative.installation import FILE, run

pytestmark = pytest.mark.django_db


@pytest.mark.parametrize("pool", ["empty", "full"])
def test_pruning_by_policies_alone_leaves_the_pools_that_they_do_not_name(file, pool) -> None:
    run("apply", "-f", file(FILE))
    services.create_pool(pool, by="cli")
    if pool == "full":
        services.create_model("gpt", pool, by="cli")

    run("apply", "-f", file("policies:\n- {pool: main, fairness: fifo}\n"), "--prune")

    assert Pool.objects.filter(name=pool).exists()
