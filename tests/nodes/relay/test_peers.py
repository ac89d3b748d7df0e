"""Who counts as one peer."""

from __future__ import annotations

import pytest

from nodes.relay.peers import peer_of


@pytest.mark.parametrize(
    ("peername", "peer"),
    [
        (("192.0.2.1", 4000), "192.0.2.1"),
        (("::ffff:192.0.2.1", 4000, 0, 0), "192.0.2.1"),
        (("2001:db8:1:2:3:4:5:6", 4000, 0, 0), "2001:db8:1:2::/64"),
        (("fe80::1%eth0", 4000, 0, 2), "fe80::/64"),
        (None, ""),
        ("", ""),
    ],
)
def test_an_ipv4_address_is_a_peer_and_so_is_a_network_of_ipv6(peername, peer):
    assert peer_of(peername) == peer
