"""Schemathesis reads /openapi.json and sends what it allows and what it does not, in one request and in several.

Every answer has to be as documented: its status, its media type, its schema. EXAMPLES=n says how many are made of each
operation (`make fuzz` makes many), SEED=n repeats a run.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.server_process import KEY, Api

EXAMPLES, SEED = os.environ.get("EXAMPLES", "3"), os.environ.get("SEED", "1")
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth")  # fmt: skip


@pytest.mark.parametrize("phases", ["examples,coverage", "fuzzing", "stateful"])
def test_every_answer_is_as_documented(api: Api, acme: str, tmp_path: Path, phases: str) -> None:
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", f"{api.url}/openapi.json", f"--phases={phases}",
        f"--checks={','.join(CHECKS)}", f"--header=Authorization: Bearer {KEY}", f"--max-examples={EXAMPLES}",
        f"--seed={SEED}", "--no-color", "--warnings=off", "--continue-on-failure",
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2000:]
