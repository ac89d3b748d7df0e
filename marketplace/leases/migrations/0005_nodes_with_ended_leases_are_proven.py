from django.db import migrations
from django.db.models import Max


def prove_nodes(apps, schema_editor):
    """A buyer's lease that ended and was paid for shows what a proving lease would."""
    lease = apps.get_model("leases", "Lease")
    ended = lease.objects.filter(state="ended", settled_micros__gt=0, closed_at__isnull=False)
    nodes = apps.get_model("nodes", "Node").objects
    for row in ended.order_by().values("node").annotate(last=Max("closed_at")):
        nodes.filter(pk=row["node"], proven_at=None).update(proven_at=row["last"])


class Migration(migrations.Migration):

    dependencies = [
        ('leases', '0004_proving_leases'),
    ]

    operations = [migrations.RunPython(prove_nodes, migrations.RunPython.noop)]
