"""Tenants, pools, backends and the rules between them. Written only through services."""

from scheduling.models.edits import Change, Command, Revision
from scheduling.models.pools import Backend, BackendReading, Pool, SchedulingPolicy, ServedModel
from scheduling.models.routes import Alias, AliasTarget, Fallback
from scheduling.models.tenants import PriorityClass, Quota, Tenant

__all__ = [
    "Alias",
    "AliasTarget",
    "Backend",
    "BackendReading",
    "Change",
    "Command",
    "Fallback",
    "Pool",
    "PriorityClass",
    "Quota",
    "Revision",
    "SchedulingPolicy",
    "ServedModel",
    "Tenant",
]
