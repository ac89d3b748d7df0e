"""The options of `fallow-agent measure`; apart, so that other commands start without the driver's binding."""

from __future__ import annotations

import argparse

from nodes.agent.passport import ROLES


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's options."""
    parser.add_argument("--card", metavar="UUID", help="one card; every card of this host by default")
    parser.add_argument("--role", choices=ROLES, default="seller", help="in which part of a deal; seller by default")
    parser.add_argument("--sale", metavar="ID", default="", help="the sale that it is measured for")
    parser.add_argument("--quick", action="store_true", help="three minutes in place of twenty")
