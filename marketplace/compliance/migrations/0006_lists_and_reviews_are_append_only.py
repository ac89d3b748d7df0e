from django.db import migrations

from marketplace.common.append_only import append_only


class Migration(migrations.Migration):
    dependencies = [("compliance", "0005_screening_lists_and_reviews")]
    operations = [append_only("compliance_screeninglist"), append_only("compliance_matchreview")]
