"""What stands in deploy/ is what it says: the image, the compose file, the chart and the unit."""

import configparser
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import httpx2
import pytest

from conftest import UNSAFE_BUT_FAST
from paygrade.cli.main import paygrade
from paygrade.documents.yaml import read_yaml
from paygrade.server.process.settings import parse_settings
from support.cluster import free_ports
from support.postgres_nodes import Node, nodes
from support.server_process import KEY
from support.waiting import eventually

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "paygrade"
TOOLS = ROOT / ".venv-operate" / "bin"
KUBERNETES = ("1.27", "1.37")
"""The oldest and the newest that the chart is checked against."""
needs_tools = pytest.mark.skipif(not TOOLS.is_dir(), reason="`make operate` installs what judges deploy/")
UNREACHED = ("Failed to fetch", "error sending request", "Failed to download", "dns error")
"""How uv says that a registry is out of reach."""
needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd is not installed")
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
CATALOG = "version: 1\nfeatures: { exports: { kind: boolean } }\nplans: { free: { default: true } }\n"


def tool(*command: str) -> str:
    ended = subprocess.run([str(TOOLS / command[0]), *command[1:]], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def instruction(name: str) -> Any:
    """The last of an instruction of the Dockerfile, decoded where it is a list."""
    text = re.findall(rf"^ *{name} (.+)$", DOCKERFILE, re.MULTILINE)[-1]
    return json.loads(text) if text.startswith("[") else text


@needs_tools
def test_the_dockerfile_has_nothing_that_its_linter_would_mend() -> None:
    tool("hadolint", "--failure-threshold", "style", str(DEPLOY / "Dockerfile"))


@needs_tools
def test_the_compose_file_is_one_and_its_servers_settings_are_ours() -> None:
    tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml"))
    document: Any = read_yaml((DEPLOY / "compose.yaml").read_text())[0]
    services = document["services"]
    assert set(services) == {"paygrade", "postgres"}
    app = services["paygrade"]
    assert app["read_only"] is True
    assert app["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert services["postgres"]["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]
    read = _read_variables()
    assert set(app["environment"]) <= read


@needs_systemd
def test_the_unit_is_one_and_exposes_little(tmp_path: Path) -> None:
    unit = tmp_path / "paygrade.service"
    # Nothing is installed where it will be.
    unit.write_text((DEPLOY / "paygrade.service").read_text().replace("/opt/paygrade/bin/paygrade", "/bin/true"))
    verified = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True)
    assert (verified.returncode, verified.stderr) == (0, "")
    told = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=15", str(unit)], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stdout.splitlines()[-1]
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.read_string((DEPLOY / "paygrade.service").read_text())
    _is_a_command(shlex.split(parsed["Service"]["ExecStart"])[1:])


