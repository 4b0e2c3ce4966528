# SPDX-License-Identifier: Apache-2.0

"""Little virtual hosts with a real RDMA stack and persistent memory, which the machine need not have:
Debian's kernel with soft-RoCE (rdma_rxe) on an Ethernet of their own, and an NVDIMM, in qemu by
software emulation: works everywhere, computes 10 to 20 times slower. SILURUS_VM_KVM=1 asks for KVM.

    with Hosts(2) as hosts:
        server = hosts[1].start("ib_read_lat -d rxe0 -x 1")
        print(hosts[2].run("ib_read_lat -d rxe0 -x 1 10.9.0.1"))

All time limits, those of the methods here too, are for an idle machine: they pass the slower the busier this one
is (Patience). Nothing may fail because it did not happen within a short time: wait for it with until().

Host i is 10.9.0.i and fd09::i, its RDMA device rxe0; the machine's file system is its own, copy on
write; /out is kept (Hosts.out/i). Everything that was started ends with the block, also when
this process is killed.
"""
import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
TOOLS = ("qemu-system-x86_64", "vde_switch", "busybox", "cpio", "modprobe", "rdma", "ndctl", "mkfs.ext4")
NVDIMM_MIB = 514  # 512 and a label area of 2
BOOT_S = 120


class Slowness:
    """How many times slower than an idle machine this one works now, at least 1: what a fixed amount of work takes,
    or how many threads there are for each core that want to run, whichever is more. At most 40; falls slowly."""
    REFERENCE_S, ROUNDS, MOST, KEPT = 0.04, 250_000, 40, 0.9

    def __init__(self):
        self.lock, self.factor, self.next = threading.Lock(), 1.0, 0.0

    def __call__(self):
        with self.lock:
            begun = time.monotonic()
            if begun < self.next:
                return self.factor
            x = 1
            for _ in range(self.ROUNDS):
                x = x * 5 & 0xffffffff
            took = time.monotonic() - begun
            seen = max(took / self.REFERENCE_S, os.getloadavg()[0] / (os.cpu_count() or 1))
            self.factor = max(1.0, self.KEPT * self.factor, min(self.MOST, seen))
            self.next = begun + took + max(1.0, 20 * took)
            return self.factor


slowness = Slowness()


def patient(idle_s):
    """The time that this machine now needs for what takes an idle one this many seconds."""
    return idle_s * slowness()


class Patience:
    """A time limit in seconds of an idle machine; looked at now and then."""

    def __init__(self, idle_s):
        self.left, self.last = idle_s, time.monotonic()

    def is_over(self):
        now = time.monotonic()
        self.left -= min(now - self.last, 5) / slowness()
        self.last = now
        return self.left <= 0


def until(is_so, what, idle_s=60):
    """Waits until it is so, and returns what is_so() returned; HostError after that time."""
    patience = Patience(idle_s)
    while not (answer := is_so()):
        if patience.is_over():
            raise HostError(f"not within {idle_s} s of an idle machine: {what}")
        time.sleep(0.1)  # pacing: between two looks
    return answer


class HostError(Exception):
    """A host did not boot, or a command on it failed or took too long."""


class NoHosts(HostError):
    """There can be no hosts on this machine: the reason."""


def unavailable():
    """Why hosts cannot be booted here; None if they can."""
    path = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"
    missing = [tool for tool in TOOLS if shutil.which(tool, path=path) is None]
    return f"not installed: {', '.join(missing)} (scripts/setup --vm)" if missing else None


class Job:
    """A command that runs on a host. Its output so far: output()."""

    def __init__(self, host, number, command):
        self.host, self.number, self.command = host, number, command
        self.status = None
        self.ended = threading.Event()

    def output(self):
        try:
            return (self.host.out / f"{self.number}.log").read_text(errors="replace")
        except FileNotFoundError:
            return ""

    def wait(self, timeout=60):
        """Its exit status (None when the host lost power)."""
        patience = Patience(timeout)
        while not self.ended.wait(0.5):
            if patience.is_over():
                raise HostError(f"{self}: not done after {timeout} s\n{self.output()}")
        return self.status

    def wait_for(self, text, timeout=60):
        """Waits until the output contains the text; returns the output."""
        patience = Patience(timeout)
        while text not in (output := self.output()):
            if self.ended.wait(0.05) and text not in self.output():
                raise HostError(f"{self}: ended with {self.status} without {text!r}\n{self.output()}")
            if patience.is_over():
                raise HostError(f"{self}: no {text!r} after {timeout} s\n{output}")
        return output

    def signal(self, name):
        self.host.send(f"signal {self.number} {name}")

    def stop(self, name="TERM", timeout=30):
        if not self.ended.is_set():
            self.signal(name)
        return self.wait(timeout)

    def __str__(self):
        return f"host {self.host.id}: {self.command}"


