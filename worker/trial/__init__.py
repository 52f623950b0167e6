"""The seam in the training process: a grant becomes a task, its end an outcome; never speaks to the service."""
