"""The installation as one YAML file: read it, compare it, put it in force, write it out."""

from __future__ import annotations

from gateway.declarative.apply import Applied, apply
from gateway.declarative.current import Export, export
from gateway.declarative.document import BadFile, Document, read
from gateway.declarative.plan import Step
from gateway.declarative.wanted import Wanted, wanted

__all__ = ["Applied", "BadFile", "Document", "Export", "Step", "Wanted", "apply", "export", "read", "wanted"]
