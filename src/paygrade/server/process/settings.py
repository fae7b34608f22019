"""Settings: everything the environment can say, read once and checked whole.

Laws: a variable that is empty counts as absent; every bad variable is reported at once, by its own name; reading
settings touches nothing but the mapping it is given.
"""

import re
from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Literal, TypeVar
from urllib.parse import unquote, urlsplit

from msgspec import Struct

from paygrade.server.process.scopes import ROLES, Role
from paygrade.server.process.second_person import MONEY, MoneyKind
from paygrade.values.errors import Mistake, Refused
from paygrade.values.periods import parse_duration

T = TypeVar("T")

DEFAULT_PORT = 4710
SWEEP_EVERY = timedelta(days=1)
WORKERS_MAX = 64
MEMORY_MB = 512
UPDATES_DAYS = 30
DECISIONS_DAYS = 30
LoggedPart = Literal["off", "denials", "all"]
"""Which decisions are kept in a log."""
_NEVER = timedelta(0)


class OidcSettings(Struct, frozen=True, kw_only=True):
    """The OpenID Connect provider that people log in with. `roles`: by group; `roles_claim`: where a token names its
    groups; `redirect_url`: where the provider sends browsers back to; `name`: what people call it."""

    issuer: str
    client_id: str
    client_secret: str
    roles: dict[str, Role]
    public_url: str
    roles_claim: str = "groups"
    scopes: str = "openid profile email"
    name: str = "single sign-on"

    @property
    def redirect_url(self) -> str:
        return f"{self.public_url}/v1/login/oidc/callback"

    @property
    def is_secure(self) -> bool:
        """Whether browsers reach this server by https."""
        return self.public_url.startswith("https:")


class Settings(Struct, frozen=True):
    """What one server runs with. `database_url` None: an embedded PostgreSQL in `data_dir` (None: its
    usual place).

    `webhook_secrets` holds several while a secret is being rolled (comma-separated in the variable). `admin_key`
    None: an embedded database gets a generated one; with one of your own, somebody has another key that makes keys.
    """

    database_url: str | None = None
    database_direct_url: str | None = None
    """The same database without the transaction pooler that `database_url` leads to; None: there is none between."""
    database_replica_url: str | None = None
    """A streaming replica that lists, histories and reports are read from."""
    stripe_api_key: str | None = None
    webhook_secrets: tuple[str, ...] = ()
    stripe_api_base: str | None = None
    catalog: Path | None = None
    admin_key: str | None = None
    host: str = "127.0.0.1"
    port: int = DEFAULT_PORT
    data_dir: Path | None = None
    clock_url: str | None = None
    sweep_every: timedelta | None = SWEEP_EVERY
    """None: neither sweeps nor polls happen unless they are asked for."""
    workers: int | None = None
    """Processes that serve one port, kept by one that serves nothing itself; None: the only process serves."""
    memory_mb: int = MEMORY_MB
    """How much memory the accounts may take that are remembered, in MB."""
    webhook_allow: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of one's own that webhooks may be sent to, without TLS, too."""
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...] = ()
    """Networks of the proxies that say by `X-Forwarded-For` whose request they pass on."""
    second_person: frozenset[MoneyKind] = frozenset()
    """What needs a second person before it happens."""
    public_url: str | None = None
    """What browsers reach this server by."""
    portal: Path | None = None
    """What the customers' pages look like and offer, in a YAML file."""
    oidc: OidcSettings | None = None
    """None: people log in with local accounts alone."""
    updates_days: int = UPDATES_DAYS
    """For how many days state updates are kept."""
    nats_url: str | None = None
    """The NATS servers that usage events are taken from, separated by commas."""
    nats_credentials: Path | None = None
    """A file with what we show them."""
    personal_properties: tuple[str, ...] = ()
    """The properties of usage events that an erasure takes."""
    decision_log: LoggedPart = "off"
    """Which decisions are kept so that they can be asked again."""
    decision_log_percent: int = 100
    """How many of a hundred of them."""
    decision_log_days: int = DECISIONS_DAYS
    """For how many days."""
    audit_syslog: str | None = None
    """Where a line of every audit record is sent: `udp://host:port`, `tcp://host:port` or `unix:///path`."""
    audit_otlp: str | None = None
    """Where every audit record is sent by OTLP: a whole address, with its path."""
    audit_otlp_headers: Mapping[str, str] = {}
    """What is sent with it."""

    @property
    def mode(self) -> Literal["live", "test"] | None:
        """Whether real money is at stake, by the provider's key; None: nobody says."""
        if self.stripe_api_key is None:
            return None
        return "live" if "_live_" in self.stripe_api_key else "test"


