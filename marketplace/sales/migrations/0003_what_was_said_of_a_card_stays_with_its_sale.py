import django.contrib.postgres.fields
from django.db import migrations, models

from listings.cards.states import Flag

COPY = """
UPDATE sales_sale SET flags = listing.flags, warranty_days = listing.warranty_days,
    is_modified = listing.is_modified OR 'memory_mod' = ANY(listing.flags)
FROM listings_cardlisting listing WHERE listing.id = sales_sale.listing_id
"""


class Migration(migrations.Migration):
    dependencies = [("sales", "0002_evidence_is_append_only")]
    operations = [
        migrations.AddField("sale", "is_modified", models.BooleanField(default=False), preserve_default=False),
        migrations.AddField(
            "sale",
            "flags",
            django.contrib.postgres.fields.ArrayField(
                base_field=models.CharField(max_length=20, choices=Flag), default=list
            ),
        ),
        migrations.AddField("sale", "warranty_days", models.PositiveIntegerField(default=0)),
        migrations.RunSQL(COPY, migrations.RunSQL.noop),
    ]
