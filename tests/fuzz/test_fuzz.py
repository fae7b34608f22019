"""Schemathesis reads /openapi.json and sends what it allows and what it does not, in one request and in several.

Every answer has to be as documented: its status, its media type, its schema. EXAMPLES=n says how many are made of each
operation (`make fuzz` makes many), SEED=n repeats a run.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from paygrade.server.process.scopes import ROLES
from support.server_process import KEY, Api
from support.stack import house

ENDS_WITHIN_S = 3600
EXAMPLES, SEED = os.environ.get("EXAMPLES"), os.environ.get("SEED", "1")
PHASES = ["stateful"] if EXAMPLES is None else ["examples,coverage", "fuzzing", "stateful"]
CHECKS = ("not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
          "response_schema_conformance", "unsupported_method", "allow_header_conformance", "ignored_auth")  # fmt: skip


@pytest.fixture(scope="module")
def api(postgres_url: str) -> Iterator[Api]:
    """A server with all that it can have: a provider, webhook secrets, an account."""
    with house(postgres_url) as whole:
        whole.api.ok("PUT", "/v1/accounts/acme", json={"name": "Acme"})
        yield whole.api


@pytest.mark.parametrize("phases", PHASES)
def test_every_answer_is_as_documented(api: Api, tmp_path: Path, phases: str) -> None:
    fuzz(api, tmp_path, phases, key=KEY, examples=EXAMPLES or "5")


@pytest.mark.parametrize("role", ROLES if EXAMPLES else ["support"])
def test_every_answer_to_a_role_is_as_documented(api: Api, tmp_path: Path, role: str) -> None:
    key = api.ok("POST", "/v1/keys", json={"name": role, "role": role})["key"]
    fuzz(api, tmp_path, "examples,fuzzing", key=key, examples=EXAMPLES or "1")


def fuzz(api: Api, tmp_path: Path, phases: str, *, key: str, examples: str) -> None:
    command = [
        str(Path(sys.executable).parent / "schemathesis"), "run", f"{api.url}/openapi.json", f"--phases={phases}",
        f"--checks={','.join(CHECKS)}", f"--header=Authorization: Bearer {key}", f"--max-examples={examples}",
        f"--seed={SEED}", "--no-color", "--warnings=off", "--continue-on-failure",
        "--exclude-path=/v1/stream",  # the answers of these have no end
        "--exclude-path=/ofrep/v1/stream",
    ]  # fmt: skip
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=ENDS_WITHIN_S)
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-2000:]