class Target(Struct, frozen=True):
    """The server a command talks to, and the key it shows there."""

    url: str
    key: str | None


def parse_settings(environ: Mapping[str, str]) -> Settings:
    """Read the server's settings; Refused `invalid_settings` with one mistake per bad variable."""
    reader = _Reader(environ)
    settings = Settings(
        database_url=reader.take("PAYGRADE_DATABASE_URL", _database_url),
        database_direct_url=reader.take("PAYGRADE_DATABASE_DIRECT_URL", _database_url),
        database_replica_url=reader.take("PAYGRADE_DATABASE_REPLICA_URL", _database_url),
        stripe_api_key=reader.take("PAYGRADE_STRIPE_API_KEY", _secret),
        webhook_secrets=reader.take("PAYGRADE_STRIPE_WEBHOOK_SECRET", _secrets) or (),
        stripe_api_base=reader.take("PAYGRADE_STRIPE_API_BASE", _http_url),
        catalog=reader.take("PAYGRADE_CATALOG", _existing_file),
        admin_key=reader.take("PAYGRADE_ADMIN_KEY", _secret),
        host=reader.take("PAYGRADE_HOST", _secret) or "127.0.0.1",
        port=reader.take("PAYGRADE_PORT", _port) or DEFAULT_PORT,
        data_dir=reader.take("PAYGRADE_DATA_DIR", Path),
        clock_url=reader.take("PAYGRADE_CLOCK_URL", _http_url),
        sweep_every=_unless_never(reader.take("PAYGRADE_SWEEP_EVERY", _pause)),
        workers=reader.take("PAYGRADE_WORKERS", _workers),
        memory_mb=reader.take("PAYGRADE_MEMORY_MB", _megabytes) or MEMORY_MB,
        webhook_allow=reader.take("PAYGRADE_WEBHOOK_ALLOW", _networks) or (),
        trusted_proxies=reader.take("PAYGRADE_TRUSTED_PROXIES", _networks) or (),
        second_person=reader.take("PAYGRADE_SECOND_PERSON", _money) or frozenset(),
        public_url=(public_url := reader.take("PAYGRADE_PUBLIC_URL", _origin)),
        portal=reader.take("PAYGRADE_PORTAL", _existing_file),
        oidc=_oidc(reader, public_url),
        updates_days=reader.take("PAYGRADE_UPDATES_DAYS", _days) or UPDATES_DAYS,
        decision_log=reader.take("PAYGRADE_DECISION_LOG", _logged) or "off",
        decision_log_percent=reader.take("PAYGRADE_DECISION_LOG_PERCENT", _percent) or 100,
        decision_log_days=reader.take("PAYGRADE_DECISION_LOG_DAYS", _days) or DECISIONS_DAYS,
        audit_syslog=reader.take("PAYGRADE_AUDIT_SYSLOG", _syslog),
        audit_otlp=reader.take("PAYGRADE_AUDIT_OTLP", _otlp),
        audit_otlp_headers=reader.take("PAYGRADE_AUDIT_OTLP_HEADERS", _headers) or {},
        nats_url=reader.take("PAYGRADE_NATS_URL", nats_url),
        nats_credentials=reader.take("PAYGRADE_NATS_CREDENTIALS", _existing_file),
        personal_properties=reader.take("PAYGRADE_PERSONAL_PROPERTIES", _names) or (),
    )
    reader.mistakes.extend(_contradictions(settings, reader.bad))
    if reader.mistakes:
        listed = "; ".join(f"{mistake.pointer}: {mistake.message}" for mistake in reader.mistakes)
        raise Refused("invalid_settings", f"the settings have mistakes: {listed}", tuple(reader.mistakes))
    return settings


