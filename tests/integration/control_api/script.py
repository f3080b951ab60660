"""A script with an admin's API token, and the shape of every error it gets."""

from __future__ import annotations

import json

from django.test import Client

from gateway import services as gateway_services

PROBLEM = "application/problem+json"


class Api:
    """A client with an API token."""

    def __init__(self, secret: str) -> None:
        self.secret = secret
        self.client = Client(headers={"authorization": f"Bearer {secret}"} if secret else {})

    def __call__(self, method: str, path: str, body: object = None, **query: object):
        return self.client.generic(
            method,
            f"/api/v1/{path}",
            "" if body is None else json.dumps(body),
            content_type="application/json",
            query_params=query or None,
        )

    def items(self, path: str, **query: object) -> list[dict]:
        return self("GET", path, **query).json()["items"]


def with_scopes(*scopes: str) -> Api:
    issued = gateway_services.issue_admin_token(admin="ada", name="ci", scopes=scopes, by="cli")
    return Api(issued.secret)


def is_problem(answer, status: int) -> dict:
    assert (answer.status_code, answer["Content-Type"]) == (status, PROBLEM)
    document = answer.json()
    assert document["status"] == status
    assert document["title"]
    assert document["detail"]
    return document