class Host:
    def __init__(self, hosts, number):
        self.hosts, self.id = hosts, number
        self.address, self.address6 = f"10.9.0.{number}", f"fd09::{number}"
        self.out = hosts.out / str(number)
        self.out.mkdir(parents=True, exist_ok=True)
        self.jobs, self.qemu = {}, None

    def boot(self):
        """Starts the host; returns at once (wait_ready)."""
        assert self.qemu is None
        shutil.copy(HERE / "guest-agent", self.out)
        env = dict(self.hosts.environment, HOST_ID=self.id, HOSTS=len(self.hosts), PM=self.hosts.pm,
                   WORK_DIR=os.getcwd(),
                   SILURUS_RDMA_HOST=self.address, SILURUS_RDMA_HOST6=self.address6, HOME="/root", VM_MODULES=self.hosts.modules, VM_KERNEL=self.hosts.version,
                   PATH="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        (self.out / "environment").write_text("".join(f"{k}={shlex.quote(str(v))}\n" for k, v in env.items()))
        control = self.hosts.run / f"control{self.id}"
        control.unlink(missing_ok=True)
        nvdimm = self.hosts.out / f"nvdimm{self.id}.img"
        pm = []
        if self.hosts.pm != "none":
            if not nvdimm.exists():
                nvdimm.touch()
                os.truncate(nvdimm, NVDIMM_MIB << 20)
            pm = ["-object", f"memory-backend-file,id=pm,share=on,mem-path={nvdimm},size={NVDIMM_MIB}M,align=128M",
                  "-device", "nvdimm,id=nv,memdev=pm,label-size=2M"]
        share = "security_model=none,multidevs=remap"
        command = [
            # dies with us, whatever happens to us
            "setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", *self.hosts.accelerators, "-cpu", "max",
            "-machine", "q35" + (",nvdimm=on" if pm else ""), "-smp", str(self.hosts.cpus),
            "-m", f"{self.hosts.memory_mb}M,slots=2,maxmem=8G", "-display", "none", "-monitor", "none", "-no-reboot",
            "-serial", f"file:{self.hosts.out}/console{self.id}.log", "-serial", f"unix:{control},server=on,wait=off",
            "-kernel", self.hosts.kernel, "-initrd", self.hosts.initrd,
            "-append", # a busy machine may be too slow for the kernel's test of its timer
                       "console=ttyS0 quiet panic=-1 mitigations=off no_timer_check",
            "-virtfs", f"local,path=/,mount_tag=host,readonly=on,{share}",
            "-virtfs", f"local,path={self.out},mount_tag=out,{share}",
            "-netdev", f"vde,id=n,sock={self.hosts.run}/switch",
            # with event_idx an emulated card now and then misses that there is something to send, until the next time
            "-device", f"virtio-net-pci,netdev=n,event_idx=off,mac=52:54:00:00:01:{self.id:02x}",
            "-device", "virtio-rng-pci", *pm]
        with open(self.hosts.out / f"qemu{self.id}.log", "w") as log:
            self.qemu = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        self.ready = threading.Event()
        self.control = None
        threading.Thread(target=self._listen, args=(control, self.qemu), daemon=True).start()

    def wait_ready(self):
        patience = Patience(BOOT_S)
        while not self.ready.wait(0.1):
            if self.qemu.poll() is not None or patience.is_over():
                logs = [(self.hosts.out / f"{name}{self.id}.log").read_text(errors="replace") for name in ("qemu", "console")]
                raise HostError(f"host {self.id} did not boot (qemu: {self.qemu.poll()}):\n" + "\n".join(log[-1000:] for log in logs))

    def start(self, command):
        """Runs a shell command; a Job."""
        number = len(self.jobs) + 1
        job = self.jobs[number] = Job(self, number, command)
        (self.out / f"{number}.sh").write_text(command + "\n")
        self.send(f"run {number}")
        return job

    def run(self, command, timeout=60):
        """Runs a shell command to its end; its output. HostError when it fails."""
        job = self.start(command)
        status = job.wait(timeout)
        if status != 0:
            raise HostError(f"{job}: exit status {status}\n{job.output()}")
        return job.output()

    def acknowledged(self):
        """How many batches the writers here have noted so far (vm_power_writer ... /out)."""
        return sum(journal.read_bytes().count(b"\n") for journal in self.out.glob("writer.*"))

    def power_cut(self):
        """The host is gone, between two instructions. Its NVDIMM keeps what reached it."""
        self.qemu.kill()
        self.qemu.wait()
        self.qemu = None
        for job in self.jobs.values():
            job.ended.set()

    def send(self, line):
        self.control.sendall((line + "\n").encode())

    def _listen(self, path, qemu):
        control = socket.socket(socket.AF_UNIX)
        while True:
            try:
                control.connect(str(path))
                break
            except OSError:
                if qemu.poll() is not None:
                    return
                time.sleep(0.05)  # pacing: between two attempts
        self.control = control
        with control.makefile(errors="replace") as lines:
            for line in lines:
                words = line.split()
                if words[:1] == ["ready"]:
                    self.ready.set()
                elif words[:1] == ["done"] and len(words) == 3 and int(words[1]) in self.jobs:
                    job = self.jobs[int(words[1])]
                    job.status = int(words[2])
                    job.ended.set()


class Hosts:
    """`count` hosts, numbered from 1, booted together. `out` keeps logs (a temporary folder unless
    given). pm: "none", "fsdax" (ext4 with DAX on /pm) or "devdax" (/dev/dax0.0)."""

    def __init__(self, count, out=None, pm="none", cpus=1, memory_mb=1024, environment=None):
        reason = unavailable()
        if reason:
            raise NoHosts(reason)
        self.pm, self.cpus, self.memory_mb = pm, cpus, memory_mb
        self.environment = environment or {}
        self.run = pathlib.Path(tempfile.mkdtemp(prefix="silurus-vm."))
        self.out = pathlib.Path(out).resolve() if out else self.run / "out"
        self.out.mkdir(parents=True, exist_ok=True)
        # a /dev/kvm that opens is no promise that a host boots with it: only on request
        kvm = os.environ.get("SILURUS_VM_KVM") == "1"
        self.accelerators = ["-accel", "kvm" if kvm else "tcg,thread=multi"]
        made = subprocess.run([HERE / "make-kernel"], stdout=subprocess.PIPE, text=True)
        if made.returncode != 0:
            raise NoHosts("no kernel for the hosts (make-kernel failed)")
        self.kernel, self.initrd, self.modules, self.version = made.stdout.split()
        self.switch = None
        self._hosts = [Host(self, i) for i in range(1, count + 1)]

    def __len__(self):
        return len(self._hosts)

    def __iter__(self):
        return iter(self._hosts)

    def __getitem__(self, number):
        return self._hosts[number - 1]

    def __enter__(self):
        # a switch of its own: Unix sockets, nothing leaves this machine; ends when its stdin does
        self.switch = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", "vde_switch", "-sock", self.run / "switch", "-hub"],
                                       stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            while not (self.run / "switch" / "ctl").exists():
                if self.switch.poll() is not None:
                    raise HostError("vde_switch did not start")
                time.sleep(0.02)  # pacing: between two looks
            for host in self:
                host.boot()
            for host in self:
                host.wait_ready()
        except BaseException as error:
            self.__exit__(type(error))
            raise
        return self

    def __exit__(self, failure, *_):
        for process in [host.qemu for host in self if host.qemu] + [self.switch]:
            process.kill()
            process.wait()
        if failure is None or self.run not in self.out.parents:
            shutil.rmtree(self.run)
        else:
            print(f"vm: logs are in {self.out}", file=sys.stderr)


def end_on_signals():
    """SIGTERM ends the block like an exception does."""
    def stop(number, _):
        raise SystemExit(128 + number)
    signal.signal(signal.SIGTERM, stop)