def rendered(values: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What the chart makes of these values, by Helm's own code."""
    script = (
        "import json, sys, helm_python as helm; chart = helm.Chart.load(sys.argv[1]); values = json.loads(sys.argv[2]);"
        "chart.validate_schema(values); print(json.dumps(chart.render(values, name='acme', namespace='billing')))"
    )
    found = json.loads(tool("python", "-c", script, str(CHART), json.dumps(values)))
    parts = [part for name, text in found.items() if name.endswith(".yaml") for part in text.split("\n---\n")]
    manifests: Any = [read_yaml(part)[0] for part in parts if part.strip()]
    return list(manifests)


VALUES: list[dict[str, Any]] = [
    {},
    {"catalog": CATALOG},
    {"env": {"PAYGRADE_MEMORY_MB": 256}},
    {"catalog": CATALOG, "env": {"PAYGRADE_MEMORY_MB": 256, "PAYGRADE_WORKERS": 2}, "autoscaling": {"enabled": True}},
    {
        "migrate": {"enabled": False},
        "podDisruptionBudget": {"enabled": False},
        "imagePullSecrets": [{"name": "registry"}],
    },
    {"nodeSelector": {"disk": "ssd"}, "tolerations": [{"operator": "Exists"}], "service": {"type": "LoadBalancer"}},
]


@needs_tools
@pytest.mark.parametrize("values", VALUES, ids=str)
def test_the_chart_renders_to_what_kubernetes_takes(values: dict[str, Any], tmp_path: Path) -> None:
    found = rendered(values)
    manifests = tmp_path / "manifests.yaml"
    manifests.write_text("\n---\n".join(map(json.dumps, found)))
    for version in KUBERNETES:
        tool("kubernetes-validate", "--strict", "--version", version, str(manifests))
    kinds = [each["kind"] for each in found]
    assert kinds.count("Deployment") == kinds.count("Service") == 1
    assert ("ConfigMap" in kinds) == ("catalog" in values)
    assert ("HorizontalPodAutoscaler" in kinds) == ("autoscaling" in values)
    assert ("PodDisruptionBudget" in kinds) == ("podDisruptionBudget" not in values)
    assert ("Job" in kinds) == ("migrate" not in values)


@needs_tools
def test_the_charts_pods_run_what_there_is_as_nobody_and_find_their_secrets() -> None:
    found = {each["kind"]: each for each in rendered(VALUES[3])}
    for kind in ("Deployment", "Job"):
        pod = found[kind]["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert container["securityContext"]["readOnlyRootFilesystem"] is True
        assert container["envFrom"] == [{"secretRef": {"name": "paygrade"}}]
        assert {each["name"] for each in container["env"]} <= _read_variables()
        _is_a_command(container["args"])
    assert "--no-migrate" in found["Deployment"]["spec"]["template"]["spec"]["containers"][0]["args"]
    (catalog,) = found["ConfigMap"]["data"].values()
    assert catalog == CATALOG
    assert found["Job"]["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"


@needs_tools
@pytest.mark.parametrize("values", [{"replica": 3}, {"service": {"port": 0}}, {"existingSecret": ""}], ids=str)
def test_a_value_the_chart_does_not_know_is_refused(values: dict[str, Any]) -> None:
    with pytest.raises(AssertionError):
        rendered(values)


def test_the_image_has_the_versions_that_were_tested() -> None:
    tested = _pins(ROOT / "requirements.txt")
    assert _pins(DEPLOY / "requirements.txt").items() <= tested.items()


@pytest.fixture(scope="module")
def installed() -> Iterator[Path]:
    """The wheel in an environment of its own, as the image has it."""
    uv = shutil.which("uv") or str(ROOT / ".venv" / "bin" / "uv")
    # Not below /tmp, which is empty where it is to run; and where others may pass.
    folder = Path(tempfile.mkdtemp(prefix="paygrade-image-", dir="/var/tmp"))
    try:
        folder.chmod(0o755)
        python = str(ROOT / ".venv" / "bin" / "python")
        build = [uv, "build", "--quiet", "--wheel", "--no-build-isolation", "--python", python, "-o", str(folder)]
        subprocess.run([*build, str(ROOT)], check=True)
        bare = [uv, "venv", "--quiet", "--python", _python_for_all(), str(folder / "bare")]
        subprocess.run(bare, check=True)
        locked = ["--require-hashes", "-r", str(DEPLOY / "requirements.txt")]
        install = [uv, "pip", "install", "--quiet", "--python", str(folder / "bare"), *locked]
        got = subprocess.run(install, capture_output=True, text=True)
        if got.returncode != 0 and any(sign in got.stderr for sign in UNREACHED):
            pytest.skip("what the image has can't be installed: the registry is out of reach")
        assert got.returncode == 0, got.stderr
        (wheel,) = folder.glob("*.whl")
        subprocess.run(
            [uv, "pip", "install", "--quiet", "--python", str(folder / "bare"), "--no-deps", str(wheel)], check=True
        )
        yield folder / "bare" / "bin"
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def primary() -> Iterator[Node]:
    with nodes() as made:
        yield made.primary(UNSAFE_BUT_FAST)


def confined(*command: str) -> list[str]:
    """Run it as the image does: as nobody in particular, with a read-only root and a /tmp that is empty."""
    user, group = instruction("USER").split(":")
    mounts = "mount --bind / / && mount -o remount,bind,ro / && mount -t tmpfs tmpfs /tmp && cd /tmp && "
    drop = f"exec setpriv --reuid={user} --regid={group} --clear-groups --no-new-privs "
    return ["unshare", "--mount", "sh", "-c", mounts + drop + shlex.join(command)]


def can_confine() -> bool:
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        return False
    return subprocess.run(confined("true"), capture_output=True).returncode == 0


def test_what_the_image_runs_serves_as_nobody_with_a_read_only_root(installed: Path, primary: Node) -> None:
    if not can_confine():
        pytest.skip("only root with `unshare` and `setpriv` can make the root read-only")
    (port,) = free_ports(1)
    environ = {
        "PATH": f"{installed}:{os.environ['PATH']}",
        "PAYGRADE_DATABASE_URL": primary.database_url,
        "PAYGRADE_ADMIN_KEY": KEY,
        "PAYGRADE_PORT": str(port),
        **dict(re.findall(r"(PYTHON\w+|PAYGRADE_\w+)=(\S+)", DOCKERFILE)),
    }
    entry = [str(installed / instruction("ENTRYPOINT")[0])]
    refused = subprocess.run(confined("touch", "/var/tmp/written"), capture_output=True, text=True)
    assert "Read-only file system" in refused.stderr
    migrated = subprocess.run(confined(*entry, "migrate"), env=environ, capture_output=True, text=True)
    assert migrated.returncode == 0, migrated.stdout + migrated.stderr
    health = [str(installed / part) if part == "python" else part for part in _healthcheck()]
    for more in ([], ["--workers", "2"]):
        with serving([*entry, *instruction("CMD"), *more], environ, port):
            assert subprocess.run(confined(*health), env=environ).returncode == 0
        assert subprocess.run(confined(*health), env=environ, capture_output=True).returncode != 0


@contextmanager
def serving(command: list[str], environ: dict[str, str], port: int) -> Iterator[None]:
    """It runs, is ready, and ends in order when told to."""
    server = subprocess.Popen(confined(*command), env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        eventually(lambda: server.poll() is not None or _is_ready(port), within_s=60)
        assert server.poll() is None, server.communicate()[0].decode()
        yield
    finally:
        server.terminate()
        assert server.wait(30) == 0


def test_the_image_is_built_and_runs_where_there_is_a_builder() -> None:
    docker = shutil.which("docker")
    if docker is None or subprocess.run([docker, "info"], capture_output=True).returncode != 0:
        pytest.skip("no Docker is running here; its entry point runs in a bare folder above")
    build = [docker, "build", "--file", str(DEPLOY / "Dockerfile"), "--tag", "paygrade:tested", str(ROOT)]
    subprocess.run(build, check=True)
    run = [docker, "run", "--rm", "--read-only", "--tmpfs", "/tmp", "paygrade:tested", "--help"]
    told = subprocess.run(run, capture_output=True, text=True, check=True).stdout
    assert "serve" in told


def _python_for_all() -> str:
    """A Python that others than its owner may run."""
    for python in (sys.executable, "/usr/bin/python3"):
        shown = [
            "sh",
            "-c",
            f"{shlex.quote(os.path.realpath(python))} -c 'import sys; assert sys.version_info >= (3, 11)'",
        ]
        if can_confine() and subprocess.run(confined(*shown), capture_output=True).returncode == 0:
            return os.path.realpath(python)
    return sys.executable


def _healthcheck() -> list[str]:
    text = re.findall(r"^HEALTHCHECK .*\\\n *CMD (.+)$", DOCKERFILE, re.MULTILINE)[-1]
    found: list[str] = json.loads(text)
    return found


def _is_ready(port: int) -> bool:
    try:
        return httpx2.get(f"http://127.0.0.1:{port}/readyz", trust_env=False, timeout=5).is_success
    except httpx2.TransportError:
        return False


def _is_a_command(arguments: list[str]) -> None:
    """That the command line knows these arguments."""
    command = paygrade.get_command(click.Context(paygrade), str(arguments[0]))
    assert command is not None
    command.make_context(arguments[0], [str(argument) for argument in arguments[1:]])


def _read_variables() -> set[str]:
    names: set[str] = set()

    class Asked(dict[str, str]):
        def get(self, name: str, default: object = None) -> object:  # type: ignore[override]  # as loose as dict's own
            names.add(name)
            return default

    parse_settings(Asked())
    return names


def _pins(path: Path) -> dict[str, str]:
    return dict(re.findall(r"^([\w.-]+)==([\w.+!-]+)", path.read_text(), re.MULTILINE))
