"""The promise itself: in the running product, a weight typed into a browser re-orders those who wait."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time

import pytest
from openai import APIError, AsyncOpenAI
from playwright.sync_api import Browser, Page, expect

from benchmarks.product import MODEL, Product, running_product

pytestmark = [
    pytest.mark.browser,
    pytest.mark.product,
    pytest.mark.django_db(transaction=True, serialized_rollback=True),  # as the shared browser expects
]

TENANTS = [{"slug": "research", "name": "Research"}, {"slug": "batch-jobs", "name": "Batch jobs"}]
ENGINE = ("--profile", "a10g-7b", "--max-num-seqs", "1")  # about a third of a second per request
EACH = 40  # requests that each tenant has waiting
PASSWORD = "a long walk through the product"  # of a database that lives for this test


def sign_in(chromium: Browser, product: Product) -> Page:
    link = json.loads(product.manage("admin", "link", "--json"))["link"]
    page = chromium.new_page()
    page.goto(link)
    page.get_by_label("New password", exact=True).fill(PASSWORD)
    page.get_by_label("New password confirmation").fill(PASSWORD)
    page.get_by_role("button", name="Set the password").click()
    expect(page.get_by_role("heading", name="Overview")).to_be_visible()
    return page


async def flood(product: Product, stop: threading.Event) -> None:
    """Both tenants ask for everything at once, and leave when the test has seen enough."""
    clients = [
        AsyncOpenAI(base_url=f"{product.url}/v1", api_key=secret, max_retries=0)
        for secret in product.secrets.values()
    ]

    async def ask(client: AsyncOpenAI) -> None:
        with contextlib.suppress(APIError):
            await client.chat.completions.create(
                model=MODEL, messages=[{"role": "user", "content": "Hello"}], max_tokens=12
            )

    asked = [asyncio.create_task(ask(client)) for _ in range(EACH) for client in clients]
    while not stop.is_set():
        await asyncio.sleep(0.05)
    for task in asked:
        task.cancel()
    await asyncio.gather(*asked, return_exceptions=True)
    for client in clients:
        await client.close()


def dispatched(product: Product, since: float, until: float) -> list[str]:
    """Tenants in the order in which their requests got a seat."""
    rows = product.query(
        "SELECT tenant FROM gateway_usagerecord WHERE dispatched_at BETWEEN to_timestamp(%s) "
        "AND to_timestamp(%s) ORDER BY dispatched_at",
        (since, until),
    )
    return [str(tenant) for (tenant,) in rows]


def test_a_weight_typed_into_a_browser_reorders_waiting_requests_is_audited_and_undone(chromium):
    with running_product(TENANTS, engines=1, engine_options=ENGINE, max_in_flight=1) as product:
        page = sign_in(chromium, product)
        page.get_by_role("link", name="Queues").click()
        stop = threading.Event()
        crowd = threading.Thread(target=lambda: asyncio.run(flood(product, stop)))
        crowd.start()
        try:
            expect(page.locator("#q-research-queued")).not_to_have_text("0", timeout=10_000)
            began_s = time.time()
            time.sleep(3)  # what equal weights look like, for comparison
            weight = page.get_by_role("spinbutton", name="Weight of research")
            weight.fill("1000")
            weight.press("Enter")
            edited_s = time.time()
            expect(page.get_by_text("tenant research: weight 1 → 1000")).to_be_visible()
            time.sleep(5)
            seen_s = time.time()
            page.get_by_role("button", name="Undo").click()
            expect(weight).to_have_value("1")
        finally:
            stop.set()
            crowd.join()
        page.get_by_role("link", name="Audit").click()
        expect(page.get_by_role("row").filter(has_text="set tenant research").first).to_be_visible()
        time.sleep(1)  # the journal writes its last batch
        before = dispatched(product, began_s, edited_s)
        after = dispatched(product, edited_s + 1, seen_s - 0.5)
        page.close()

    assert {"research", "batch-jobs"} == set(before)
    assert len(after) >= 5
    assert set(after) == {"research"}
