"""The environment of training processes: an allow-list of variables, minus those that look like secrets."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

TOKEN = "ASSAYER_TOKEN"  # noqa: S105 - a variable's name, not a token

_NAMES = {
    *(
        "PATH",
        "HOME",
        "USER",
        "LOGNAME",
        "SHELL",
        "TERM",
        "HOSTNAME",
        "LANG",
        "LANGUAGE",
        "TZ",
        "TMPDIR",
        "TEMP",
        "TMP",
    ),
    *("VIRTUAL_ENV", "LD_LIBRARY_PATH", "LD_PRELOAD", "TOKENIZERS_PARALLELISM"),
    *("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"),
    *("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "all_proxy", "no_proxy"),
}
_PREFIXES = (
    *("LC_", "XDG_", "PYTHON", "CONDA_", "ASSAYER_"),
    *("CUDA_", "CUDNN_", "CUBLAS_", "NVIDIA_", "NCCL_", "GLOO_", "TORCH", "PYTORCH_", "TRITON_"),
    *("OMP_", "KMP_", "MKL_", "OPENBLAS_", "BLIS_", "NUMEXPR_", "GOMP_", "MALLOC_", "HF_", "TRANSFORMERS_", "TF_CPP_"),
)
_SECRET_NAME = re.compile(r"TOKEN|SECRET|PASSW|CREDENTIAL|KEY$|_KEY_|AUTH|COOKIE|DATABASE", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"://[^/\s@]*:[^/\s@]*@")
"""Matches a URL with a password."""


def passed_environment(environment: Mapping[str, str], names: Sequence[str] = ()) -> dict[str, str]:
    """Return the part of an environment that training processes may see.

    Args:
        environment: All variables.
        names: Further variables to pass: names, or prefixes that end in `*`. The service's token is never passed.
    """
    return {
        name: value
        for name, value in environment.items()
        if name != TOKEN and (_is_requested(name, names) or _is_harmless(name, value))
    }


def _is_requested(name: str, names: Sequence[str]) -> bool:
    return any(name.startswith(entry[:-1]) if entry.endswith("*") else name == entry for entry in names)


def _is_harmless(name: str, value: str) -> bool:
    if _SECRET_VALUE.search(value):
        return False
    return name in _NAMES or (name.startswith(_PREFIXES) and not _SECRET_NAME.search(name))
