"""Pure proxies: what a byte costs that is only passed on. They know no tenants, tokens or turns."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.gateways.base import Gateway, Place, first_number, program

MOST_CONNECTIONS = 8_000  # of each side: more than any scenario has, within the usual limit of 20,000 files

NGINX = """\
daemon off;
worker_processes 1;
worker_rlimit_nofile {both_sides};
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections {both_sides}; }}
http {{
    access_log off;
    tcp_nodelay on;
    keepalive_timeout 300s;
    keepalive_requests 100000000;
    client_max_body_size 32m;
    client_body_buffer_size 4m;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream engine {{
        server 127.0.0.1:{engine_port};
        keepalive 4096;
        keepalive_requests 100000000;
    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://engine;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_buffering off;
            proxy_read_timeout 900s;
        }}
    }}
}}
"""

HAPROXY = """\
global
    nbthread 1
    maxconn {connections}
defaults
    mode http
    timeout connect 5s
    timeout client 900s
    timeout server 900s
    option http-no-delay
    http-reuse always
frontend clients
    bind 127.0.0.1:{port} backlog 4096
    default_backend engine
backend engine
    server engine 127.0.0.1:{engine_port} maxconn {connections}
"""

ENVOY = """\
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": {manager}
          stat_prefix: clients
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{prefix: "/"}}
                route: {{cluster: engine, timeout: 0s, idle_timeout: 900s}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: engine
    type: STATIC
    connect_timeout: 5s
    circuit_breakers:
      thresholds:
      - {{max_connections: {connections}, max_pending_requests: {connections}, max_requests: {connections}}}
    load_assignment:
      cluster_name: engine
      endpoints:
      - lb_endpoints:
        - endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {engine_port}}}}}}}
"""


MANAGER = "envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager"


def filled(template: str, place: Place) -> str:
    """A configuration with the ports, the folder and the limits of this place."""
    return template.format(
        port=place.port,
        engine_port=place.engine_port,
        folder=place.folder,
        connections=MOST_CONNECTIONS,
        both_sides=2 * MOST_CONNECTIONS + 100,
        manager=f"type.googleapis.com/{MANAGER}",
    )


class Nginx(Gateway):
    """nginx with one worker, connections to the engine kept, no buffering, no access log."""

    name = "nginx"

    def version(self) -> str:
        return first_number(program("nginx", "apt-get install nginx-light"), "-v")

    def command(self, place: Place) -> Sequence[str]:
        path = place.write("nginx.conf", filled(NGINX, place))
        return [program("nginx", ""), "-p", str(place.folder), "-c", str(path)]


class Haproxy(Gateway):
    """HAProxy with one thread, connections to the engine reused always."""

    name = "haproxy"

    def version(self) -> str:
        return first_number(program("haproxy", "apt-get install haproxy"), "-v")

    def command(self, place: Place) -> Sequence[str]:
        return [program("haproxy", ""), "-f", str(place.write("haproxy.cfg", filled(HAPROXY, place)))]
