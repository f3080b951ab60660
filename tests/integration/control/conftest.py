"""An engine with something to tell."""

from __future__ import annotations

import pytest

from tests.fakes.pages import page_engine, vllm_page


@pytest.fixture
def engine():
    with page_engine() as engine:
        engine.page = vllm_page(running=6, waiting=0)
        yield engine
