from __future__ import annotations

from pathlib import Path

from nodes.agent.workloads.firewall import connected_networks, rules_for

_ROUTES = """\
Iface	Destination	Gateway 	Flags	RefCnt	Use	Metric	Mask		MTU	Window	IRTT
eth0	00000000	012C160B	0003	0	0	0	00000000	0	0	0
eth0	002C160B	00000000	0001	0	0	0	00FFFFFF	0	0	0
eth1	00120A0A	00000000	0001	0	0	0	00FEFFFF	0	0	0
eth0	0101A8C0	012C160B	0007	0	0	0	FFFFFFFF	0	0	0
ppp0	00000000	00000000	0001	0	0	0	00000000	0	0	0
flw0123456789ab	0001590A	00000000	0001	0	0	0	00FFFFFF	0	0	0
"""


def test_networks_without_a_gateway_are_closed_and_neither_the_default_route_nor_a_leases_bridge(
    tmp_path: Path,
) -> None:
    routes = tmp_path / "route"
    routes.write_text(_ROUTES)
    assert connected_networks(routes) == ["10.10.18.0/23", "11.22.44.0/24"]
    assert "11.22.44.0/24 }" in rules_for(connected_networks(routes))


def test_a_host_without_a_routing_table_has_no_neighbours(tmp_path: Path) -> None:
    assert connected_networks(tmp_path / "none") == []
