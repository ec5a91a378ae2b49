#!/bin/sh
# PID 1 of a systemd test host: makes limits, sandbox and credentials real, then becomes systemd.
# Every step looks first, so the same image serves cgroup v1 and v2.
set -eu
cgroup=/sys/fs/cgroup
if [ -d "$cgroup/systemd" ]; then
    # A second mount hides the container's own tree: the upper one goes, with what lies on it.
    if [ "$(grep -c " $cgroup/systemd " /proc/self/mountinfo)" -gt 1 ]; then
        umount "$cgroup/systemd/release_agent" 2>/dev/null || true
        umount "$cgroup/systemd"
    fi
    for controller in systemd cpu cpuacct memory pids; do
        if mountpoint -q "$cgroup/$controller"; then
            mount -o remount,bind,rw "$cgroup/$controller"
        fi
    done
fi
# systemd hands credentials over through mounts below /run: in a private mount they come out empty.
mount --make-shared /run
exec /sbin/init
