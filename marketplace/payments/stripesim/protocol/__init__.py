"""How requests and answers look: types taken from the SDK, form encoding, errors, lists, repeated requests."""
