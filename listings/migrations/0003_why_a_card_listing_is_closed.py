from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('listings', '0002_cards_for_sale'),
    ]

    operations = [
        migrations.AddField(
            model_name='cardlisting',
            name='end_reason',
            field=models.CharField(blank=True, max_length=32),
        ),
    ]
