"""Commands about remedies: apply one, and draft the follow-up study that the findings suggest."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from service.cli.commands.output import note, print_answer
from service.cli.draft_file import draft_file
from service.client.client import Client
from service.client.errors import NotFound, invalid_study
from service.contract.finding import Finding, Remedy
from service.contract.remedy import ApplyReply, ApplyRequest, FollowUpDraft


def apply_remedy(client: Client, arguments: argparse.Namespace) -> None:
    finding, version = _finding(client, arguments.name, arguments.rule, arguments.trial)
    remedy = _remedy(finding, arguments.remedy)
    request = ApplyRequest(
        action=remedy.action,  # type: ignore[arg-type]  # _remedy returns one that has an action
        version=version,
        rule=finding.rule,
        remedy=remedy.name,
        trial=finding.trial,
        dry_run=True,
    )
    if not arguments.dry_run and arguments.yes:
        request = request.model_copy(update={"dry_run": False})
    reply = client.apply(arguments.name, request)
    if not arguments.dry_run and not arguments.yes:
        note(f"{finding.sentence}\n{remedy.sentence}\n{_page(reply)}")
        _confirm(reply)
        reply = client.apply(arguments.name, request.model_copy(update={"dry_run": False}))
    print_answer(arguments, reply, _page(reply))


def draft_next(client: Client, arguments: argparse.Namespace) -> None:
    draft = client.draft_follow_up(arguments.name)
    if arguments.json:
        print_answer(arguments, draft, "")
        return
    for each in draft.notes:
        note(each)
    if not draft.changes:
        message = _nothing_to_change(client, draft)
        if arguments.out is None:  # A comment, as the output may be piped to a study file.
            sys.stdout.write("".join(f"# {line}\n" for line in message.splitlines()))
        else:
            note(message)
        return
    text = draft_file(draft, arguments.out or f"{draft.spec.name}.yaml")
    if arguments.out is None:
        sys.stdout.write(text)
        return
    path = Path(arguments.out)
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise invalid_study(path, "exists already; name another file with --out") from None
    except OSError as error:
        raise invalid_study(path, f"cannot be written: {error.strerror}") from None
    note(f"wrote {path}; read it, then: study create {path}")


def _finding(client: Client, study: str, rule: str, trial: int | None) -> tuple[Finding, int]:
    """Return the finding of a rule about the study or a trial, and the version of the spec its actions are for.

    Raises:
        InvalidStudy: there is no such finding.
    """
    if trial is not None:
        of_trial = client.trial_diagnosis(study, trial)
        findings, version, where = of_trial.findings, of_trial.spec_version, f"trial {trial}"
    else:
        diagnosis = client.diagnosis(study)
        findings = [*diagnosis.findings, *(each.clearest for each in diagnosis.trial_findings)]
        version, where = diagnosis.spec_version, f"{study} and its trials"
    for finding in findings:
        if finding.rule == rule:
            return finding, version
    known = ", ".join(dict.fromkeys(finding.rule for finding in findings)) or "none"
    raise invalid_study(rule, f"no such finding about {where}; there are: {known}")


def _remedy(finding: Finding, number: int | None) -> Remedy:
    """Return the remedy of a number, counted from 1, or the first one that the service can carry out.

    Raises:
        InvalidStudy: there is none, or only a person can carry it out.
    """
    if number is None:
        found = next((remedy for remedy in finding.remedies if remedy.action is not None), None)
        if found is None:
            by_hand = " ".join(remedy.sentence for remedy in finding.remedies)
            raise invalid_study(finding.rule, f"the service can carry out none of its remedies now; by hand: {by_hand}")
        return found
    if not 1 <= number <= len(finding.remedies):
        raise invalid_study("--remedy", f"{finding.rule} has {len(finding.remedies)} remedies, counted from 1")
    remedy = finding.remedies[number - 1]
    if remedy.action is None:
        raise invalid_study("--remedy", f"the service cannot carry this one out now: {remedy.sentence}")
    return remedy


def _confirm(reply: ApplyReply) -> None:
    """Ask the user for a yes.

    Raises:
        InvalidStudy: there is no terminal to ask at, or the answer is another one.
    """
    if not sys.stdin.isatty():
        raise invalid_study("study apply", f"{reply.sentence}; in a script, add --yes")
    sys.stderr.write("Carry it out? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise invalid_study("study apply", "nothing was changed")


def _page(reply: ApplyReply) -> str:
    lines = [reply.sentence, *(f"  {change}" for change in reply.changes)]
    return "\n".join(lines if reply.dry_run else [*lines, f"see: {reply.look}"])


def _nothing_to_change(client: Client, draft: FollowUpDraft) -> str:
    """Return a sentence for a study whose findings suggest no change, with the command that confirms its best trial."""
    nothing = f"no finding about {draft.study} suggests a change of its study file"
    try:
        best = client.best(draft.study)
    except NotFound:
        return f"{nothing}, and no trial is completed yet"
    values = " ".join(f"'{name}={value}'" for name, value in best.parameters.items())
    return (
        f"{nothing}.\nTo confirm trial {best.number} with another seed: study extend {draft.study} --trials N, then\n"
        f"  study enqueue {draft.study} {values}"
    )
