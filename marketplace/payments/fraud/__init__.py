"""Against fraud: where money came from, what a new firm may pay in, who stands behind whom, and who bears a loss."""
