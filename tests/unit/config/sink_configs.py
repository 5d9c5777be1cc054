"""Sinks on other machines as a configuration has them, for the tests."""

from netlog.config.file import parse_config
from netlog.config.relay import RelayConfig

NODE = """
meter = "/run/netlog/gateway"
[node]
id = "a"
[tun]
name = "tun0"
addresses = ["100.64.0.1/32"]
[sock]
listen = "0.0.0.0:1"
"""

HTTP = """
[[sinks]]
type = "http"
url = "https://logs.example.com/"
collection = "tailtraffic.log.example.com"
private_id_file = "/etc/netlog/private-id"
copy_id_env = "COPY_ID"
spool = "/var/spool/netlog/http"
spool_bytes = 1048576
ca_file = "/etc/netlog/ca.pem"
"""

HTTP_JSON = """
[[sinks]]
type = "http-json"
url = "http://127.0.0.1:8080/in?stream=flows"
spool = "/var/spool/netlog/json"
headers = { X-Tenant = "a" }
header_files = { Authorization = "/etc/netlog/authorization" }
header_env = { X-Key = "LOG_KEY" }
body = "array"
compression = "gzip"
"""

HEC = """
[[sinks]]
type = "hec"
url = "https://splunk.example.com:8088"
token_file = "/etc/netlog/token"
spool = "/var/spool/netlog/hec"
user = "splunk"
"""


def parsed(sinks: str) -> RelayConfig:
    """A configuration with these sinks."""
    return parse_config(NODE + sinks, "gateway.toml", RelayConfig)
