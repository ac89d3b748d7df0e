from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('sales', '0003_what_was_said_of_a_card_stays_with_its_sale'),
    ]

    operations = [
        migrations.AddField(
            model_name='sale',
            name='address',
            field=models.CharField(blank=True, max_length=500),
        ),
        migrations.AddField(
            model_name='sale',
            name='address_asked_at',
            field=models.DateTimeField(null=True),
        ),
        migrations.AddField(
            model_name='sale',
            name='address_question',
            field=models.CharField(blank=True, max_length=500),
        ),
        migrations.AddField(
            model_name='sale',
            name='address_questions',
            field=models.PositiveIntegerField(default=0),
        ),
    ]
