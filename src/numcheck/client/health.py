"""Asks, by gRPC's own health protocol, whether a node serves checks."""

import grpc
from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

from numcheck.v1 import check_pb2

HEALTH_DEADLINE_S = 2.0
HEALTH_REQUEST = HealthCheckRequest(service=check_pb2.DESCRIPTOR.services_by_name["CheckService"].full_name)
SERVING = HealthCheckResponse.SERVING
ABSENCES = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
"""How a call fails that did not reach a node, or one that stops."""
