# SPDX-License-Identifier: MIT
"""python -m shmd: the daemon's status, and the segments that the caller may see."""

import argparse
import json
import signal
import sys
import types

import shmd


def fields(record):
    """The names of what a record of the module's has, in their order."""
    members = vars(type(record)).items()
    return [name for name, value in members if isinstance(value, types.MemberDescriptorType)]


def as_dict(record):
    """A record of the module's with the records in it, for JSON."""
    if isinstance(record, dict):
        return {key: as_dict(value) for key, value in record.items()}
    if hasattr(record, "n_fields"):
        return {name: as_dict(getattr(record, name)) for name in fields(record)}
    return record


def print_status(status):
    for name in fields(status):
        value = getattr(status, name)
        if isinstance(value, dict):
            continue
        print(f"{name:<12} {value:.0f} s" if name == "uptime" else f"{name:<12} {value}".rstrip())


def print_segments(segments):
    if segments:
        print(f"\n{'NAME':<24} {'SIZE':>12} {'CLIENTS':>7}  LIFETIME")
    for segment in segments:
        name = segment.name or "-"
        print(f"{name:<24} {segment.size:>12} {segment.clients:>7}  {segment.lifetime}")


def main():
    # Who reads only the first lines is no error.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parser = argparse.ArgumentParser(prog="python -m shmd", description=__doc__)
    parser.add_argument("-s", "--socket", help="the daemon's; $SHMD_SOCKET or the system's if not given")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    try:
        shmd.connect(options.socket)
        status, segments = shmd.status(), shmd.list()
    except OSError as error:
        sys.exit(f"shmd: {error.strerror}")
    if options.json:
        print(json.dumps(as_dict(status) | {"segment_list": [as_dict(s) for s in segments]}, indent=2))
    else:
        print_status(status)
        print_segments(segments)


if __name__ == "__main__":
    main()
