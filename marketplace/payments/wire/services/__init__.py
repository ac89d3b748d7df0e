"""Importing statements, and what operators decide about their lines."""
