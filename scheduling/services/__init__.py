"""The only way to write tenants, pools, backends and the rules between them.

Every function checks its input (ValidationError by field), and in one
transaction writes rows, one audit ``Change``, the next revision, and the
wake-up that makes every gateway read the rules again. A call that changes
nothing writes nothing.
"""

from __future__ import annotations

from scheduling.services.addresses import checked_url
from scheduling.services.backends import (
    NO_SEATS,
    change_backend,
    create_backend,
    delete_backend,
    drain_backend,
    resume_backend,
)
from scheduling.services.commands import claim_command, finish_command, send_command
from scheduling.services.edits import (
    COMMAND_CHANNEL,
    REVISION_CHANNEL,
    Conflict,
    Missing,
    Stamp,
    clean,
    find,
    notify,
    record,
    referred,
    save_new,
    writing,
)
from scheduling.services.pools import (
    create_model,
    create_pool,
    create_priority_class,
    delete_model,
    delete_pool,
    delete_priority_class,
    move_model,
    pause_pool,
    prices_of,
    resume_pool,
    set_policy,
    set_prices,
    set_priority_class,
)
from scheduling.services.quotas import model_quotas_of, quotas_of, set_quota
from scheduling.services.routes import (
    change_alias,
    create_alias,
    delete_alias,
    fallbacks_of,
    set_fallbacks,
    targets_of,
)
from scheduling.services.tenants import (
    MOST_BOOST_MINUTES,
    boost_tenant,
    create_tenant,
    delete_tenant,
    end_boost,
    pause_tenant,
    rename_tenant,
    resume_tenant,
    set_boost,
    set_class,
    set_state,
    set_weight,
    suspend_tenant,
)
from scheduling.services.undo import reversible, undo

__all__ = [
    "COMMAND_CHANNEL",
    "MOST_BOOST_MINUTES",
    "NO_SEATS",
    "REVISION_CHANNEL",
    "Conflict",
    "Missing",
    "Stamp",
    "boost_tenant",
    "change_alias",
    "change_backend",
    "checked_url",
    "claim_command",
    "clean",
    "create_alias",
    "create_backend",
    "create_model",
    "create_pool",
    "create_priority_class",
    "create_tenant",
    "delete_alias",
    "delete_backend",
    "delete_model",
    "delete_pool",
    "delete_priority_class",
    "delete_tenant",
    "drain_backend",
    "end_boost",
    "fallbacks_of",
    "find",
    "finish_command",
    "model_quotas_of",
    "move_model",
    "notify",
    "pause_pool",
    "pause_tenant",
    "prices_of",
    "quotas_of",
    "record",
    "referred",
    "rename_tenant",
    "resume_backend",
    "resume_pool",
    "resume_tenant",
    "reversible",
    "save_new",
    "send_command",
    "set_boost",
    "set_class",
    "set_fallbacks",
    "set_policy",
    "set_prices",
    "set_priority_class",
    "set_quota",
    "set_state",
    "set_weight",
    "suspend_tenant",
    "targets_of",
    "undo",
    "writing",
]
