"""The configurations that people copy. Each listens for the two processes of Signpost, and on a port of its own for the
one with limits."""

import os

from servers import Server, free_port

# More than Signpost takes, so that it is Signpost that says so.
LARGEST_BODY = "8m"


class Configuration:
    """One proxy as it is configured once."""

    def __init__(self, proxy, name, write, rolls=True, abandons=False):
        self.proxy, self.write, self.name = proxy, write, f"{proxy}, {name}"
        # Whether it notices by itself that an upstream is gone.
        self.rolls = rolls
        # Whether it ends a connection without a word when the answer came before the end of the body.
        self.abandons = abandons

    def server(self, home, logs, upstreams, limited):
        """The proxy; `port` leads to the two processes, `limited_port` to the one with limits."""
        slug = self.name.replace(", ", "-").replace(" ", "-")
        folder = home / slug
        folder.mkdir()
        port, limited_port = free_port(), free_port()
        command = self.write(folder, port, upstreams, limited_port, limited)
        environment = {"PATH": os.environ["PATH"] + ":/usr/sbin", "HOME": str(folder), "XDG_DATA_HOME": str(folder),
                       "XDG_CONFIG_HOME": str(folder)}
        server = Server(self.name, command, port, logs / f"{slug}.log", cwd=folder, env=environment)
        server.limited_port = limited_port
        return server


# --- nginx --------------------------------------------------------------------------------------------------------

KEPT = 'proxy_http_version 1.1; proxy_set_header Connection "";'
WEBSOCKET = 'proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection "upgrade";'
UNBUFFERED = "proxy_request_buffering off; proxy_buffering off;"


def nginx(location, keep_alive=None):
    """A way to write nginx's configuration, with these lines where it passes requests on."""
    def write(folder, port, upstreams, limited_port, limited):
        def site(name, port, upstreams):
            servers = " ".join(f"server 127.0.0.1:{upstream};" for upstream in upstreams)
            return f"""
  upstream {name} {{ {servers} {f"keepalive {keep_alive};" if keep_alive else ""} }}
  server {{
    listen 127.0.0.1:{port};
    client_max_body_size {LARGEST_BODY};
    location / {{
      proxy_pass http://{name};
      proxy_set_header Host $host;
      proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
      proxy_set_header X-Forwarded-Proto $scheme;
      {location}
    }}
  }}"""
        root = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(f"""
daemon off; {root} worker_processes 1; pid {folder}/pid; error_log stderr info;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{site("signpost", port, upstreams)}
{site("limited", limited_port, [limited])}
}}
""")
        return ["nginx", "-c", folder / "nginx.conf", "-p", folder, "-e", "stderr"]
    return write


# --- HAProxy ------------------------------------------------------------------------------------------------------

def haproxy(check, *lines):
    """A way to write HAProxy's configuration, with these lines in its back ends."""
    def write(folder, port, upstreams, limited_port, limited):
        def site(name, port, upstreams):
            servers = "\n".join(f"  server {name}{number} 127.0.0.1:{upstream} check inter 1s fall 2 rise 1"
                                for number, upstream in enumerate(upstreams))
            options = "\n".join(f"  {line}" for line in (check, *lines))
            return f"""
frontend {name}
  bind 127.0.0.1:{port}
  default_backend {name}
backend {name}
{options}
{servers}"""
        (folder / "haproxy.cfg").write_text(f"""
global
  log stdout format raw local0
defaults
  log global
  mode http
  option httplog
  option dontlog-normal
  option forwardfor
  option redispatch
  retries 3
  timeout connect 5s
  timeout client 50s
  timeout server 50s
{site("signpost", port, upstreams)}
{site("limited", limited_port, [limited])}
""")
        return ["haproxy", "-db", "-f", folder / "haproxy.cfg"]
    return write


# --- Caddy --------------------------------------------------------------------------------------------------------

def caddy(*lines):
    """A way to write Caddy's configuration, with these lines in its `reverse_proxy`."""
    def write(folder, port, upstreams, limited_port, limited):
        def site(port, upstreams):
            names = " ".join(f"127.0.0.1:{upstream}" for upstream in upstreams)
            inside = "\n".join(f"    {line}" for line in lines)
            block = f" {{\n{inside}\n  }}" if lines else ""
            return f"http://:{port} {{\n  bind 127.0.0.1\n  reverse_proxy {names}{block}\n}}\n"
        (folder / "Caddyfile").write_text(
            f"{{\n  admin off\n  auto_https off\n}}\n"
            f"{site(port, upstreams)}{site(limited_port, [limited])}")
        return ["caddy", "run", "--adapter", "caddyfile", "--config", folder / "Caddyfile"]
    return write


READY = "option httpchk GET /readyz"

ALL = [
    # Where nginx does not keep the body before it sends it on, it abandons connections, whatever it stands before.
    Configuration("nginx", "plain proxy_pass", nginx("")),
    Configuration("nginx", "keep-alive upstream", nginx(KEPT, 32)),
    Configuration("nginx", "WebSocket", nginx(WEBSOCKET)),
    Configuration("nginx", "WebSocket and keep-alive", nginx(WEBSOCKET, 32)),
    Configuration("nginx", "keep-alive, unbuffered", nginx(KEPT + UNBUFFERED, 32), abandons=True),
    Configuration("nginx", "WebSocket, unbuffered", nginx(WEBSOCKET + UNBUFFERED), abandons=True),
    Configuration("haproxy", "http-reuse always", haproxy(READY, "http-reuse always")),
    Configuration("haproxy", "default reuse", haproxy(READY)),
    Configuration("haproxy", "OPTIONS probe", haproxy("option httpchk")),
    # Without checks of its own it sends requests to an upstream that is gone.
    Configuration("caddy", "plain reverse_proxy", caddy(), rolls=False),
    Configuration("caddy", "health checks", caddy("health_uri /readyz", "health_interval 1s")),
]
