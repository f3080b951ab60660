"""API tokens for inference. Admins' own are made on the command line and in the console only."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Query, Router
from ninja.responses import Status

from gateway import selectors, services
from gateway.api.access import by
from gateway.api.inputs import TokenIn
from gateway.api.outputs import IssuedTokenOut, TokenOut
from gateway.api.paging import Page, PageQuery, page
from gateway.api.problems import answers
from gateway.models import ApiToken
from scheduling.selectors import found

router = Router(tags=["tokens"])


class TokenQuery(PageQuery):
    """Which API tokens."""

    tenant: str = ""
    revoked: bool = False


@router.get("", response=answers(Page[TokenOut]))
def list_tokens(request: HttpRequest, query: Query[TokenQuery]) -> object:
    """API tokens in force, or the revoked ones, newest first."""
    rows = selectors.api_tokens(query.tenant).filter(revoked_at__isnull=not query.revoked)
    return page(rows, query, "-id")


@router.post("", response=answers(IssuedTokenOut, 201))
def issue_token(request: HttpRequest, body: TokenIn) -> object:
    """Make an API token. The answer holds its secret, which nobody can read again."""
    issued = services.issue_token(**body.given(), by=by(request), why=body.why)
    return Status(201, {"token": _found(issued.token.pk), "secret": issued.secret})


@router.get("/{int:token_id}", response=answers(TokenOut))
def read_token(request: HttpRequest, token_id: int) -> object:
    """One API token, without its secret."""
    return _found(token_id)


@router.delete("/{int:token_id}", response=answers(TokenOut))
def revoke_token(request: HttpRequest, token_id: int) -> object:
    """Refuse an API token for good, at every gateway within two seconds."""
    services.revoke_token(token_id, by=by(request))
    return _found(token_id)


def _found(token_id: int) -> ApiToken:
    return found(selectors.api_tokens(), pk=token_id)
