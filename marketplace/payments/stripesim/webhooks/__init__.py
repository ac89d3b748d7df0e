"""Events on their way to the application."""
