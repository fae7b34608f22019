"""Template tags: `{% load paygrade %}{% decision "exports" as exports %}{% if exports %} … {{ exports.message }}`."""

from typing import Any

from django import template

from paygrade.client.decision import Decision
from paygrade.client.integrations.django.gate import configured_gate

register = template.Library()


@register.simple_tag(takes_context=True)  # type: ignore[untyped-decorator]  # Django has no types
def decision(context: Any, feature: str, quantity: int = 1) -> Decision | None:
    """The decision on `quantity` more of `feature`, which is true when allowed; None: the request is nobody's."""
    return configured_gate().decision(context["request"], feature, quantity)
