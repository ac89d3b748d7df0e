from django.db import migrations

from marketplace.common.append_only import append_only


class Migration(migrations.Migration):
    dependencies = [("compliance", "0003_sales_rulings_and_clearances")]
    operations = [
        append_only("compliance_ruleadoption"),
        append_only("compliance_holdruling"),
        append_only("compliance_documentonfile"),
        append_only("compliance_skuclearance"),
    ]
