"""What `paygrade doctor` says of the provider that people log in with."""

import asyncio

from paygrade.cli.symptoms import Symptom
from paygrade.server.process.settings import Settings
from paygrade.server.state.oidc_provider import OidcProvider
from paygrade.values.errors import Unavailable


def examine_log_in(settings: Settings) -> Symptom | None:
    """Whether the provider can be reached, and is as it has to be; None: people log in with local accounts."""
    if settings.oidc is None:
        return None
    issuer = settings.oidc.issuer
    try:
        provider, keys = asyncio.run(OidcProvider(settings.oidc).look())
    except Unavailable as error:
        return Symptom("log-in", "wrong", f"{issuer}: {error.detail}; check PAYGRADE_OIDC_ISSUER")
    if not keys:
        return Symptom("log-in", "wrong", f"{issuer} publishes no keys at {provider.jwks_uri}")
    back = settings.oidc.redirect_url
    return Symptom("log-in", "ok", f"{issuer} answers; it must know the redirect address {back}")
