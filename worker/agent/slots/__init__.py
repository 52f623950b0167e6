"""Slots: each claims a trial, executes it in a training process, and claims the next one."""
