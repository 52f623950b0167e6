"""The command `worker export-model`: writes a checkpoint's model as a bundle, safetensors, ONNX or torch.export."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from service.contract.command_line import parse
from worker.settings import module_name

FORMATS = ("bundle", "safetensors", "onnx", "torch-export")

_EPILOG = """\
examples:
  worker export-model best.pt --out best.zip                  a bundle, which predicts on new examples
  worker export-model best.pt --format onnx --out best.onnx   the network alone, from encoded features"""


def main(arguments: Sequence[str]) -> int:
    """Export a model.

    Args:
        arguments: The command line after `worker export-model`.

    Returns:
        The exit status: 0 when the file is written, 2 when the model cannot be exported here.
    """
    notes = Console(stderr=True, soft_wrap=True, highlight=False, markup=False)
    args = _parse(arguments)
    sys.path.insert(0, str(Path.cwd()))  # as a worker that is started here
    try:
        from worker.training import TrainingError  # noqa: PLC0415 - loads torch
        from worker.trial.registration import RegistrationFailed, register  # noqa: PLC0415
    except ImportError as error:
        notes.print(f"worker export-model: torch cannot be imported ({error}); pip install 'assayer[worker]'")
        return 2
    try:
        register(args.register)
        evidence = json.loads(args.evidence.read_text()) if args.evidence is not None else {}
        answer = _export(args, evidence)
    except (RegistrationFailed, TrainingError) as error:
        notes.print(f"worker export-model: {error}")
        return 2
    except OSError as error:
        notes.print(f"worker export-model: {args.out} cannot be written: {error.strerror}")
        return 2
    if args.json:
        sys.stdout.write(json.dumps(answer) + "\n")
    else:
        sys.stdout.write(f"wrote {answer['out']}: {answer['models']} of epoch {answer['step']}\n")
    return 0


def _export(args: argparse.Namespace, evidence: dict[str, Any]) -> dict[str, Any]:
    from worker.training.bundle import bundle_of_checkpoint, write_bundle  # noqa: PLC0415
    from worker.training.bundle.card import card_of  # noqa: PLC0415
    from worker.training.bundle.formats import write_onnx, write_safetensors, write_torch_export  # noqa: PLC0415

    bundle = bundle_of_checkpoint(args.checkpoint)
    card = card_of(bundle, evidence)
    match args.format:
        case "bundle":
            write_bundle(args.out, bundle, card, {"evidence": evidence})
        case "safetensors":
            write_safetensors(args.out, bundle, {"evidence": evidence, "card": card})
        case "onnx":
            write_onnx(args.out, bundle)
        case _:
            write_torch_export(args.out, bundle)
    if args.format in ("onnx", "torch-export"):  # these formats have no place for it
        args.out.with_name(f"{args.out.name}.md").write_text(card, encoding="utf-8")
    number = len(bundle.models)
    return {
        "out": str(args.out),
        "format": args.format,
        "step": bundle.step,
        "models": f"{number} model{'s' if number > 1 else ''}",
    }


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="worker export-model",
        description=__doc__,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a checkpoint file of a training")
    parser.add_argument("--format", choices=FORMATS, default="bundle", help="format of the file (%(default)s)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="file to write")
    parser.add_argument("--evidence", type=Path, metavar="FILE", help="JSON file of what the study knows, for the card")
    parser.add_argument(
        "--register", action="append", default=[], type=module_name, metavar="MODULE", help="same as for worker"
    )
    parser.add_argument("--json", action="store_true", help="print the answer as JSON")
    return parse(parser, arguments)