def parse_target(environ: Mapping[str, str]) -> Target:
    """Read where commands find the server; Refused `invalid_settings` when PAYGRADE_URL is no address."""
    reader = _Reader(environ)
    url = reader.take("PAYGRADE_URL", _http_url) or f"http://127.0.0.1:{DEFAULT_PORT}"
    if reader.mistakes:
        raise Refused("invalid_settings", f"PAYGRADE_URL: {reader.mistakes[0].message}", tuple(reader.mistakes))
    return Target(url=url, key=environ.get("PAYGRADE_API_KEY") or environ.get("PAYGRADE_ADMIN_KEY") or None)


def parse_account(environ: Mapping[str, str]) -> Settings:
    """Read which account of the provider a command is about, and nothing else: who asks for that need not be able to
    run a server. Refused `invalid_settings`."""
    reader = _Reader(environ)
    settings = Settings(
        stripe_api_key=reader.take("PAYGRADE_STRIPE_API_KEY", _secret),
        stripe_api_base=reader.take("PAYGRADE_STRIPE_API_BASE", _http_url),
    )
    if reader.mistakes:
        listed = "; ".join(f"{mistake.pointer}: {mistake.message}" for mistake in reader.mistakes)
        raise Refused("invalid_settings", f"the settings have mistakes: {listed}", tuple(reader.mistakes))
    return settings


