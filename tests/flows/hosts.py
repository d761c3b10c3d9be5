"""Two hosts on one machine: network namespaces with a cable between them, which can be cut."""

import ctypes
import os
import shutil
import subprocess
from contextlib import contextmanager
from typing import NamedTuple

_NEW_NETWORK = 0x40000000
WHY_NOT = None if hasattr(os, "geteuid") and os.geteuid() == 0 and shutil.which("ip") else "network namespaces need root and ip"


class Host(NamedTuple):
    """One of several hosts.

    Attributes:
        name: of its namespace.
        interface: its end of the cable.
        address: of that.
        first: address of the first host.
        of: how many hosts there are.
        needs: how many of them a run needs.
    """

    name: str
    interface: str
    address: str
    first: str
    of: int = 2
    needs: int = 2

    def enter(self):
        """Moves this process, and those that it will fork, to the host."""
        with open(f"/var/run/netns/{self.name}") as file:  # noqa: PTH123  # no plain file
            if ctypes.CDLL(None, use_errno=True).setns(file.fileno(), _NEW_NETWORK) != 0:
                raise OSError(ctypes.get_errno(), f"setns to {self.name}")

    def cut(self):
        """Takes the cable out."""
        _ip("-n", self.name, "link", "set", self.interface, "down")


@contextmanager
def two_hosts():
    """Makes two hosts and takes them away."""
    number = os.getpid()
    hosts = [Host(f"host{side}-{number}", f"veth{side}-{number}"[:15], f"10.77.0.{side}", "10.77.0.1") for side in (1, 2)]
    try:
        for host in hosts:
            _ip("netns", "add", host.name)
        one, two = hosts
        _ip("link", "add", one.interface, "netns", one.name, "type", "veth", "peer", "name", two.interface, "netns", two.name)
        for host in hosts:
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", host.interface)
            _ip("-n", host.name, "link", "set", host.interface, "up")
            _ip("-n", host.name, "link", "set", "lo", "up")
        yield hosts
    finally:
        for host in hosts:
            subprocess.run(["ip", "netns", "del", host.name], check=False, capture_output=True)


def _ip(*arguments):
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)
