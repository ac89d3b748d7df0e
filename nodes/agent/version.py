"""The agent's version, the same as in pyproject.toml: asking the installed distribution would take the start 10 ms."""

VERSION = "0.1.0"
