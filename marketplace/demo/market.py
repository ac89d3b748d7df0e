"""What trades in the demo: the processes that stand for sellers' hosts and for buyers."""

import sys

from marketplace.demo.fleet import HOSTS
from marketplace.demo.place import Place
from marketplace.demo.supervisor import Process

PYTHON = (sys.executable, "-m")


def market_processes(place: Place) -> list[Process]:
    """Started when the servers are ready; the people of `place.people_file` and the sellers exist by then."""
    data = str(place.data_dir)
    hosts = [Process(host.name, (*PYTHON, "marketplace.demo.host", data, host.name)) for host in HOSTS]
    return [
        Process("weather", (*PYTHON, "marketplace.demo.weather", data)),
        *hosts,
        Process("cards", (*PYTHON, "marketplace.demo.cards", data, place.url, str(place.people_file))),
        Process("traders", (*PYTHON, "marketplace.demo.traders", place.url, str(place.people_file))),
    ]
