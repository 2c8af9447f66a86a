"""kcat, once: whatever it says has to be said without an error."""

import subprocess


def kcat(broker, arguments, text=None):
    done = subprocess.run(
        ["kcat", "-b", broker, *arguments], input=text, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"kcat {' '.join(arguments)}: {done.stderr[-600:]}"
    return done.stdout
