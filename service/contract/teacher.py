"""What a loss's `teacher` names: a trial of the service, as STUDY/TRIAL, or a path that workers know."""

TEACHER = "loss.teacher"
"""The setting of a training task whose value is one."""


def is_path(teacher: str) -> bool:
    """Whether it is a path, of a directory or a file: it begins with `/` or `.`, or ends with `.pt`."""
    return teacher.startswith(("/", ".")) or teacher.endswith(".pt")
