"""The `study` command: one module per group of commands, and how it shows answers."""
