"""The kinds of task that a trial can be: a training of the core, a function, a command."""
