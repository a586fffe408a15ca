"""Images that the experiments generate or derive, each the same for the same seed."""
