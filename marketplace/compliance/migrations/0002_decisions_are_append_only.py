from django.db import migrations

from marketplace.common.append_only import append_only


class Migration(migrations.Migration):
    dependencies = [("compliance", "0001_decisions_and_their_tables")]
    operations = [append_only("compliance_ruletable"), append_only("compliance_compliancedecision")]
