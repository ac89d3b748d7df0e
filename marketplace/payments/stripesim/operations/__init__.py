"""What each request does."""

from importlib import import_module
from pathlib import Path


def load() -> None:
    """Imports every module here, which fills the table of operations."""
    for path in sorted(Path(__file__).parent.glob("[a-z]*.py")):
        import_module(f"{__name__}.{path.stem}")
