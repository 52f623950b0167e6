"""The only rooms that speak Optuna: its models, asked with arrays of our trials; no study or storage of its own."""
