from django.db import migrations, models

KINDS = ["cancel", "move_to_front", "hold", "release", "explain"]


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0005_steering")]
    operations = [
        migrations.RemoveConstraint(model_name="command", name="command_kind_is_known"),
        migrations.AlterField(
            model_name="command",
            name="kind",
            field=models.CharField(
                choices=[
                    ("cancel", "Cancel"),
                    ("move_to_front", "Move To Front"),
                    ("hold", "Hold"),
                    ("release", "Release"),
                    ("explain", "Explain"),
                ],
                max_length=20,
            ),
        ),
        migrations.AddConstraint(
            model_name="command",
            constraint=models.CheckConstraint(
                condition=models.Q(kind__in=KINDS), name="command_kind_is_known"
            ),
        ),
    ]
