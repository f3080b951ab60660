"""The live queue of one pool, its fairness switch, and demo traffic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from django.contrib import messages
from django.core.exceptions import ValidationError
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect

from dashboard import words
from dashboard.pages import attempt, back, by, editing, live_page, page, viewing
from dashboard.sources import demo_now, read_now
from dashboard.topics import Topic
from gateway import demo
from scheduling import selectors, services
from scheduling.core.policy import FAIRNESS


@viewing
def queues(request: HttpRequest) -> HttpResponse:
    """To the first pool, if there is one."""
    first = selectors.pools().first()
    if first is None:
        return page(request, "dashboard/no_pool.html")
    return redirect("queue", first.name)


@viewing
def queue(request: HttpRequest, pool: str) -> HttpResponse:
    """One pool's line, tenant by tenant."""
    scene = read_now()
    if pool not in scene.policy.pools:
        raise Http404(f"There is no pool {pool}.")
    return live_page(
        request,
        "dashboard/queue.html",
        Topic("queue", pool),
        scene,
        pool=pool,
        pools=sorted(scene.policy.pools),
        fairness=[(name, name == scene.policy.pools[pool].fairness) for name in FAIRNESS],
        cost=words.cost(scene.policy.pools[pool].cost),
        demo=demo_now(),
    )


@editing
def set_fairness(request: HttpRequest, pool: str) -> HttpResponse:
    """Change how the pool shares, from the next dispatch on."""
    wanted = request.POST.get("fairness", "")
    return _change(request, pool, partial(services.set_policy, pool, by=by(request), fairness=wanted))


@editing
def pool_state(request: HttpRequest, pool: str) -> HttpResponse:
    """Pause or resume."""
    service = services.resume_pool if request.POST.get("paused") == "no" else services.pause_pool
    return _change(request, pool, partial(service, pool, by=by(request)))


def _change(request: HttpRequest, pool: str, change: Callable[[], object]) -> HttpResponse:
    if error := attempt(request, change):
        messages.error(request, error)
    if request.headers.get("HX-Request"):
        return page(request, "dashboard/partials/toasts.html", status=422 if error else 200)
    return back(request, "queue", pool)


@viewing
def demo_state(request: HttpRequest) -> HttpResponse:
    """Whether demo traffic runs, which its button asks for again every few seconds."""
    return page(request, "dashboard/partials/demo.html", demo=demo_now())


@editing
def start_demo(request: HttpRequest) -> HttpResponse:
    """Send demo traffic: one greedy tenant, two quiet ones."""
    try:
        demo.start(by=by(request))
    except ValidationError as error:
        messages.error(request, " ".join(error.messages))
    else:
        messages.success(request, "Demo traffic runs: one greedy tenant, two quiet ones.")
    return redirect("queues")


@editing
def stop_demo(request: HttpRequest) -> HttpResponse:
    """End demo traffic."""
    demo.stop()
    messages.success(request, "Demo traffic stops.")
    return back(request, "queues")
