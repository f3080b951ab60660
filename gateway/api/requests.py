"""Single requests that wait: why, and what an admin does about it."""

from __future__ import annotations

from typing import Literal

from django.http import HttpRequest
from ninja import Router, Schema
from pydantic import Field

from gateway.api.access import by
from gateway.api.problems import answers
from scheduling import selectors, services
from scheduling.services import Missing

router = Router(tags=["requests"])

Verb = Literal["cancel", "move_to_front", "hold", "release"]


class ReasonOut(Schema):
    """One cause of a wait."""

    code: str
    text: str


class ExplanationOut(Schema):
    """Why a request waits, what holds it back most first."""

    position: int = Field(description="About how many dispatches until its own: 1 is next.")
    wait_s: float | None = Field(description="About how much longer; null while nobody can tell.")
    error_s: float | None = Field(description="By how much such estimates were wrong lately, on average.")
    reasons: list[ReasonOut]


class DoneOut(Schema):
    """What was done."""

    request_id: str
    done: Verb


@router.get("/{request_id}", response=answers(ExplanationOut))
def explain_request(request: HttpRequest, request_id: str) -> object:
    """Why the request waits, where it stands, and for about how much longer."""
    return _answer("explain", request_id, by(request))


@router.post("/{request_id}/{verb}", response=answers(DoneOut))
def steer_request(request: HttpRequest, request_id: str, verb: Verb) -> object:
    """Cancel a waiting request, move it before all others of its pool, hold it, or release it again."""
    _answer(verb, request_id, by(request))
    return {"request_id": request_id, "done": verb}


def _answer(kind: str, request_id: str, who: str) -> object:
    """What the gateway that holds the request said. Raises Missing when none does."""
    result = selectors.command_result(services.send_command(kind, request_id, by=who).pk)
    if result is None or not result.get("done"):
        raise Missing(
            f"No gateway has a waiting request {request_id!r}: it may have run or ended by now. "
            "A request is asked for by its x-fairlane-request-id."
        )
    return result
