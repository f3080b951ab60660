"""The control API, all of it: `/api/v1/`."""

from __future__ import annotations

from typing import Any

from django.http import Http404, HttpRequest
from ninja import NinjaAPI, Router
from ninja.openapi.schema import OpenAPISchema

from gateway.api import backends, batches, changes, live, models, policies, requests, tenants, tokens
from gateway.api.access import AdminToken
from gateway.api.docs import LocalDocs
from gateway.api.problems import MEDIA_TYPE, add_handlers

LEAST_ERROR = 400

unknown = Router()


class ControlApi(NinjaAPI):
    """Ninja, with problem documents under their own media type in the OpenAPI document."""

    def get_openapi_schema(self, **options: Any) -> OpenAPISchema:
        """The OpenAPI document."""
        schema = super().get_openapi_schema(**options)
        operations = [each for path in schema["paths"].values() for each in path.values()]
        for operation in operations:
            for status, answer in operation["responses"].items():
                if int(status) >= LEAST_ERROR and "content" in answer:
                    answer["content"] = {MEDIA_TYPE: answer["content"].pop(self.renderer.media_type)}
        return schema


@unknown.api_operation(
    ["GET", "POST", "PUT", "PATCH", "DELETE"], "/{path:rest}", auth=None, include_in_schema=False
)
def nothing_here(request: HttpRequest, rest: str) -> None:
    """Answer unknown addresses in the same shape as all other errors."""
    raise Http404


api = ControlApi(
    title="Fairlane control API",
    version="1",
    description=(
        "Tenants, API tokens, models, aliases, backends, policies, queues, batches, usage and the audit. "
        "It uses the same services as the console, so everything is checked, audited and in force at once. "
        "Authenticate with an admin's API token: `manage.py token issue --admin NAME --scope …`."
    ),
    docs=LocalDocs(),
    auth=AdminToken(),
)
api.add_router("/tenants", tenants.router)
api.add_router("/tokens", tokens.router)
api.add_router("/pools", models.pools)
api.add_router("/models", models.models)
api.add_router("/aliases", models.aliases)
api.add_router("/backends", backends.router)
api.add_router("/policies", policies.policies)
api.add_router("/classes", policies.classes)
api.add_router("/queues", live.queues)
api.add_router("/requests", requests.router)
api.add_router("/usage", live.usage)
api.add_router("/batches", batches.router)
api.add_router("/changes", changes.router)
api.add_router("", unknown)  # last: it takes every address that is left
add_handlers(api)
