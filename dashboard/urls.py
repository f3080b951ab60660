"""Addresses of the console."""

from __future__ import annotations

from django.urls import path

from dashboard.views import (
    audit,
    backends,
    connect,
    overview,
    policies,
    queues,
    routes,
    session,
    tenants,
    tokens,
)

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("queues/", queues.queues, name="queues"),
    path("queues/<slug:pool>/", queues.queue, name="queue"),
    path("queues/<slug:pool>/fairness", queues.set_fairness, name="queue-fairness"),
    path("queues/<slug:pool>/state", queues.pool_state, name="pool-state"),
    path("demo", queues.demo_state, name="demo"),
    path("demo/start", queues.start_demo, name="demo-start"),
    path("demo/stop", queues.stop_demo, name="demo-stop"),
    path("tenants/", tenants.tenants, name="tenants"),
    path("new-tenant/", tenants.new_tenant, name="new-tenant"),
    path("tenants/<slug:slug>/", tenants.tenant, name="tenant"),
    path("tenants/<slug:slug>/settings", tenants.tenant_settings, name="tenant-settings"),
    path("tenants/<slug:slug>/quota", tenants.tenant_quota, name="tenant-quota"),
    path("tenants/<slug:slug>/weight", tenants.tenant_weight, name="tenant-weight"),
    path("tenants/<slug:slug>/state", tenants.tenant_state, name="tenant-state"),
    path("tenants/<slug:slug>/boost", tenants.tenant_boost, name="tenant-boost"),
    path("tokens/", tokens.tokens, name="tokens"),
    path("tokens/<int:token_id>/revoke", tokens.revoke_token, name="revoke-token"),
    path("backends/", backends.backends, name="backends"),
    path("new-backend/", backends.new_backend, name="new-backend"),
    path("connect-test", connect.connect_test, name="connect-test"),
    path("new-alias", routes.new_alias, name="new-alias"),
    path("change-alias", routes.change_alias, name="change-alias"),
    path("delete-alias", routes.delete_alias, name="delete-alias"),
    path("change-fallbacks", routes.change_fallbacks, name="change-fallbacks"),
    path("new-pool/", backends.new_pool, name="new-pool"),
    path("new-model/", backends.new_model, name="new-model"),
    path("backends/<slug:name>/", backends.backend, name="backend"),
    path("backends/<slug:name>/chart", backends.backend_chart, name="backend-chart"),
    path("backends/<slug:name>/state", backends.backend_state, name="backend-state"),
    path("policies/", policies.policies, name="policies"),
    path("policies/<slug:pool>", policies.change_policy, name="change-policy"),
    path("audit/", audit.audit, name="audit"),
    path("audit/<int:change_id>/undo", audit.undo, name="undo"),
    path("sign-in/", session.sign_in, name="sign-in"),
    path("sign-out", session.sign_out, name="sign-out"),
    path("welcome/<uidb64>/<token>/", session.welcome, name="welcome"),
    path("theme", session.set_theme, name="theme"),
]
