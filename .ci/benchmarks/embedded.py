"""The embedded default, against nginx and bare handlers: hot redirects, unknown codes, memory, start, claims."""

import os
import time
import urllib.request

from sides import (Side, alternate, claims_script, fill, free_port, fresh_script, oha, paths_script, ready, signpost,
                   target, wrk, zipf)

HOT_LINKS = 100_000  # that are asked for; more than that are only remembered
ZIPF_SAMPLES = 200_000
CLAIMING = 16  # connections


def measure(options, programs, home, sides, log, figures):
    port = free_port()
    own = Side("signpost", signpost(programs.signpost, home / "data", port), port)
    sides.append(own)
    own_log = open(home / "signpost.log", "w")
    own.start(own_log)
    ready(own.port)
    time.sleep(1)
    idle = own.resident()
    figures.add("P-9", "memory of the idle process; size of the binary",
                f"{idle / 2**20:.1f} MiB; {programs.signpost.stat().st_size / 2**20:.1f} MiB", "≤ 25; ≤ 25")
    key = (home / "data/admin.key").read_text().strip()
    codes = fill(port, key, options.links)
    figures.add("P-8", f"memory for each of {options.links:,} links, resident after they were claimed",
                f"{(own.resident() - idle) / options.links:.0f} B", "≤ 400 B")
    own.stop()
    figures.add("P-10", f"start to first redirect, {options.links:,} links on disk",
                f"{first_redirect(own, own_log, codes[0]) * 1000:.0f} ms", "≤ 200 ms")

    codes = codes[:HOT_LINKS]
    asked = [f"/{code}" for code in zipf(codes, ZIPF_SAMPLES)]
    hot = own.script = paths_script(home, "hot", asked)
    bare_port, nginx_port = free_port(), free_port()
    bare = Side("bare handler", [programs.bare, f"127.0.0.1:{bare_port}", "1"], bare_port, hot)
    peer = Side("nginx, map, limit and JSON log", nginx(home / "nginx", nginx_port, codes), nginx_port, hot)
    sides += [bare, peer]
    bare.start(log)
    peer.start(log)
    print("hot redirects")
    wrk(own, 2)  # warms the memory
    asks = {side.name: (lambda side=side: wrk(side, options.seconds)) for side in (own, bare, peer)}
    rates = alternate(asks, options.rounds)
    figures.add("P-1", "hot redirects, against nginx with the same map, a limit for each client and a JSON log",
                f"{rates[own.name] / rates[peer.name]:.2f} ({rates[own.name]:,.0f}/s)", "≥ 1.0")
    figures.add("P-2", "hot redirects, against a bare handler of the same library",
                f"{rates[own.name] / rates[bare.name]:.2f} ({rates[bare.name]:,.0f}/s)", "≥ 0.70")
    bare.stop()

    latencies(options, programs, home, own, peer, asked, min(rates.values()), figures)

    own.stop()
    print("unknown codes, another one each time")
    # As it comes: a client that tries codes is rejected after 20 of them.
    own.command = signpost(programs.signpost, home / "data", port, limits__unknown__per_second="0.3334", limits__unknown__burst="20")
    own.start(own_log)
    own.script = peer.script = fresh_script(home, "fresh")
    asks = {side.name: (lambda side=side: wrk(side, options.seconds)) for side in (own, peer)}
    rates = alternate(asks, options.rounds)
    figures.add("P-14", "unknown codes, all but 20 a minute rejected with 429, against nginx's 404 from the same map",
                f"{rates[own.name] / rates[peer.name]:.2f} ({rates[own.name]:,.0f}/s)", "≥ 1.0")
    own.stop()
    peer.stop()
    claims(options, programs, home, sides, log, figures)


