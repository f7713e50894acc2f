import json

from asgiref.sync import async_to_sync
from django.db import connection
from django.http import HttpRequest, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from django.views.decorators.http import require_POST

from tidewire import position

from .models import Order


@csrf_exempt
@require_POST
def create(request: HttpRequest) -> JsonResponse:
    order = Order.objects.create(**json.loads(request.body))
    written = async_to_sync(position)(connection.connection)
    return JsonResponse({"id": order.pk, "position": written}, status=201)
