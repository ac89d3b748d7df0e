"""How reliable nodes are is learned from their leases, by those who know them, and kept here for the search."""

from __future__ import annotations

from collections.abc import Mapping

from nodes.models import Node


def record_reliability(basis_points: Mapping[int, int]) -> None:
    """Node pk → the share of its leases that it kept; of a node that is not named too little is known.

    A row at a time, and only where it changes: no transaction ever waits for two nodes.
    """
    for pk, known in Node.objects.values_list("pk", "reliability_basis_points"):
        if known != basis_points.get(pk):
            Node.objects.filter(pk=pk).update(reliability_basis_points=basis_points.get(pk))
