"""The application to name in `INSTALLED_APPS`: `paygrade.client.integrations.django`. It brings the template tags."""

from django.apps import AppConfig


class PaygradeConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    name = "paygrade.client.integrations.django"
    label = "paygrade"
    verbose_name = "Paygrade"
