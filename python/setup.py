# SPDX-License-Identifier: MIT
"""The extension, against the libshmd that pkg-config finds; the rest is in pyproject.toml."""

import glob
import os
import shlex
import subprocess

from setuptools import Extension, setup


def pkg_config(option):
    command = [os.environ.get("PKG_CONFIG", "pkg-config"), option, "libshmd"]
    try:
        return shlex.split(subprocess.check_output(command, text=True))
    except FileNotFoundError:
        raise SystemExit("shmd: pkg-config is needed to find libshmd") from None
    except subprocess.CalledProcessError:
        raise SystemExit("shmd: libshmd is not installed, or not in PKG_CONFIG_PATH") from None


setup(
    ext_modules=[
        Extension(
            "shmd._shmd",
            sorted(glob.glob("ext/*.c")),
            depends=["ext/module.h"],
            extra_compile_args=["-std=gnu17", "-fvisibility=hidden", *pkg_config("--cflags")],
            extra_link_args=[*pkg_config("--libs"), "-lm"],
        )
    ]
)
