"""HTTP of nodes: what agents ask, and what a firm sees of its fleet."""
