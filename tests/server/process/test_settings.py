"""Settings: what the environment may say."""

from datetime import timedelta
from pathlib import Path

import pytest

from paygrade.server.process.admin_key import kept_key, stored_key
from paygrade.server.process.settings import Settings, parse_settings, parse_target
from paygrade.values.errors import Refused


def mistakes(environ: dict[str, str]) -> set[str]:
    with pytest.raises(Refused) as refused:
        parse_settings(environ)
    assert refused.value.code == "invalid_settings"
    return {mistake.pointer for mistake in refused.value.mistakes}


def test_an_empty_environment_means_an_embedded_database_on_the_usual_port() -> None:
    settings = parse_settings({})
    assert settings == Settings()
    assert (settings.database_url, settings.port) == (None, 4710)


def test_an_empty_variable_counts_as_absent() -> None:
    assert parse_settings({"PAYGRADE_PORT": "", "PAYGRADE_DATABASE_URL": " "}) == Settings()


def test_every_variable_is_read(tmp_path: Path) -> None:
    catalog = tmp_path / "paygrade.yaml"
    catalog.write_text("version: 1\n")
    settings = parse_settings(
        {
            "PAYGRADE_DATABASE_URL": "postgresql://db/paygrade",
            "PAYGRADE_STRIPE_API_KEY": "sk_test_1",
            "PAYGRADE_STRIPE_WEBHOOK_SECRET": "whsec_new, whsec_old",
            "PAYGRADE_STRIPE_API_BASE": "http://127.0.0.1:4711/",
            "PAYGRADE_CATALOG": str(catalog),
            "PAYGRADE_ADMIN_KEY": "sk_admin",
            "PAYGRADE_HOST": "0.0.0.0",
            "PAYGRADE_SWEEP_EVERY": "12h",
            "PAYGRADE_MEMORY_MB": "2000",
            "PAYGRADE_PORT": "80",
            "PAYGRADE_DATA_DIR": "/var/lib/x",
            "PAYGRADE_CLOCK_URL": "http://127.0.0.1:4711",
            "PAYGRADE_WORKERS": "4",
            "PAYGRADE_AUDIT_SYSLOG": "udp://127.0.0.1:514",
            "PAYGRADE_AUDIT_OTLP": "https://collector:4318/v1/logs",
            "PAYGRADE_AUDIT_OTLP_HEADERS": "Authorization=Bearer%20x, x-team = a%2Cb",
            "PAYGRADE_PERSONAL_PROPERTIES": "user, email,user",
        }
    )
    assert settings == Settings(
        database_url="postgresql://db/paygrade",
        stripe_api_key="sk_test_1",
        webhook_secrets=("whsec_new", "whsec_old"),
        stripe_api_base="http://127.0.0.1:4711",
        catalog=catalog,
        admin_key="sk_admin",
        host="0.0.0.0",
        port=80,
        data_dir=Path("/var/lib/x"),
        clock_url="http://127.0.0.1:4711",
        sweep_every=timedelta(hours=12),
        workers=4,
        memory_mb=2000,
        audit_syslog="udp://127.0.0.1:514",
        audit_otlp="https://collector:4318/v1/logs",
        audit_otlp_headers={"authorization": "Bearer x", "x-team": "a,b"},
        personal_properties=("user", "email"),
    )


@pytest.mark.parametrize("text", ["127.0.0.1:514", "udp://127.0.0.1", "udp://127.0.0.1:99999", "unix://", "http://a:1"])
def test_what_is_no_syslog_is_named(text: str) -> None:
    assert mistakes({"PAYGRADE_AUDIT_SYSLOG": text}) == {"PAYGRADE_AUDIT_SYSLOG"}


def test_what_is_no_receiver_of_logs_or_no_header_is_named() -> None:
    for text in ("127.0.0.1:4318", "http://collector:4318", "http://collector:4318/", "udp://collector:4318/v1/logs"):
        assert mistakes({"PAYGRADE_AUDIT_OTLP": text}) == {"PAYGRADE_AUDIT_OTLP"}
    for text in ("x", "x y=1", "a=b,c", "a=%0A"):
        assert mistakes({"PAYGRADE_AUDIT_OTLP_HEADERS": text}) == {"PAYGRADE_AUDIT_OTLP_HEADERS"}


def test_what_never_happens_by_itself_has_no_pause() -> None:
    assert parse_settings({"PAYGRADE_SWEEP_EVERY": "never"}).sweep_every is None


def test_every_bad_variable_is_named_at_once() -> None:
    bad = {
        "PAYGRADE_DATABASE_URL": "mysql://db",
        "PAYGRADE_STRIPE_API_BASE": "127.0.0.1:4711",
        "PAYGRADE_CATALOG": "/no/such/file.yaml",
        "PAYGRADE_ADMIN_KEY": "sk with spaces",
        "PAYGRADE_PORT": "70000",
        "PAYGRADE_CLOCK_URL": "soon",
        "PAYGRADE_SWEEP_EVERY": "30s",
        "PAYGRADE_WORKERS": "0",
        "PAYGRADE_MEMORY_MB": "lots",
    }
    assert mistakes(bad) == set(bad)