class _Reader:
    """Takes variables one by one and remembers what was wrong with them."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.mistakes: list[Mistake] = []

    @property
    def bad(self) -> frozenset[str]:
        return frozenset(mistake.pointer for mistake in self.mistakes)

    def take(self, name: str, parse: Callable[[str], T]) -> T | None:
        text = self._environ.get(name, "").strip()
        if not text:
            return None
        try:
            return parse(text)
        except ValueError as error:
            self.mistakes.append(Mistake(name, str(error)))
            return None


def _oidc(reader: _Reader, public_url: str | None) -> OidcSettings | None:
    """The settings of the log-in provider: all that it needs, or nothing."""
    issuer = reader.take("PAYGRADE_OIDC_ISSUER", _issuer)
    needed = {
        "PAYGRADE_OIDC_ISSUER": issuer,
        "PAYGRADE_OIDC_CLIENT_ID": reader.take("PAYGRADE_OIDC_CLIENT_ID", _secret),
        "PAYGRADE_OIDC_CLIENT_SECRET": reader.take("PAYGRADE_OIDC_CLIENT_SECRET", _secret),
        "PAYGRADE_OIDC_ROLES": reader.take("PAYGRADE_OIDC_ROLES", _roles),
    }
    more = {
        "roles_claim": reader.take("PAYGRADE_OIDC_ROLES_CLAIM", _secret),
        "scopes": reader.take("PAYGRADE_OIDC_SCOPES", _oidc_scopes),
        "name": reader.take("PAYGRADE_OIDC_NAME", str),
    }
    if not any(needed.values()):
        return None
    lacking = {name for name, value in (needed | {"PAYGRADE_PUBLIC_URL": public_url}).items() if not value}
    if lacking:
        reader.mistakes += [
            Mistake(name, "is missing; logging in with a provider needs it") for name in sorted(lacking - reader.bad)
        ]
        return None
    return OidcSettings(
        issuer=str(issuer),
        client_id=str(needed["PAYGRADE_OIDC_CLIENT_ID"]),
        client_secret=str(needed["PAYGRADE_OIDC_CLIENT_SECRET"]),
        roles=needed["PAYGRADE_OIDC_ROLES"],  # type: ignore[arg-type]  # what `_roles` gave
        public_url=str(public_url),
        **{name: value for name, value in more.items() if value is not None},
    )


def _money(text: str) -> frozenset[MoneyKind]:
    named = {part.strip() for part in text.split(",") if part.strip()}
    odd = named - {"all", *MONEY}
    if odd:
        raise ValueError(
            f"`{min(odd)}` is nothing that a second person approves; write `all`, or some of {', '.join(MONEY)}"
        )
    return frozenset(kind for kind in MONEY if "all" in named or kind in named)


def _issuer(text: str) -> str:
    # https://openid.net/specs/openid-connect-core-1_0.html#IssuerIdentifier; it is compared letter by letter.
    parts = urlsplit(text)
    is_own = parts.scheme == "http" and parts.hostname in ("localhost", "127.0.0.1", "::1")
    if not (parts.scheme == "https" or is_own) or not parts.hostname or "?" in text or "#" in text or "@" in text:
        raise ValueError(f"`{text}` is no issuer; write it as the provider does, for example `https://login.example.com`"
                         " (without TLS only on this machine)")  # fmt: skip
    return text


def _origin(text: str) -> str:
    url = _http_url(text)
    parts = urlsplit(url)
    if parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        raise ValueError(f"`{text}` is more than a host; write for example `https://paygrade.example.com`")
    return url


def _roles(text: str) -> dict[str, Role]:
    found: dict[str, Role] = {}
    for part in [part.strip() for part in text.split(",") if part.strip()]:
        group, _, role = part.rpartition("=")
        if not group.strip() or role.strip() not in ROLES:
            raise ValueError(f"`{part}` names no group and role; write for example `ops=admin,helpdesk=support` "
                             f"(roles: {', '.join(ROLES)})")  # fmt: skip
        if found.setdefault(group.strip(), role.strip()) != role.strip():  # type: ignore[arg-type]  # looked at above
            raise ValueError(f"`{group.strip()}` has two roles; leave one out")
    return found


def _oidc_scopes(text: str) -> str:
    if "openid" not in text.split() or not text.isascii() or not text.isprintable():
        raise ValueError(f"`{text}` lacks `openid`; write for example `openid profile email groups`")
    return " ".join(text.split())


def _contradictions(settings: Settings, bad: frozenset[str]) -> list[Mistake]:
    """What is wrong between variables; those already found bad are not blamed twice."""
    found = []
    if settings.database_url is None and "PAYGRADE_DATABASE_URL" not in bad:
        others = {
            "PAYGRADE_DATABASE_DIRECT_URL": settings.database_direct_url,
            "PAYGRADE_DATABASE_REPLICA_URL": settings.database_replica_url,
        }
        found += [
            Mistake(name, "needs PAYGRADE_DATABASE_URL; set that too, or unset this")
            for name, url in others.items()
            if url is not None
        ]
    if settings.stripe_api_base and settings.stripe_api_key is None and not bad & {"PAYGRADE_STRIPE_API_KEY"}:
        found.append(Mistake("PAYGRADE_STRIPE_API_KEY", "is missing although PAYGRADE_STRIPE_API_BASE is set; "
                             "the simulator's key is `sk_test_simulator`"))  # fmt: skip
    if settings.clock_url and settings.stripe_api_key and "_live_" in settings.stripe_api_key:
        found.append(Mistake("PAYGRADE_CLOCK_URL", "is a simulator's clock and can't be used with a live Stripe key; "
                             "unset one of them"))  # fmt: skip
    return found


def _database_url(text: str) -> str:
    # libpq takes an address or `key=value` pairs: postgresql.org/docs/current/libpq-connect.html#LIBPQ-CONNSTRING
    if not text.startswith(("postgresql://", "postgres://")) and ("://" in text or "=" not in text):
        raise ValueError("is not a PostgreSQL address; use for example `postgresql://user:password@host:5432/database`")
    return text


def _http_url(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"`{text}` is not an address; write for example `http://127.0.0.1:4711`")
    return text.rstrip("/")


def _secret(text: str) -> str:
    # The value is secret: the message must not repeat it.
    if not text.isascii() or not text.isprintable() or " " in text:
        raise ValueError("must be printable ASCII without spaces")
    return text


def _secrets(text: str) -> tuple[str, ...]:
    return tuple(_secret(part.strip()) for part in text.split(",") if part.strip())


def _existing_file(text: str) -> Path:
    path = Path(text)
    if not path.is_file():
        raise ValueError(f"there is no file `{text}`")
    return path


def _pause(text: str) -> timedelta:
    if text == "never":
        return _NEVER
    pause = parse_duration(text)
    if pause < timedelta(minutes=1):
        raise ValueError(f"`{text}` is less than a minute; write for example `1d`, `12h` or `never`")
    return pause


def _unless_never(pause: timedelta | None) -> timedelta | None:
    return None if pause == _NEVER else pause or SWEEP_EVERY


def _workers(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= WORKERS_MAX:
        raise ValueError(f"`{text}` is not a number of workers; write a number from 1 to {WORKERS_MAX}")
    return int(text)


def _megabytes(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 1_000_000:
        raise ValueError(f"`{text}` is no number of megabytes; write for example `{MEMORY_MB}`")
    return int(text)


def _networks(text: str) -> tuple[IPv4Network | IPv6Network, ...]:
    parts = [part.strip() for part in text.split(",") if part.strip()]
    try:
        return tuple(ip_network(part) for part in parts)
    except ValueError as error:
        raise ValueError(f"{error}; write networks as `10.1.0.0/16,fd00::/8`") from None


def _days(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= 3650:
        raise ValueError(f"`{text}` is not a number of days from 1 to 3650; write for example `{UPDATES_DAYS}`")
    return int(text)


def _logged(text: str) -> LoggedPart:
    words: dict[str, LoggedPart] = {"off": "off", "denials": "denials", "all": "all"}
    if text not in words:
        raise ValueError(f"`{text}` doesn't say which decisions; write `off`, `denials` or `all`")
    return words[text]


def _percent(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text[:9]) <= 100:
        raise ValueError(f"`{text}` is not a number from 1 to 100; write for example `10`")
    return int(text)


def _names(text: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))


def _syslog(text: str) -> str:
    parts = urlsplit(text)
    try:
        complete = bool(parts.path) if parts.scheme == "unix" else bool(parts.hostname and parts.port)
    except ValueError:
        complete = False
    if parts.scheme not in ("udp", "tcp", "unix") or not complete:
        raise ValueError(f"`{text}` is no syslog; write for example `udp://127.0.0.1:514` or `unix:///dev/log`")
    return text


def _otlp(text: str) -> str:
    url = _http_url(text)
    if urlsplit(url).path in ("", "/"):
        raise ValueError(f"`{text}` has no path; write the whole address, for example `http://127.0.0.1:4318/v1/logs`")
    return url


def nats_url(text: str) -> str:
    """The addresses of NATS servers. Raises ValueError."""
    for each in text.split(","):
        parts = urlsplit(each.strip())
        if parts.scheme not in ("nats", "tls", "ws", "wss") or not parts.hostname:
            raise ValueError("is not the address of a NATS server; write for example `nats://127.0.0.1:4222`, and "
                             "several of one cluster with commas between them")  # fmt: skip
    return text


def _headers(text: str) -> Mapping[str, str]:
    found: dict[str, str] = {}
    for each in text.split(","):
        name, equals, value = each.partition("=")
        name, value = name.strip().lower(), unquote(value.strip())
        if not equals or not re.fullmatch(r"[a-z0-9-]+", name) or not value.isascii() or not value.isprintable():
            raise ValueError("write headers as `name=value`, separated by commas, with a value's own commas as `%2C`")
        found[name] = value
    return found


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 65535:
        raise ValueError(f"`{text}` is not a port; write a number from 1 to 65535")
    return int(text)
