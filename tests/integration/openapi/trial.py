"""Schemathesis against a document: each operation with what it declares valid, and with what it does not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import Case, GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

EXAMPLES = 4  # of each mode, for each operation
UNFIT = [
    positive_data_acceptance
]  # a schema cannot say which names there are, or what two fields mean together


def try_all(
    schema: Any,
    secret: str,
    served: Callable[[str], bool] = lambda path: True,
    **to: Any,
) -> int:
    """Send made-up cases of every operation, with this API token; how many.

    Raises for an answer that is not declared. ``to`` says where they go.
    """
    tried = 0

    @schema.auth(refresh_interval=None)
    class Bearer:
        def get(self, case: Case, context: Any) -> str:
            return secret

        def set(self, case: Case, data: str, context: Any) -> None:
            case.headers["authorization"] = f"Bearer {data}"

    for operation in operations(schema):
        if not served(operation.path):
            continue
        for mode in GenerationMode:

            @settings(
                max_examples=EXAMPLES,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
                database=None,
            )
            @given(case=operation.as_strategy(generation_mode=mode))
            def trial(case: Case) -> None:
                nonlocal tried
                tried += 1
                case.call_and_validate(excluded_checks=UNFIT, **to)

            # Where nothing is declared, nothing is against it.
            with suppress(*([Unsatisfiable] if mode.is_negative else [])):
                trial()
    return tried


def operations(schema: Any) -> Iterator[Any]:
    """All operations of a document."""
    return (result.ok() for result in schema.get_all_operations())
