"""The loop that every driver in Python runs (see README.md)."""

import json
import sys


def run(about, commands):
    print(json.dumps(about), flush=True)
    for line in sys.stdin:
        command = json.loads(line)
        try:
            answer = commands[command.pop("do")](**command) or {}
        except Exception as error:  # Whatever a client raises goes to whoever asked.
            answer = {"error": f"{type(error).__name__}: {error}"[:600]}
        print(json.dumps(answer), flush=True)