@pytest.mark.parametrize("name", ["PAYGRADE_DATABASE_DIRECT_URL", "PAYGRADE_DATABASE_REPLICA_URL"])
def test_other_ways_to_a_database_need_the_first(name: str) -> None:
    assert mistakes({name: "postgresql://db/paygrade"}) == {name}
    assert mistakes({name: "db", "PAYGRADE_DATABASE_URL": "also none"}) == {name, "PAYGRADE_DATABASE_URL"}
    environ = {"PAYGRADE_DATABASE_URL": "postgresql://db/paygrade", "PAYGRADE_ADMIN_KEY": "sk_a"}
    assert parse_settings({**environ, name: "postgresql://other/paygrade"}).database_url == "postgresql://db/paygrade"


PROVIDER = {
    "PAYGRADE_PUBLIC_URL": "https://paygrade.example.com/",
    "PAYGRADE_OIDC_ISSUER": "https://login.example.com/",
    "PAYGRADE_OIDC_CLIENT_ID": "paygrade",
    "PAYGRADE_OIDC_CLIENT_SECRET": "hush",
    "PAYGRADE_OIDC_ROLES": "ops=admin, a=b=viewer",
}


def test_a_log_in_provider_is_read_whole_or_not_at_all() -> None:
    read = parse_settings(PROVIDER).oidc
    assert read is not None
    assert (read.issuer, read.redirect_url) == (
        "https://login.example.com/",
        "https://paygrade.example.com/v1/login/oidc/callback",
    )
    assert (read.roles, read.roles_claim) == ({"ops": "admin", "a=b": "viewer"}, "groups")
    for name in PROVIDER:
        assert mistakes({**PROVIDER, name: ""}) == {name}
    more = {"PAYGRADE_OIDC_ROLES_CLAIM": "realm_access.roles", "PAYGRADE_OIDC_SCOPES": "openid groups",
            "PAYGRADE_OIDC_NAME": "Example SSO"}  # fmt: skip
    read = parse_settings(PROVIDER | more).oidc
    assert read is not None
    assert (read.roles_claim, read.scopes, read.name) == ("realm_access.roles", "openid groups", "Example SSO")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PAYGRADE_OIDC_ISSUER", "http://login.example.com"),
        ("PAYGRADE_OIDC_ISSUER", "https://login.example.com?a=1"),
        ("PAYGRADE_OIDC_ROLES", "ops"),
        ("PAYGRADE_OIDC_ROLES", "ops=root"),
        ("PAYGRADE_OIDC_ROLES", "=admin"),
        ("PAYGRADE_OIDC_ROLES", "ops=admin,ops=viewer"),
        ("PAYGRADE_OIDC_SCOPES", "email"),
        ("PAYGRADE_PUBLIC_URL", "https://example.com/paygrade"),
        ("PAYGRADE_TRUSTED_PROXIES", "10.0.0.1/8"),
    ],
)
def test_odd_settings_of_log_in_are_named(name: str, text: str) -> None:
    assert mistakes({**PROVIDER, name: text}) == {name}


def test_a_simulated_clock_does_not_go_with_a_live_key() -> None:
    environ = {"PAYGRADE_STRIPE_API_KEY": "sk_live_1", "PAYGRADE_CLOCK_URL": "http://127.0.0.1:4711"}
    assert mistakes(environ) == {"PAYGRADE_CLOCK_URL"}


def test_a_secret_is_never_repeated_in_a_message() -> None:
    with pytest.raises(Refused) as refused:
        parse_settings({"PAYGRADE_ADMIN_KEY": "sk_se cret"})
    assert "cret" not in refused.value.detail


def test_commands_show_the_api_key_before_the_admin_key() -> None:
    assert parse_target({"PAYGRADE_ADMIN_KEY": "sk_a", "PAYGRADE_API_KEY": "sk_b"}).key == "sk_b"
    assert parse_target({"PAYGRADE_ADMIN_KEY": "sk_a"}).key == "sk_a"
    assert parse_target({"PAYGRADE_URL": "http://paygrade/"}).url == "http://paygrade"


def test_a_generated_key_is_kept_and_private_and_made_once(tmp_path: Path) -> None:
    key, made = kept_key(tmp_path)
    assert key.startswith("sk_")
    assert made
    assert kept_key(tmp_path) == (key, False)
    assert stored_key(tmp_path) == key
    assert (tmp_path / "admin_key").stat().st_mode & 0o777 == 0o600


def test_a_key_file_left_empty_by_a_crash_is_made_anew(tmp_path: Path) -> None:
    (tmp_path / "admin_key").touch()
    key, made = kept_key(tmp_path)
    assert key.startswith("sk_")
    assert made
