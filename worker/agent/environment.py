"""The environment of training processes: what programs need to work, by name, and nothing that looks like a secret."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

TOKEN = "ASSAYER_TOKEN"  # noqa: S105 - the name, not the token

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
"""A URL with a password."""


def passed_environment(environment: Mapping[str, str], names: Sequence[str] = ()) -> dict[str, str]:
    """Return what training processes may see of an environment.

    `names` are let through too, each a variable's name or the beginning of names with a `*` behind; the token never.
    """
    return {
        name: value
        for name, value in environment.items()
        if name != TOKEN and (_is_asked_for(name, names) or _is_harmless(name, value))
    }


def _is_asked_for(name: str, names: Sequence[str]) -> bool:
    return any(name.startswith(each[:-1]) if each.endswith("*") else name == each for each in names)


def _is_harmless(name: str, value: str) -> bool:
    if _SECRET_VALUE.search(value):
        return False
    return name in _NAMES or (name.startswith(_PREFIXES) and not _SECRET_NAME.search(name))
