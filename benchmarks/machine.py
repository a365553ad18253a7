"""The machine that a figure is of."""

import importlib.metadata
import os
import platform
from pathlib import Path

from model_zoo.canonical import JsonObject


def facts() -> JsonObject:
    """Return processor, cores, memory, versions and the load just now."""
    memory_bytes = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_gib": round(memory_bytes / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "torch": importlib.metadata.version("torch"),
        "load_1_minute": round(os.getloadavg()[0], 2),
    }


def _processor() -> str:
    """Return the model name and the vector extensions that training can use."""
    fields: dict[str, str] = {}
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        fields.setdefault(name.strip(), value.strip())
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "sha_ni")
    flags = [flag for flag in wanted if flag in fields.get("flags", "").split()]
    return f"{fields.get('model name', platform.machine())} ({', '.join(flags)})"
