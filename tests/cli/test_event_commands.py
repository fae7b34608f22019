"""Telling usage from the command line, one event or a file of them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from paygrade.cli.event_files import BATCH_EVENTS
from paygrade.cli.override_files import ROWS_MAX
from support.cli_runner import Shell
from support.server_process import KEY, Api


@pytest.fixture
def shell(api: Api, tmp_path: Path) -> Shell:
    return Shell(tmp_path, PAYGRADE_URL=api.url, PAYGRADE_API_KEY=KEY)


def used(api: Api, account: str, feature: str) -> int:
    windows = api.ok("GET", f"/v1/accounts/{account}/usage", params={"feature": feature})["windows"]
    return sum(window["used"] for window in windows)


def test_track_counts_once_for_an_id_and_takes_back(api: Api, acme: str, shell: Shell) -> None:
    assert "counted t1" in shell.run("track", acme, "api_calls", "5", "--id", "t1")
    assert "counted before t1" in shell.run("track", acme, "api_calls", "5", "--id", "t1")
    shell.run("track", acme, "api_calls", "-2")
    shell.run("track", acme, "api_calls", "4", "--amends", "t1")
    shell.run("track", acme, "completion", "--event", "--property", "tokens=70", "--property", "model=large")
    assert "below_zero" in shell.run("track", acme, "seats", "-1", code=1)
    assert shell.json("track", acme, "api_cals", code=1)["rejected"][0]["code"] == "unknown_feature"
    assert "NAME=VALUE" in shell.run("track", acme, "api_calls", "--property", "x", code=2)
    assert (used(api, acme, "api_calls"), used(api, acme, "tokens")) == (2, 70)


def test_usage_is_shown_by_window_and_group(acme: str, shell: Shell) -> None:
    shell.run("track", acme, "tokens", "70", "--property", "model=large", "--member", "ann")
    shell.run("track", acme, "tokens", "5", "--property", "model=small")
    _, *lines = shell.run("accounts", "usage", acme, "--feature", "tokens", "--group-by", "model").splitlines()
    assert [line.split("\t")[3:] for line in lines] == [
        ["75", "0", "-", "-"],
        ["70", "-", "-", "large"],
        ["5", "-", "-", "small"],
    ]
    assert "tokens\t" in shell.run("accounts", "usage", acme)
    assert shell.json("accounts", "usage", acme)["more"] is False


def test_a_csv_is_imported_with_its_rejects_told_by_line(api: Api, acme: str, shell: Shell) -> None:
    old = "2025-01-02T03:04:05Z"
    file = shell.folder / "usage.csv"
    file.write_text(
        "\ufeffid,account,event,quantity,time,member,tokens,model,properties\n"
        f"1,{acme},completion,,,ann,12,large,\n"
        f'2,{acme},completion,,,,"30","a, ""quoted"" one","{{""x"": 1}}"\n'
        f"3,{acme},api_call,5,,,,,\n"
        f"4,{acme},api_call,five,,,,,\n"
        f"5,{acme},api_call,,{old},,,,\n"
        f"6,{acme},api_call,,,,,,nonsense\n"
        f"7,{acme},api_call,1,2,3,4,5,6,7,8,9\n"
        f"8,nobody,api_call,,,,,,\n"
    )
    told = shell.json("import", "events", str(file), code=1)
    assert (told["lines"], told["accepted"], told["duplicates"], told["rejected"]) == (8, 3, 0, 5)
    rejects = [json.loads(line) for line in Path(told["rejects"]).read_text().splitlines()]
    assert {each["line"]: each["code"] for each in rejects} == {
        5: "invalid_event",
        6: "too_old",
        7: "invalid_event",
        8: "invalid_event",
        9: "unknown_account",
    }
    assert (used(api, acme, "tokens"), used(api, acme, "api_calls")) == (42, 5)
    again = shell.json("import", "events", str(file), "--backfill", code=1)
    assert (again["accepted"], again["duplicates"], again["rejected"]) == (1, 3, 4)


def test_json_lines_are_imported_in_batches_and_again_without_effect(api: Api, acme: str, shell: Shell) -> None:
    def line(number: int) -> dict[str, Any]:
        return {"id": str(number), "account": acme, "feature": "api_calls", "time": datetime.now(UTC).isoformat()}

    count = BATCH_EVENTS + 7
    file = shell.folder / "usage.jsonl"
    file.write_text("\n".join(json.dumps(line(n)) for n in range(count)) + "\n\n{broken\n")
    assert f"{count + 1} events: {count} counted, 0 counted before, 1 refused" in shell.run(
        "import", "events", str(file), code=1
    )
    assert used(api, acme, "api_calls") == count
    file.write_text("\n".join(file.read_text().splitlines()[:10]))
    assert "10 events: 0 counted, 10 counted before" in shell.run("import", "events", str(file))
    assert not (shell.folder / "usage.jsonl.rejects.jsonl").exists()


def test_a_list_of_overrides_is_looked_at_before_any_is_set(api: Api, acme: str, shell: Shell) -> None:
    file = shell.folder / "overrides.csv"
    file.write_text(
        "account,feature,value,limit,add,reason,code,expires_at\n"
        f"{acme},exports,true,,,pilot,pilot,2999-01-01T00:00:00Z\n"
        f"{acme},api_calls,,,500,outage,goodwill,\n"
        f"{acme},api_cals,,5,,,,\n"
        "nobody,exports,true,,,,,\n"
        f"{acme},seats,,5,,,,,more\n"
        ",seats,,5,,,,\n"
        f"{acme},retention,,,5,,,\n"
    )
    tried = shell.run("import", "overrides", str(file), "--dry-run", code=1)
    assert "2 overrides can be set, 5 refused" in tried
    assert f"2\t{acme}\texports\t" in tried
    assert api.ok("GET", f"/v1/accounts/{acme}")["overrides"] == []
    told = shell.json("import", "overrides", str(file), code=1)
    assert (told["set"], [each["line"] for each in told["refused"]]) == (2, [4, 5, 6, 7, 8])
    assert "did you mean `api_calls`?" in told["refused"][0]["detail"]
    kept = {one["feature"]: one for one in api.ok("GET", f"/v1/accounts/{acme}")["overrides"]}
    assert (kept["exports"]["code"], kept["api_calls"]["add"], kept["api_calls"]["reason"]) == ("pilot", 500, "outage")
    file.write_text("account,feature,limits\n")
    assert "`limits` is none of them" in shell.run("import", "overrides", str(file), code=2)
    file.write_bytes(b"account,feature\n\xff,\n")
    assert "is not CSV" in shell.run("import", "overrides", str(file), code=2)
    file.write_text("account,feature,value\n" + f"{acme},exports,true\n" * (ROWS_MAX + 1))
    assert "import it in parts" in shell.run("import", "overrides", str(file), code=2)


def test_a_csv_without_ids_is_usage(shell: Shell) -> None:
    (shell.folder / "x.csv").write_text("account,event\nacme,api_call\n")
    assert "`id`" in shell.run("import", "events", "x.csv", code=2)
    assert "does not exist" in shell.run("import", "events", "nowhere.csv", code=2)
