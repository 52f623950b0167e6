"""The console script `worker` and `python -m worker`: starts a worker, or `worker doctor`, `try`, `baselines`, …."""

from __future__ import annotations

import sys

from service.process_secrets import take_secrets


def main() -> None:
    """Run the command line and exit with its status."""
    # This comes before every other import: where a token is set, `take_secrets` re-executes this process.
    token = take_secrets(["ASSAYER_TOKEN"]).get("ASSAYER_TOKEN")
    from worker import (  # noqa: PLC0415
        baselines_study,
        cli,
        data_curve_study,
        doctor,
        export_model,
        predict_examples,
        preflight_study,
        try_trial,
    )

    match sys.argv[1:]:
        case ["doctor", *arguments]:
            sys.exit(doctor.main(arguments, token))
        case ["try", *arguments]:
            sys.exit(try_trial.main(arguments, token))
        case ["preflight", *arguments]:
            sys.exit(preflight_study.main(arguments))
        case ["export-model", *arguments]:
            sys.exit(export_model.main(arguments))
        case ["predict", *arguments]:
            sys.exit(predict_examples.main(arguments))
        case ["baselines", *arguments]:
            sys.exit(baselines_study.main(arguments))
        case ["data-curve", *arguments]:
            sys.exit(data_curve_study.main(arguments))
        case arguments:
            sys.exit(cli.main(arguments, token))


if __name__ == "__main__":
    main()
