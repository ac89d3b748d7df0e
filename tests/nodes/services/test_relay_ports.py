"""The relay's ports are those of the setting, whatever the migration wrote."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from nodes.models import RelayPort
from nodes.services.relay_ports import NoRelayPort, keep_relay_ports, relay_port_range, take_ports

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def ports():
    """As an earlier setting left them: 100 and 101 free, 102 with a lease."""
    RelayPort.objects.all().delete()
    RelayPort.objects.bulk_create([RelayPort(port=100), RelayPort(port=101), RelayPort(port=102, holder="lse_1")])


def known() -> dict[int, str]:
    return dict(RelayPort.objects.values_list("port", "holder"))


def test_new_ports_come_and_free_ones_outside_of_the_range_go(settings):
    settings.RELAY_PORTS = "101-101"
    keep_relay_ports()
    assert known() == {101: "", 102: "lse_1"}
    settings.RELAY_PORTS = "102-104"
    for _ in range(2):
        keep_relay_ports()
        assert known() == {102: "lse_1", 103: "", 104: ""}


def test_a_port_outside_of_the_range_is_not_lent_again(settings):
    settings.RELAY_PORTS = "101-103"
    assert take_ports(holder="lse_2", count=1) == [101]
    with pytest.raises(NoRelayPort):
        take_ports(holder="lse_3", count=1)


@pytest.mark.parametrize("text", ["", "20000", "20000-", "2-1", "0-5", "1-70000", "a-b"])
def test_a_range_that_is_none_is_refused_by_the_settings_name(settings, text):
    settings.RELAY_PORTS = text
    with pytest.raises(ImproperlyConfigured, match="RELAY_PORTS"):
        relay_port_range()
