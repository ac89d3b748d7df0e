from django.db import migrations

from marketplace.common.append_only import append_only


class Migration(migrations.Migration):
    dependencies = [("sales", "0001_bids_sales_and_disputes")]
    operations = [append_only("sales_evidence")]
