"""What trades in the demo: the processes that stand for sellers' hosts and for buyers."""

from marketplace.demo.place import Place
from marketplace.demo.supervisor import Process


def market_processes(place: Place) -> list[Process]:
    """Started when the servers are ready; the people of `place.people_file` exist by then."""
    return []
