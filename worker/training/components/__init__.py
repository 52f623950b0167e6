"""The parts that a configuration selects beside the model: losses, optimizers, schedules, augmentation, metrics."""
