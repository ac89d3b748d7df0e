"""The pages that Stripe hosts, plain enough for a browser under test to click."""
