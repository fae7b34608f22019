"""Every example of the README and the manual runs as it is written, against a house that sells the sample catalog.

Commands of one page run in their order, in one folder with the sample catalog as `paygrade.yaml`. Where a command needs
an id that one before it printed (a quote, a plan, a change), that one takes its place. What a page shows as printed is
printed, but for what `VARIES`. What cannot run here is named in `ELSEWHERE`, with the reason.
"""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from types import SimpleNamespace

import httpx2
import pytest

from paygrade import Paygrade
from paygrade.cli.demo_run import KEY, House, standing
from paygrade.documents.yaml import read_yaml
from support.warm_process import ASKING, warm

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
INLINE = re.compile(r"`(GET|PUT|POST|DELETE) (/[^\s`]+) ({[^`…]*})`")
ID = re.compile(r"\b(quote|plan|chg|key|person)_[0-9a-f]{4,}…?")
DENIED = {"paygrade check acme seats --quantity 8": "shows a denial"}
VARIES = {
    r"\b(quote|plan|chg)_[0-9a-f]+…?": r"\1_…",
    r"\b\d{4}-\d\d-\d\d(?:[ T]\d\d:\d\d:\d\d(?: UTC|Z))?": "a date",
    r"\b\d[\d,]*(?:\.\d\d)?\b": "so many",
    r"[ \t]+": " ",
}
"""What of an output is different each time, and what it is compared as: ids, dates, figures, which depend on what the
pages before did, and how wide columns are."""
OF_ANOTHER_SHOP = {
    "paygrade catalog plan": "the file has to be changed first",
    "paygrade catalog simulate": "the same",
    "paygrade catalog who": "needs customers on two versions",
    "paygrade catalog migrate": "needs customers on two versions",
}
"""How a command begins whose output the page shows of another shop than this one, and why."""
ELSEWHERE = {
    "make": "a target of the Makefile; the build runs them",
    "pip install": "installs from a registry",
    "export": "settings of a live Stripe account",
    "paygrade serve": "stays up",
    "paygrade dev": "stays up; tests/cli plays it",
    "paygrade doctor && paygrade serve": "stays up",
    "paygrade simulator serve": "stays up",
    "paygrade updates follow": "stays up",
    "paygrade people password": "asks for passwords; tests/cli plays it",
    "paygrade approvals": "needs a server where things wait; tests/server/http/test_second_person.py plays it",
    "paygrade mcp --http": "stays up; tests/cli plays it",
    "paygrade ingest": "stays up; tests/cli plays it",
    "nats pub": "a tool of others",
    "OTEL_SERVICE_NAME=paygrade opentelemetry-instrument": "stays up; tests/server plays it",
}
"""How a command begins that is not run here, and why."""


def blocks(page: Path, *languages: str) -> list[str]:
    return [text for language, text in BLOCK.findall(page.read_text(encoding="utf-8")) if language in languages]


def commands(page: Path) -> list[str]:
    """The commands of a page in their order, each as one text; what they print is left out."""
    return [command for command, _ in shown(page)]


def commands_of(block: str) -> list[str]:
    """The commands of a block that shows nothing of what they print; one may go on over several lines."""
    found, command = [], ""
    for line in block.splitlines():
        command += ("\n" if command else "") + line
        if line.endswith("\\") or command.count("'") % 2:
            continue
        found += [command] if command.strip() else []
        command = ""
    return found


def shown(page: Path) -> list[tuple[str, str]]:
    """The commands of a page in their order, each with what the page shows it print; nothing: that is not shown."""
    found: list[tuple[str, str]] = []
    text = page.read_text(encoding="utf-8")
    for language, block in BLOCK.findall(text):
        if language == "console":
            for said in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
                command, _, printed = said.partition("\n")
                found.append((command, printed))
        elif language == "sh":
            found += [(command, "") for command in commands_of(block)]
    return found


def without_remark(command: str) -> str:
    return re.sub(r"\s+# .*$", "", command).strip()


