"""The hot path of reports: a small ASGI process beside Django that acknowledges only what PostgreSQL has committed."""
