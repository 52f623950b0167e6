"""How weights learn: optimizers, schedules, precision, and which weights a fine-tuning trains."""