def runs_here(command: str) -> bool:
    return not any(command == start or command.startswith(f"{start} ") for start in ELSEWHERE)


class Player:
    """Runs the commands of one page."""

    def __init__(self, house: House, folder: Path) -> None:
        self.house, self.folder = house, folder
        self.ids: dict[str, str] = {}
        (folder / "bin").mkdir()
        (folder / "bin" / "paygrade").write_text(f"#!{sys.executable} -SE\n{ASKING}")
        (folder / "bin" / "paygrade").chmod(0o755)
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PAYGRADE_")}
        path = f"{folder / 'bin'}:{kept['PATH']}"
        addresses = {
            "PAYGRADE_URL": house.api_url,
            "PAYGRADE_API_KEY": KEY,
            "PAYGRADE_CLOCK_URL": house.provider.url,
            "PAYGRADE_STRIPE_API_BASE": house.provider.url,
            "PAYGRADE_STRIPE_API_KEY": house.provider.key,
            "PAYGRADE_STRIPE_WEBHOOK_SECRET": house.webhook_secret,
        }
        self.environ = {**kept, **addresses, "PATH": path, "NO_PROXY": "*", "WARM": str(warm().fileno())}

    def run(self, command: str, shows: str = "") -> None:
        """Run it; `shows` is what the page says that it prints, line by line; some may be left out."""
        text = ID.sub(lambda its: self.ids.get(its[1], its[0]), here(command, self.house))
        # What `init` writes would take the place of the sample, which the commands after it are about.
        folder = self.folder / "new" if without_remark(command) == "paygrade init" else self.folder
        folder.mkdir(exist_ok=True)
        ended = subprocess.run(
            ["bash", "-c", text], cwd=folder, env=self.environ, pass_fds=[warm().fileno()], capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
        printed = ended.stdout + ended.stderr
        assert ended.returncode == int(without_remark(command) in DENIED), f"{text}\n{printed}"
        assert '"type":"/problems/' not in ended.stdout, f"{text}\n{printed}"
        self.ids |= {its[1]: its[0] for its in ID.finditer(printed)}
        if not any(command.startswith(start) for start in OF_ANOTHER_SHOP):
            lines = iter(steady(ended.stdout))
            for line in steady(shows):
                assert line in lines, f"the page shows `{line}`, which `{text}` does not print there:\n{ended.stdout}"


def steady(printed: str) -> list[str]:
    """The lines of an output, without what is different each time."""
    for pattern, instead in VARIES.items():
        printed = re.sub(pattern, instead, printed, flags=re.MULTILINE)
    return [line.strip() for line in printed.strip().splitlines()]


def here(text: str, house: House) -> str:
    """With the addresses that this house has. What is to end on a date ends late: pages are read for years, and the
    clock runs ahead."""
    text = re.sub(r"(--until )20\d\d", r"\g<1>2099", text)
    for host in ("127.0.0.1", "localhost"):
        text = text.replace(f"http://{host}:4710", house.api_url).replace(f"http://{host}:4711", house.provider.url)
    return text.replace("localhost:4711", house.provider.url.removeprefix("http://"))


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Sells what the sample says to those whom the pages name."""
    with standing(key=KEY, ports=(0, 0)) as house:
        house.publish((resources.files("paygrade.cli") / "sample" / "paygrade.yaml").read_bytes())
        company = house.company
        for account in ("acme", "globex", "initech", "hooli"):
            company.welcome(account, account.title())
        company.subscribe("acme", "pro_monthly")
        company.subscribe("globex", "pro_monthly", quantity=5)
        company.subscribe("initech", "business_monthly", trial_days=14)
        house.stage.control("flush")
        house.stage.wait_until_known(list(company.customers))
        yield house


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    sample = (resources.files("paygrade.cli") / "sample" / "paygrade.yaml").read_text(encoding="utf-8")
    (tmp_path / "paygrade.yaml").write_text(sample)
    (tmp_path / "usage.csv").write_text("id,account,feature,quantity\nfrom_file_1,acme,api_calls,5\n")
    return tmp_path


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_runs_as_written(page: Path, house: House, folder: Path) -> None:
    player = Player(house, folder)
    for command, printed in shown(page):
        if runs_here(without_remark(command)):
            player.run(command, printed)


def test_what_cannot_run_here_is_still_written_somewhere() -> None:
    left_out = [without_remark(command) for page in PAGES for command in commands(page)]
    for start in (*ELSEWHERE, *DENIED, *OF_ANOTHER_SHOP):
        assert any(command.startswith(start) for command in left_out), f"no page says `{start}` any more"


@pytest.mark.parametrize(
    "page", [p for p in PAGES if blocks(p, "python")], ids=lambda page: str(page.relative_to(ROOT))
)
def test_the_python_of_a_page_runs_in_its_order(
    page: Path, house: House, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder)
    monkeypatch.setenv("PAYGRADE_URL", house.api_url)
    monkeypatch.setenv("PAYGRADE_API_KEY", KEY)
    names: dict[str, object] = {
        "PAYGRADE_URL": house.api_url,
        "PAYGRADE_API_KEY": KEY,
        "STRIPE_API_BASE": house.provider.url,
        "STRIPE_API_KEY": house.provider.key,
        "workspace": SimpleNamespace(key="ws_4711", email="ada@example.com"),
    }
    key = {"Authorization": f"Bearer {KEY}"}
    httpx2.put(
        f"{house.api_url}/v1/accounts/ws_4711", json={}, headers=key, trust_env=False, verify=False
    ).raise_for_status()
    for number, text in enumerate(blocks(page, "python")):
        exec(compile(here(text, house), f"{page.name}, example {number + 1}", "exec"), names)
    for made in names.values():
        if isinstance(made, Paygrade):
            made.close()
    may = names.get("may")
    if callable(may):
        assert may("acme", "exports") is True
        assert may("hooli", "exports") is False


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_request_in_a_sentence_is_answered(page: Path, house: House) -> None:
    for method, path, body in INLINE.findall(page.read_text(encoding="utf-8")):
        try:
            sent = json.loads(body)
        except ValueError:
            continue  # the shape of a body, in a table
        answer = httpx2.request(
            method,
            house.api_url + path,
            json=sent,
            headers={"Authorization": f"Bearer {KEY}"},
            verify=False,
            trust_env=False,
        )
        assert answer.is_success, f"{method} {path}: {answer.text}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_document_in_a_page_can_be_read(page: Path) -> None:
    for text in blocks(page, "json"):
        json.loads(text)
    for text in blocks(page, "yaml"):
        read_yaml(text)


def test_every_route_is_in_the_table_and_every_one_in_the_table_exists(house: House) -> None:
    document = httpx2.get(f"{house.api_url}/openapi.json", trust_env=False, verify=False).json()
    served = {
        (method.upper(), re.sub(r"{\w+}", "{}", path))
        for path, operations in document["paths"].items()
        for method in operations
        if method in ("get", "put", "post", "patch", "delete")
    }
    assert set(listed_routes()) == served


def listed_routes() -> Iterator[tuple[str, str]]:
    """Method and path of every route in the tables of the page on HTTP, names of what varies left out."""
    for row in re.findall(r"^\| (`[^|]*`) \|", (ROOT / "docs" / "http.md").read_text(encoding="utf-8"), re.MULTILINE):
        methods: list[str] = []
        path = ""
        for span in re.findall(r"`([^`]+)`", row):
            *said, last = span.split(" ")
            methods = said or methods
            last = last.partition("?")[0]
            # `/resume` after `…/pause`: the same address but for its end.
            path = last if said or last.count("/") > 1 else path.rpartition("/")[0] + last
            for written in {re.sub(r"\[.*\]", "", path), re.sub(r"[][]", "", path)}:
                for method in methods:
                    yield method, re.sub(r"{\w+}", "{}", written)
