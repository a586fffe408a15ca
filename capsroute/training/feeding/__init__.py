"""From images to the batches of one process."""
