"""Pools, the models they serve, and the aliases of those."""

from __future__ import annotations

from django.http import HttpRequest
from ninja import Query, Router
from ninja.responses import Status

from gateway.api.access import by
from gateway.api.inputs import AliasChange, AliasIn, ModelChange, ModelIn, PoolIn
from gateway.api.outputs import AliasOut, ModelOut, PoolOut
from gateway.api.paging import Page, PageQuery, page
from gateway.api.problems import answers
from scheduling import selectors, services

pools = Router(tags=["models"])
models = Router(tags=["models"])
aliases = Router(tags=["models"])


@pools.get("", response=answers(Page[PoolOut]))
def list_pools(request: HttpRequest, query: Query[PageQuery]) -> object:
    """All pools, by name."""
    return page(selectors.pools(), query, "name")


@pools.post("", response=answers(PoolOut, 201))
def create_pool(request: HttpRequest, body: PoolIn) -> object:
    """Make a pool with the default policy."""
    services.create_pool(body.name, by=by(request), why=body.why)
    return Status(201, selectors.found(selectors.pools(), name=body.name))


@pools.delete("/{name}", response=answers(None, 204))
def delete_pool(request: HttpRequest, name: str) -> object:
    """Remove an empty pool."""
    services.delete_pool(name, by=by(request))
    return Status(204, None)


@models.get("", response=answers(Page[ModelOut]))
def list_models(request: HttpRequest, query: Query[PageQuery]) -> object:
    """All served models, by name."""
    return page(selectors.served_models(), query, "name")


@models.post("", response=answers(ModelOut, 201))
def create_model(request: HttpRequest, body: ModelIn) -> object:
    """Let clients ask for a model name."""
    who = by(request)
    with services.writing():
        services.create_model(**body.given("fallbacks"), by=who, why=body.why)
        if body.fallbacks:
            services.set_fallbacks(body.name, body.fallbacks, by=who, why=body.why)
    return Status(201, selectors.found(selectors.served_models(), name=body.name))


# A model's name may hold slashes, so it is all the rest of the path.
@models.get("/{path:name}", response=answers(ModelOut))
def read_model(request: HttpRequest, name: str) -> object:
    """One served model."""
    return selectors.found(selectors.served_models(), name=name)


@models.patch("/{path:name}", response=answers(ModelOut))
def change_model(request: HttpRequest, name: str, body: ModelChange) -> object:
    """Change where a model is served, what its tokens cost, or its fallbacks, from the next request on."""
    stamp = {"by": by(request), "why": body.why}
    given = body.given()
    with services.writing():
        if "pool" in given:
            services.move_model(name, given["pool"], **stamp)
        if "prices" in given:
            services.set_prices(name, given["prices"], **stamp)
        if "fallbacks" in given:
            services.set_fallbacks(name, given["fallbacks"], **stamp)
    return selectors.found(selectors.served_models(), name=name)


@models.delete("/{path:name}", response=answers(None, 204))
def delete_model(request: HttpRequest, name: str) -> object:
    """Stop serving a model name."""
    services.delete_model(name, by=by(request))
    return Status(204, None)


@aliases.get("", response=answers(Page[AliasOut]))
def list_aliases(request: HttpRequest, query: Query[PageQuery]) -> object:
    """All aliases, by name."""
    return page(selectors.aliases(), query, "name")


@aliases.post("", response=answers(AliasOut, 201))
def create_alias(request: HttpRequest, body: AliasIn) -> object:
    """Let clients ask for a name that stands for one or several served models."""
    services.create_alias(**body.given(), by=by(request), why=body.why)
    return Status(201, selectors.found(selectors.aliases(), name=body.name))


@aliases.get("/{path:name}", response=answers(AliasOut))
def read_alias(request: HttpRequest, name: str) -> object:
    """One alias."""
    return selectors.found(selectors.aliases(), name=name)


@aliases.patch("/{path:name}", response=answers(AliasOut))
def change_alias(request: HttpRequest, name: str, body: AliasChange) -> object:
    """Change an alias's targets, their weights or its fallbacks, from the next request on."""
    services.change_alias(name, **body.given(), by=by(request), why=body.why)
    return selectors.found(selectors.aliases(), name=name)


@aliases.delete("/{path:name}", response=answers(None, 204))
def delete_alias(request: HttpRequest, name: str) -> object:
    """Stop serving an alias. The models behind it stay."""
    services.delete_alias(name, by=by(request))
    return Status(204, None)
