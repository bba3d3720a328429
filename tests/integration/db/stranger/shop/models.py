"""Models as a shop has them: every kind of relation, field and constraint that Django's own docs begin with."""

import uuid

from django.conf import settings
from django.contrib.contenttypes.fields import GenericForeignKey
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.fields import ArrayField, DateTimeRangeField
from django.db import models
from django.db.models import F, Q


class Category(models.Model):
    name = models.CharField(max_length=80, unique=True)
    parent = models.ForeignKey("self", null=True, blank=True, on_delete=models.SET_NULL, related_name="children")


class Tag(models.Model):
    slug = models.SlugField(primary_key=True)


class Product(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    sku = models.CharField(max_length=40)
    name = models.TextField()
    category = models.ForeignKey(Category, null=True, on_delete=models.CASCADE)
    price = models.DecimalField(max_digits=12, decimal_places=4)
    attributes = models.JSONField(default=dict)
    sizes = ArrayField(models.PositiveSmallIntegerField(), default=list)
    thumbnail = models.BinaryField(null=True)
    weight = models.FloatField(null=True)
    on_sale = models.BooleanField(default=False)
    created = models.DateTimeField(auto_now_add=True)
    changed = models.DateTimeField(auto_now=True)
    tags = models.ManyToManyField(Tag)
    related = models.ManyToManyField("self")
    price_with_tax = models.GeneratedField(
        expression=F("price") * 121 / 100,
        output_field=models.DecimalField(max_digits=14, decimal_places=4),
        db_persist=True,
    )

    class Meta:
        constraints = (
            models.UniqueConstraint(fields=["sku"], name="one_sku"),
            models.UniqueConstraint(fields=["name"], condition=Q(on_sale=True), name="one_on_sale"),
            models.CheckConstraint(condition=Q(price__gte=0), name="no_negative_price"),
        )
        indexes = (models.Index(fields=["category", "-created"]),)


class Bundle(Product):
    parts = models.ManyToManyField(Product, through="BundlePart", related_name="bundles")


class BundlePart(models.Model):
    bundle = models.ForeignKey(Bundle, on_delete=models.CASCADE, related_name="has")
    part = models.ForeignKey(Product, on_delete=models.CASCADE, related_name="is_in")
    quantity = models.PositiveIntegerField(default=1)


class Stock(models.Model):
    product = models.OneToOneField(Product, primary_key=True, on_delete=models.CASCADE)
    units = models.IntegerField(default=0)


class Customer(models.Model):
    user = models.OneToOneField(settings.AUTH_USER_MODEL, on_delete=models.CASCADE)
    birthday = models.DateField(null=True)
    address = models.GenericIPAddressField(null=True)


class Order(models.Model):
    customer = models.ForeignKey(Customer, on_delete=models.CASCADE)
    at = models.DateTimeField(auto_now_add=True)
    window = DateTimeRangeField(null=True)
    lasts = models.DurationField(null=True)
    total = models.DecimalField(max_digits=12, decimal_places=4, default=0)
    products = models.ManyToManyField(Product, through="Line")


class Line(models.Model):
    order = models.ForeignKey(Order, on_delete=models.CASCADE)
    product = models.ForeignKey(Product, on_delete=models.CASCADE)
    quantity = models.PositiveIntegerField()
    price = models.DecimalField(max_digits=12, decimal_places=4)

    class Meta:
        constraints = (
            models.UniqueConstraint(
                fields=["order", "product"], name="one_line", deferrable=models.Deferrable.DEFERRED
            ),
        )


class Note(models.Model):
    content_type = models.ForeignKey(ContentType, on_delete=models.CASCADE)
    object_id = models.TextField()
    about = GenericForeignKey()
    text = models.TextField()
