#!/usr/bin/env python3
"""Writes agents.json and bots.json: make.py REGEXES_YAML CRAWLER_USER_AGENTS_JSON. Needs PyYAML. See README.md."""

import json
import pathlib
import sys

import yaml

regexes, crawlers = sys.argv[1:]
folder = pathlib.Path(__file__).parent


def lines(values):
    return ",\n".join(json.dumps(value, ensure_ascii=False) for value in values)


# Versions and models of devices are not looked up, so their patterns are left out.
kept = {"user_agent_parsers": ("regex", "family_replacement"), "os_parsers": ("regex", "os_replacement")}
patterns = yaml.safe_load(pathlib.Path(regexes).read_text())
parts = [
    f'"{part}":[\n' + lines({key: rule[key] for key in keys if key in rule} for rule in patterns[part]) + "\n]"
    for part, keys in kept.items()
]
(folder / "agents.json").write_text("{\n" + ",\n".join(parts) + "\n}\n")

bots = json.loads(pathlib.Path(crawlers).read_text())
(folder / "bots.json").write_text("[\n" + lines(bot["pattern"] for bot in bots) + "\n]\n")
