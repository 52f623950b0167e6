"""Files that are not data, such as a key, are quoted by no message, traceback or log of any reader."""

import io
import json
import pickle
import traceback
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worker.training import ConfigError, TrainingConfig, TrainingError, train
from worker.trial.classify import failure_outcome

FRAGMENTS = ("SECRET", "hunter2")


def _npy(header: bytes) -> bytes:
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def _archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("x.npy", _npy(b"{'descr': SECRET-hunter2}"))
        archive.writestr("y.npy", pickle.dumps("SECRET-hunter2"))
    return buffer.getvalue()


SECRETS: dict[str, bytes] = {
    "colons": b"root:SECRET-1:0\ndaemon:SECRET-2,x:1\nhunter2\n",
    "commas": b"root\nSECRET-1,SECRET-2\nhunter2\n",
    "one line": b"SECRET-" + b"hunter2" * 10,
    "one long line": b"SECRET-" + b"hunter2," * 300_000,
    "two long lines": b"a,b\n" + b"SECRET" * 400_000 + b"\nhunter2,1",
    "assignments": b"AWS_SECRET=hunter2\nTOKEN=SECRET-1,2\n",
    "json": json.dumps({"token": "SECRET-1", "password": "hunter2"}, indent=1).encode(),
    "json line": b'{"token": "SECRET-1", "password": "hunter2"}\n{"token": "SECRET-2", "password": "hunter2"}\n',
    "pem": b"-----BEGIN SECRET KEY-----\nhunter2hunter2+/=,\nSECRET,SECRET\n-----END SECRET KEY-----\n",
    "netrc": b"machine example.org\n  login SECRET\n  password hunter2\n",
    "binary": b"\x00\x01\x02SECRET\xff\xfe\nhunter2\x80,\n",
    "utf-16": "SECRET,hunter2\nSECRET,1\n".encode("utf-16"),
    "quotes": b'a,b\n"SECRET\nhunter2\n',
    "pickle": pickle.dumps({"SECRET": "hunter2"}),
    "pickle by name": b"cSECRET\nhunter2\n.",
    "npy": _npy(b"SECRET hunter2 = hunter2\n"),
    "npz": _archive(),
    "parquet": b"PAR1" + b"SECRET-hunter2" * 5 + b"\x20\x00\x00\x00PAR1",
    "png": b"\x89PNG\r\n\x1a\nSECRET-hunter2",
    "ppm": b"P6 SECRET-hunter2-hunter2 3 255\n",
    "eps": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: SECRET hunter2\n",
    "tiff": b"II*\x00SECRET-hunter2",
    "empty": b"",
}


def said(config: dict[str, Any]) -> str:
    """All that is told of a training that fails: to the service, and in the log that is uploaded."""
    with pytest.raises(Exception) as caught:  # noqa: PT011 - which one is the next line's matter
        train(TrainingConfig.from_mapping(config))
    assert isinstance(caught.value, TrainingError), f"{type(caught.value)} is no sentence: {caught.value}"
    log = "".join(traceback.format_exception(caught.value))
    return f"{failure_outcome(caught.value).model_dump_json()}\n{log}"


def without_secrets(text: str) -> bool:
    # Lines of the test itself stand in a traceback.
    lines = [line for line in text.splitlines() if "tests/" not in line]
    return not any(fragment in line for line in lines for fragment in FRAGMENTS)


@pytest.mark.parametrize("name", ["csv", "semicolons", "val", "parquet", "npz", "images", "texts", "table", "text"])
@pytest.mark.parametrize("secret", SECRETS)
def test_no_content_of_a_file_that_is_no_data_is_quoted(
    secret: str, name: str, mapping: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "file"
    file.write_bytes(SECRETS[secret])
    good = tmp_path / "good.csv"
    good.write_text("x,y\n" + "".join(f"{row},{'ab'[row % 2]}\n" for row in range(60)))
    (tmp_path / "images" / "cats").mkdir(parents=True)
    (tmp_path / "images" / "cats" / "1.png").write_bytes(SECRETS[secret])
    data: dict[str, dict[str, Any]] = {
        "csv": {"name": "csv", "path": str(file), "target": "y"},
        "semicolons": {"name": "csv", "path": str(file), "target": "y", "delimiter": ":"},
        "val": {"name": "csv", "path": str(good), "val": str(file), "target": "y"},
        "parquet": {"name": "parquet", "path": str(file), "target": "y"},
        "npz": {"name": "npz", "path": str(file)},
        "images": {"name": "images", "path": str(tmp_path / "images")},
        "texts": {"name": "texts", "path": str(file), "text": "x", "target": "y"},
        "table": {"name": "images", "path": str(tmp_path / "images"), "table": str(file), "group": "g"},
        "text": {"name": "text", "path": str(file), "tokens": "characters", "length": 10_000_000},
    }
    assert without_secrets(said(mapping | {"data": data[name]}))


@pytest.mark.parametrize("secret", SECRETS)
def test_no_content_of_a_file_that_is_no_checkpoint_is_quoted(
    secret: str, mapping: dict[str, Any], tmp_path: Path
) -> None:
    file = tmp_path / "teacher.pt"
    file.write_bytes(SECRETS[secret])
    (tmp_path / "step-00000001.json").write_bytes(SECRETS[secret])
    for teacher in (file, tmp_path):
        assert without_secrets(said(mapping | {"loss": {"name": "distill", "teacher": str(teacher)}}))


def test_a_malformed_line_is_reported_by_its_number_and_counts(mapping: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    for content, message in (
        ("x,y\n1,a\n2\n", r"file\.csv' can't be read as a CSV file: line 3 has 1 columns, but 2 are expected"),
        ("", "can't be read as a CSV file: it is empty"),
        ("x,y\n" + "z" * 3_000_000, "a line is longer than a megabyte"),
    ):
        file.write_text(content)
        with pytest.raises(ConfigError, match=message):
            train(TrainingConfig.from_mapping(mapping | {"data": {"name": "csv", "path": str(file), "target": "y"}}))


def test_names_of_columns_are_quoted_where_they_read_as_such(mapping: dict[str, Any], tmp_path: Path) -> None:
    file = tmp_path / "file.csv"
    for header, hint in (
        ("weight in kg,size (m²)", "known: size (m²), weight in kg"),
        ("prize,x", "did you mean 'prize'"),
        ("a=SECRET,b", "the first line has 2 columns; is this the table"),
        ("SECRET", "the first line has 1 column; is this the table"),
    ):
        file.write_text(f"{header}\n" + f"{','.join('1' for _ in header.split(','))}\n" * 9, encoding="utf-8")
        with pytest.raises(ConfigError, match=r"data\.target: there is no column 'price'") as caught:
            train(
                TrainingConfig.from_mapping(mapping | {"data": {"name": "csv", "path": str(file), "target": "price"}})
            )
        assert hint in str(caught.value)


def test_arrays_of_objects_are_refused_without_running_them(mapping: dict[str, Any], tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.array([{"SECRET": "hunter2"}] * 9, dtype=object), y=np.arange(9))
    message = said(mapping | {"data": {"name": "npz", "path": str(tmp_path / "x.npz")}})
    assert without_secrets(message)
    assert "without objects" in message
