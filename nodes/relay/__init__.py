"""The way from a buyer to a container on a host without an open port: stock SSH on both legs, see docs/adr/0006."""
