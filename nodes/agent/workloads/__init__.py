"""Buyers' workloads on this host, behind `api.Workloads`."""

from __future__ import annotations

from nodes.agent.workloads.opening import open_workloads

__all__ = ["open_workloads"]
