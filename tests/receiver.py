"""Takes one OTLP request over HTTP and prints it, decoded by the official classes. Says its port first."""
import http.server
import sys

from google.protobuf.json_format import MessageToJson
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest


class Receiver(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        good = self.path == "/v1/metrics" and self.headers["Content-Type"] == "application/x-protobuf"
        self.send_response(200 if good else 400)
        self.send_header("Content-Length", "0")
        self.end_headers()
        print(MessageToJson(ExportMetricsServiceRequest.FromString(body), indent=None), flush=True)

    def log_message(self, *_):
        pass


server = http.server.HTTPServer(("127.0.0.1", 0), Receiver)
print(server.server_port, flush=True)
server.handle_request()
sys.exit(0)
