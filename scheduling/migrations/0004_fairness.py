from django.db import migrations, models

from scheduling.core.policy import FAIRNESS

CHOICES = [(name, name.replace("_", " ")) for name in FAIRNESS]


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0003_quotas")]
    operations = [
        migrations.RemoveConstraint(model_name="schedulingpolicy", name="policy_fairness_is_known"),
        migrations.AlterField(
            model_name="schedulingpolicy",
            name="fairness",
            field=models.CharField(choices=CHOICES, default="token_fair", max_length=30),
        ),
        migrations.AddConstraint(
            model_name="schedulingpolicy",
            constraint=models.CheckConstraint(
                condition=models.Q(fairness__in=FAIRNESS), name="policy_fairness_is_known"
            ),
        ),
    ]
