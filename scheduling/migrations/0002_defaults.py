from django.db import migrations

# The bands: a lower rank goes first, and a head older than its bound is promoted, so nothing starves.
CLASSES = (
    {"name": "interactive", "rank": 0, "reserved_seats": 0, "max_wait_s": None},
    {"name": "standard", "rank": 1, "reserved_seats": 0, "max_wait_s": 30},
    {"name": "batch", "rank": 2, "reserved_seats": 0, "max_wait_s": 120},
)


def fill(apps, schema_editor):
    apps.get_model("scheduling", "Revision").objects.create(id=1, number=1)
    PriorityClass = apps.get_model("scheduling", "PriorityClass")
    PriorityClass.objects.bulk_create([PriorityClass(**row) for row in CLASSES])


class Migration(migrations.Migration):
    dependencies = [("scheduling", "0001_initial")]
    operations = [migrations.RunPython(fill, migrations.RunPython.noop)]
