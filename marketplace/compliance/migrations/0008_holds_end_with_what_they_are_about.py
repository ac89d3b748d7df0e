import django.db.models.deletion
from django.db import migrations, models

from marketplace.common.append_only import append_only


class Migration(migrations.Migration):

    dependencies = [
        ('compliance', '0007_clearances_name_their_rows'),
    ]

    operations = [
        migrations.CreateModel(
            name='EndedHold',
            fields=[
                ('decision', models.OneToOneField(on_delete=django.db.models.deletion.PROTECT, primary_key=True, related_name='ended', serialize=False, to='compliance.compliancedecision')),
                ('at', models.DateTimeField()),
            ],
        ),
        append_only("compliance_endedhold"),
    ]
