"""What every page shares: who may, how it is rendered, and what is said after a change."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import ValidationError
from django.db import DataError
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render, resolve_url
from django.utils.cache import patch_vary_headers
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST

from dashboard.boards.board import Board
from dashboard.sentences import sentence
from dashboard.sources import Scene
from dashboard.topics import Topic, board_of
from scheduling import selectors
from scheduling.services import Conflict, Missing, reversible

P = ParamSpec("P")
View = Callable[Concatenate[HttpRequest, P], HttpResponse]

THEMES = ("system", "light", "dark")
READ_ONLY = "You may look at everything and change nothing. An admin can make you staff."
UNFIT = "A text holds the character U+0000, or a number is too large to be stored."


def page(
    request: HttpRequest, template: str, topic: Topic | None = None, *, status: int = 200, **context: Any
) -> HttpResponse:
    """A full page, or only its content when htmx asks."""
    partial = bool(request.headers.get("HX-Request"))
    context |= {
        "frame": "fragment.html" if partial else "base.html",
        "topic": topic or Topic(),
        "can_edit": may_edit(request),
        "read_only": READ_ONLY,
        "section": _section(request),
        "theme": theme(request),
        "themes": THEMES,
    }
    response = render(request, template, context, status=status)
    patch_vary_headers(response, ["HX-Request", "Cookie"])
    return response


def _section(request: HttpRequest) -> str:
    """The entry of the navigation that this page is under: the first word of its address."""
    first = request.path.split("/")[1] or "overview"
    return {"new-tenant": "tenants", "new-backend": "backends"}.get(first, first)


def live_page(
    request: HttpRequest, template: str, topic: Topic, scene: Scene, **context: Any
) -> HttpResponse:
    """A page with a board, which the live feed keeps up to date from there on."""
    board = board_of(topic, scene)
    return page(request, template, topic, board=board, picture=scene.picture, policy=scene.policy, **context)


def row_answer(
    request: HttpRequest, board: Board, row_id: str, *, error: str = "", typed: str = ""
) -> HttpResponse:
    """One row of a board for htmx, and what is to be said about it."""
    row = next((row for row in board.rows if row.id == row_id), None)
    context = {"row": row, "can_edit": may_edit(request), "error": error, "typed": typed}
    return render(request, "dashboard/partials/row_answer.html", context, status=422 if error else 200)


def may_edit(request: HttpRequest) -> bool:
    """Whether the signed-in user may change anything."""
    return bool(request.user.is_authenticated and request.user.is_staff)


def theme(request: HttpRequest) -> str:
    """The theme the browser asked for."""
    wanted = request.COOKIES.get("theme", "")
    return wanted if wanted in THEMES else "system"


def by(request: HttpRequest) -> str:
    """Who makes a change, as the audit has it."""
    return f"admin:{request.user.get_username()}"


def viewing(view: View[P]) -> View[P]:
    """Signed-in users only; of them only staff may POST."""

    def guarded(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
        if not request.user.is_authenticated:
            return _to_the_door(request)
        if request.method == "POST" and not may_edit(request):
            return page(request, "dashboard/refused.html", status=403, reason=READ_ONLY)
        try:
            return view(request, *args, **kwargs)
        except DataError:
            return page(request, "dashboard/refused.html", status=400, reason=UNFIT)

    return guarded


def editing(view: View[P]) -> View[P]:
    """Staff only, by POST only."""
    guarded: View[P] = require_POST(viewing(view))
    return guarded


def _to_the_door(request: HttpRequest) -> HttpResponse:
    if not request.headers.get("HX-Request"):
        return redirect_to_login(request.get_full_path())
    return HttpResponse(status=204, headers={"HX-Redirect": resolve_url("sign-in")})


def attempt(request: HttpRequest, change: Callable[[], object]) -> str:
    """Make one change and say so with a way back; the reason when it was refused."""
    try:
        made(request, change)
    except ValidationError as error:
        return " ".join(error.messages)
    except (Conflict, Missing) as error:
        return str(error)
    return ""


def made(request: HttpRequest, change: Callable[[], object]) -> bool:
    """Make one change and say so with a way back. Raises what the service raises; true for forms."""
    before = selectors.revision()
    change()
    found = selectors.changes().filter(by=by(request), revision__gt=before).first()
    if found is None:
        messages.info(request, "Nothing changed: it was so already.")
    else:
        messages.success(request, sentence(found), extra_tags=undo_tag(found))
    return True


def undo_tag(change: Any) -> str:
    """The id for the undo button of a message; empty when there is no way back."""
    return str(change.pk) if reversible(change) else ""


def back(request: HttpRequest, fallback: str, *args: str) -> HttpResponseRedirect:
    """To the page the browser came from, if it is ours; by GET."""
    referer = request.headers.get("Referer", "")
    ours = url_has_allowed_host_and_scheme(
        referer, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    response = HttpResponseRedirect(referer if ours else resolve_url(fallback, *args))
    response.status_code = 303
    return response
