"""Remedies: attaches actions to findings, carries actions out, and drafts follow-up studies."""