def claims(options, programs, home, sides, log, figures):
    """On new files of their own, which grow alike: by what either side can claim."""
    print("claims of new targets")
    folder, port, bare_port = home / "claims", free_port(), free_port()
    folder.mkdir()
    own = Side("signpost", signpost(programs.signpost, folder / "data", port), port)
    bare = Side("bare insert", [programs.bare_claims, f"127.0.0.1:{bare_port}", folder / "bare.db"], bare_port)
    sides += [own, bare]
    with open(folder / "signpost.log", "w") as lines:
        own.start(lines)
    bare.start(log)
    ready(own.port)
    key = (folder / "data/admin.key").read_text().strip()
    own.script = bare.script = claims_script(folder, "claim", key, "'https://example.com/' .. run .. '/' .. at .. '?a=1'")
    asks = {side.name: (lambda side=side: wrk(side, options.seconds, CLAIMING)) for side in (own, bare)}
    rates = alternate(asks, options.rounds)
    figures.add("P-15", f"claims of new targets over {CLAIMING} connections, against a bare handler's insert with a sync each",
                f"{rates[own.name] / rates[bare.name]:.2f} ({rates[own.name]:,.0f}/s)", "≥ 2")
    own.stop()
    bare.stop()


def latencies(options, programs, home, own, peer, asked, peak, figures):
    """At half of the lower peak, or of what oha can ask for on its core if that is less."""
    urls = {}
    for side in (own, peer):
        urls[side.name] = home / f"urls-{side.port}"
        urls[side.name].write_text("".join(f"http://127.0.0.1:{side.port}{path}\n" for path in asked[:20_000]))
    most = oha(programs.oha, peer, urls[peer.name], 1_000_000, 3)[1]
    rate = int(min(peak, most) / 2)
    print(f"99th percentile in ms at {rate:,} requests a second")
    os.sync()  # or the logs of what came before are written down meanwhile
    time.sleep(1)
    asks = {}
    for side in (own, peer):
        def ask(side=side):
            p99, reached = oha(programs.oha, side, urls[side.name], rate, options.seconds)
            return p99, f"{reached:,.0f}/s"
        asks[side.name] = ask
    slow = alternate(asks, options.rounds)
    figures.add("P-3", f"99th percentile of hot redirects, open loop at {rate:,}/s, against nginx's",
                f"{slow[own.name] / slow[peer.name]:.2f} × ({slow[own.name]:.2f} ms)", "≤ 1.5 ×")


def first_redirect(own, log, code):
    begun = time.monotonic()
    own.start(log)
    with urllib.request.build_opener(NoRedirect).open(f"http://127.0.0.1:{own.port}/{code}") as answer:
        assert answer.status == 302
    return time.monotonic() - begun


class NoRedirect(urllib.request.HTTPRedirectHandler):
    def http_error_302(self, request, answer, code, message, headers):
        answer.status = code
        return answer


def nginx(folder, port, codes):
    """nginx with the same map of codes, a limit for each client, and a JSON access log to a file."""
    folder.mkdir()
    entries = "\n".join(f'"/{code}" "{target(number)}";' for number, code in enumerate(codes))
    (folder / "codes.map").write_text(entries)
    (folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {folder}/pid; error_log {folder}/error.log;
events {{ worker_connections 1024; }}
http {{
  log_format json escape=json '{{"timestamp":"$time_iso8601","request_id":"$request_id",'
    '"http.request.method":"$request_method","url.path":"$uri","http.response.status_code":$status,'
    '"http.response.body.size":$body_bytes_sent,"duration_s":$request_time,"client.address":"$remote_addr",'
    '"user_agent.original":"$http_user_agent"}}';
  access_log {folder}/access.log json;
  keepalive_requests 1000000000; server_tokens off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  limit_req_zone $binary_remote_addr zone=clients:10m rate=1000000r/s;
  map_hash_max_size 1048576; map_hash_bucket_size 256;
  map $uri $target {{ default ""; include {folder}/codes.map; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      limit_req zone=clients burst=1000000 nodelay;
      if ($target = "") {{ return 404; }}
      add_header Cache-Control "private, max-age=10";
      return 302 $target;
    }}
  }}
}}
""")
    return ["nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
