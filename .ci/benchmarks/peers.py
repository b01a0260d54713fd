"""Other shorteners, started beforehand: hot redirects of one link, in turns with ours."""

import urllib.parse

from sides import SERVER_CORE, Side, alternate, fill, free_port, paths_script, ready, signpost, wrk


def measure(options, programs, home, sides, log, figures):
    if not options.peer:
        return
    port = free_port()
    own = Side("signpost", signpost(programs.signpost, home / "peers", port), port).start(log)
    sides.append(own)
    ready(own.port)
    key = (home / "peers/admin.key").read_text().strip()
    own.script = paths_script(home, "peer-own", [f"/{fill(port, key, 1)[0]}"])
    asked = {own.name: own}
    for name, url in options.peer:
        asked[name] = Side(name, [], url.port, paths_script(home, f"peer-{url.port}", [url.path]))
    print(f"redirects of one link, all sides on core {SERVER_CORE}")
    rates = alternate({name: (lambda side=side: wrk(side, options.seconds)) for name, side in asked.items()}, options.rounds)
    for name, _ in options.peer:
        figures.add("Peer", f"redirects of one link, against {name}",
                    f"{rates[own.name] / rates[name]:.2f} ({rates[name]:,.0f}/s)", "≥ 2.5")
    own.stop()


def peer(text):
    """NAME=URL of a short link, which has to be on this machine."""
    name, url = text.split("=", 1)
    url = urllib.parse.urlsplit(url)
    if url.scheme != "http" or url.hostname != "127.0.0.1" or not url.port:
        raise ValueError(text)
    return name, url
