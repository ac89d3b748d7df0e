"""Bank accounts that were named before get the digest by which firms with the same account are seen."""

from django.db import migrations
from nacl.exceptions import CryptoError

from marketplace.payments.payouts.sealing import digest, unsealed


def fill(apps, schema_editor):
    """What was sealed with another key keeps none."""
    details = apps.get_model("payments", "BankDetails").objects.using(schema_editor.connection.alias)
    for pk, box in details.filter(account_digest=None).values_list("pk", "sealed_account"):
        try:
            details.filter(pk=pk).update(account_digest=digest(unsealed(bytes(box))))
        except CryptoError:
            continue


class Migration(migrations.Migration):
    dependencies = [("payments", "0014_cards_accounts_and_sellers_who_answer")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
