from django.db import migrations

from marketplace.common.append_only import append_only


class Migration(migrations.Migration):
    dependencies = [("events", "0001_feed_and_idempotency")]
    operations = [append_only("events_event")]
