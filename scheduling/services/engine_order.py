"""Whether the engines of a pool can keep the order that its policy sends them."""

from __future__ import annotations

from django.core.exceptions import ValidationError

from scheduling.core.policy import PRIORITY_ENGINES
from scheduling.models import Backend, Pool, SchedulingPolicy

HAVE_IT = " and ".join(PRIORITY_ENGINES)


def refuse_engine_priority(pool: Pool, mode: str) -> None:
    """Raises ValidationError when the pool's engines cannot do what a mode of engine_priority asks.

    Beside the window one engine with priorities is enough: to the others
    nothing is sent, and their window keeps order. Alone, every backend needs
    one, or it would be flooded in the order of arrival.
    """
    engines = dict(pool.backends.values_list("name", "engine"))
    without = sorted(name for name, engine in engines.items() if engine not in PRIORITY_ENGINES)
    if mode == "off" or (mode == "with_window" and len(without) < len(engines)):
        return
    if len(without) == len(engines):
        problem = f"No backend of pool {pool.name} has an engine with priorities. Only {HAVE_IT} have them."
        raise ValidationError({"engine_priority": f"{problem} Add one first, or leave this off."})
    if mode == "alone" and without:
        problem = f"The engine of {', '.join(without)} has no priorities, so nothing would keep order there."
        raise ValidationError({"engine_priority": f"{problem} Use with_window, or move it to another pool."})


def refuse_outside_order(backend: Backend) -> None:
    """Raises ValidationError when the backend's pool leaves all order to engines, and its engine has none."""
    alone = SchedulingPolicy.objects.filter(pool=backend.pool, engine_priority="alone").exists()
    if alone and backend.engine not in PRIORITY_ENGINES:
        problem = f"Pool {backend.pool} leaves its order to the engines alone, and only {HAVE_IT} keep it."
        raise ValidationError(
            {"engine": f"{problem} Set its engine_priority to with_window first, or take another pool."}
        )
