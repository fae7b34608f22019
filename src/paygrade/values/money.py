"""Money as people write it.

Law: money is a whole number of minor units of a currency; how many make a major one follows from the currency.
"""

# Stripe docs: currencies, zero-decimal and three-decimal
_WHOLE_UNITS = frozenset(
    ["bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "ugx", "vnd", "vuv", "xaf", "xof", "xpf"]
)
_THOUSANDTHS = frozenset(["bhd", "jod", "kwd", "omr", "tnd"])


def amount(units: int, currency: str) -> str:
    """Minor units as people write them: `99.00 USD`, `9900 JPY`."""
    digits = 0 if currency in _WHOLE_UNITS else 3 if currency in _THOUSANDTHS else 2
    sign, text = "-" if units < 0 else "", str(abs(units)).rjust(digits + 1, "0")
    figure = f"{text[:-digits]}.{text[-digits:]}" if digits else text
    return f"{sign}{figure} {currency.upper()}"
