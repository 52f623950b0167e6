"""The training loop: epochs, cross-validation and forks."""
