"""Use the shop through the ORM as its pages would, at random. Arguments: a seed, and how many steps."""

import datetime
import decimal
import random
import sys

import django
from django.db import IntegrityError, OperationalError, connection, transaction

django.setup()

from django.contrib.admin.models import CHANGE, LogEntry  # noqa: E402
from django.contrib.auth.models import Group, Permission, User  # noqa: E402
from django.contrib.contenttypes.models import ContentType  # noqa: E402
from django.contrib.sessions.backends.db import SessionStore  # noqa: E402
from django.contrib.sites.models import Site  # noqa: E402
from django.db.models import Case, Count, F, Value, When  # noqa: E402
from django.db.models.functions import Concat  # noqa: E402
from django.utils import timezone  # noqa: E402
from psycopg.types.range import TimestamptzRange  # noqa: E402
from shop.models import Bundle, BundlePart, Category, Customer, Line, Note, Order, Product, Stock, Tag  # noqa: E402

chance = random.Random(int(sys.argv[1]))


def any_of(model, count=1):
    keys = list(model.objects.order_by("pk").values_list("pk", flat=True))
    return [model.objects.get(pk=pk) for pk in chance.sample(keys, min(count, len(keys)))]


def name():
    word = chance.choice(["Té", 'Café "Ñ"', "Pan\\n", "Açaí 🧉", "O'Higgins"])
    return f"{word} {chance.randrange(10**6)}"


def price():
    return decimal.Decimal(chance.randrange(10**7)) / 10000


def product():
    return Product(sku=name()[:40], name=name(), price=price(), sizes=[chance.randrange(50)], weight=chance.random())


def customers():
    user = User.objects.create_user(name()[:150], "a@b.example", "secret")
    user.groups.add(*any_of(Group, 2))
    user.user_permissions.set(any_of(Permission, 3))
    Customer.objects.create(user=user, birthday=datetime.date(1970, 1, 1))
    LogEntry.objects.create(user=user, action_flag=CHANGE, object_repr="x", change_message="[]")


def catalogue():
    parent = any_of(Category)
    made = Category.objects.create(name=name(), parent=parent[0] if parent else None)
    rows = [product() for _ in range(chance.randrange(1, 12))]
    for row in rows:
        row.category = made
    Product.objects.bulk_create(rows)
    Tag.objects.bulk_create([Tag(slug=f"t{chance.randrange(9)}") for _ in range(3)], ignore_conflicts=True)
    for row in rows:
        row.tags.set(any_of(Tag, 2))
    rows[0].related.add(*any_of(Product, 2))
    Stock.objects.bulk_create(
        [Stock(product=row, units=chance.randrange(99)) for row in any_of(Product, 5)],
        update_conflicts=True, unique_fields=["product"], update_fields=["units"],
    )  # fmt: skip


def order():
    customer = any_of(Customer)
    if not customer:
        return
    now = timezone.now()
    with transaction.atomic():
        made = Order.objects.create(customer=customer[0], window=TimestamptzRange(now, None))
        for bought in any_of(Product, 4):
            try:
                with transaction.atomic():
                    stock = Stock.objects.select_for_update().get(product=bought)
                    stock.units = F("units") - 1
                    stock.save(update_fields=["units"])
                    Line.objects.create(order=made, product=bought, quantity=1, price=bought.price)
                    if chance.random() < 0.3:
                        Line.objects.create(order=made, product=bought, quantity=1, price=bought.price)
                        connection.check_constraints()
            except (Stock.DoesNotExist, IntegrityError):
                continue
        Order.objects.filter(pk=made.pk).update(total=Line.objects.filter(order=made).aggregate(n=Count("pk"))["n"])
        if chance.random() < 0.2:
            transaction.set_rollback(True)


def reprice():
    Product.objects.filter(price__lt=price()).update(price=F("price") * decimal.Decimal("1.1"))
    Product.objects.update(
        name=Concat(F("name"), Value("·")), on_sale=Case(When(price__lt=price(), then=True), default=False)
    )


def edit():
    rows = any_of(Product, 5)
    for row in rows:
        row.attributes = {"color": name(), "n": [1, None, {"x": chance.random()}]}
        row.thumbnail = bytes([chance.randrange(256)]) * 3
    Product.objects.bulk_update(rows, ["attributes", "thumbnail"])
    Tag.objects.update_or_create(slug="nuevo", defaults={})


def bundle():
    made = Bundle.objects.create(sku=name()[:40], name=name(), price=1)
    BundlePart.objects.bulk_create([BundlePart(bundle=made, part=part, quantity=2) for part in any_of(Product, 3)])
    made.price = price()
    made.save()


def notes():
    for about in any_of(Product, 2) + any_of(User, 1):
        Note.objects.create(about=about, text=name())
    Note.objects.filter(content_type=ContentType.objects.get_for_model(Product)).update(text="x")


def sessions():
    session = SessionStore()
    session["cart"] = list(range(chance.randrange(5)))
    session.save()
    session.cycle_key()
    Site.objects.update_or_create(domain="example.com", defaults={"name": name()[:50]})
    group, _ = Group.objects.get_or_create(name=f"g{chance.randrange(4)}")
    group.permissions.set(any_of(Permission, 2))


def remove():
    for model in chance.sample([Category, Customer, User, Product, Bundle, Order, Tag, Group], 2):
        for row in any_of(model):
            row.delete()
    Line.objects.filter(quantity__gt=5).delete()
    Note.objects.order_by("?").first()


STEPS = [customers, catalogue, catalogue, order, order, order, reprice, edit, bundle, notes, sessions, remove]
for _ in range(int(sys.argv[2])):
    step = chance.choice(STEPS)
    try:
        if chance.random() < 0.5:
            with transaction.atomic():
                step()
                if chance.random() < 0.15:
                    transaction.set_rollback(True)
        else:
            step()
    except (IntegrityError, OperationalError) as error:  # another shopper was first; anything else is a fault
        assert "notifiws" not in str(error), error
    except django.core.exceptions.ObjectDoesNotExist:
        continue
