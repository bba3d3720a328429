"""The shop lives on: columns come, go and get other names and types, a table gets another name, data moves."""

from django.db import migrations, models


def move(apps, _):
    products, orders = apps.get_model("shop", "Product"), apps.get_model("shop", "Order")
    products.objects.filter(on_sale=True).update(attributes={"moved": True})
    products.objects.create(sku="later", name="later", price=1).tags.create(slug="later")
    apps.get_model("auth", "User").objects.update(first_name="Moved")
    apps.get_model("shop", "Line").objects.filter(order__in=orders.objects.order_by("pk")[:1]).delete()
    orders.objects.update(paid=True)


class Migration(migrations.Migration):
    dependencies = (("shop", "0001_initial"), ("auth", "0012_alter_user_first_name_max_length"))
    operations = (
        migrations.AddField("Order", "paid", models.BooleanField(default=False)),
        migrations.RemoveField("Customer", "address"),
        migrations.RenameField("Order", "lasts", "duration"),
        migrations.AlterField("Line", "quantity", models.BigIntegerField()),
        migrations.RenameModel("Tag", "Label"),
        migrations.RunPython(move),
    )
