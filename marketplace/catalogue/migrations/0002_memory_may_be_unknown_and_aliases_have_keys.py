from django.db import migrations, models

RATES = ("fp16_dense_tflops", "fp8_dense_tflops", "int8_dense_tops", "fp4_dense_tflops")


class Migration(migrations.Migration):
    dependencies = [("catalogue", "0001_gpu_models")]

    operations = [
        migrations.AlterField("gpumodel", "memory_mib", models.PositiveIntegerField(null=True)),
        *(
            migrations.AlterField("gpumodel", name, models.DecimalField(decimal_places=2, max_digits=9, null=True))
            for name in RATES
        ),
        migrations.AddField(
            "gpualias", "key", models.CharField(max_length=120, db_index=True, default=""), preserve_default=False
        ),
    ]
