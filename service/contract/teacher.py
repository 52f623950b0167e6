"""The values of a loss's `teacher` setting: a trial of the service, as STUDY/TRIAL, or a path that workers can read."""

TEACHER = "loss.teacher"
"""The setting of a training task that names a teacher."""


def is_path(teacher: str) -> bool:
    """Return whether `teacher` is a path of a directory or file: it begins with `/` or `.`, or ends with `.pt`."""
    return teacher.startswith(("/", ".")) or teacher.endswith(".pt")
