#!/usr/bin/env python3
"""A gRPC server with grpc.health.v1.Health (python3-grpcio; the two messages by hand).

usage: health-server.py FOLDER ADDRESS… [--tls CERTIFICATE KEY]

Each ADDRESS is HOST:PORT. A check of service NAME is answered with what FOLDER/NAME says ("SERVING"), and of the whole
server with what FOLDER/server says. Where there is no such file: NOT_FOUND. "slow" is never answered.
"""

import pathlib
import sys
import threading
from concurrent import futures

import grpc

STATUSES = ["UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"]


def main(folder, *rest):
    addresses, _, pair = "\n".join(rest).partition("\n--tls\n")

    def check(service, context):
        if service == "slow":
            threading.Event().wait(30)
        try:
            text = pathlib.Path(folder, service or "server").read_text().strip()
        except FileNotFoundError:
            context.abort(grpc.StatusCode.NOT_FOUND, f"no service {service!r}: 100% ünknown\n")
        number = STATUSES.index(text)
        return bytes([8, number]) if number else b""

    # Tag and length are one octet each: names here are short.
    handler = grpc.unary_unary_rpc_method_handler(check, request_deserializer=lambda octets: octets[2:].decode())
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=16))
    service = grpc.method_handlers_generic_handler("grpc.health.v1.Health", {"Check": handler})
    if not pathlib.Path(folder, "bare").exists():
        server.add_generic_rpc_handlers((service,))
    for address in addresses.split("\n"):
        if pair:
            certificate, key = (pathlib.Path(name).read_bytes() for name in pair.split("\n"))
            server.add_secure_port(address, grpc.ssl_server_credentials([(key, certificate)]))
        else:
            server.add_insecure_port(address)
    server.start()
    server.wait_for_termination()


main(*sys.argv[1:])
