from django.db import models


class Order(models.Model):
    id = models.AutoField(primary_key=True)
    item = models.TextField()
    quantity = models.IntegerField(default=1)

    class Meta:
        db_table = "orders"
