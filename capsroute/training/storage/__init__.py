"""What a run leaves on disk: checkpoints, weights, their model card, the folder that holds them."""
