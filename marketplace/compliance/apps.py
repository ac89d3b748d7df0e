from django.apps import AppConfig
from django.core.checks import register


class ComplianceConfig(AppConfig):
    name = "marketplace.compliance"
    label = "compliance"

    def ready(self) -> None:
        from marketplace.compliance.checks import check_rule_file  # noqa: PLC0415 (models are ready only now)

        register(check_rule_file)
