#!/usr/bin/env bash
# Makes sure that this machine can run test hosts.
# Root on Debian or Ubuntu: installs what is missing. Elsewhere: says what is missing.
# Status: 0 ready; 77 this machine cannot run test hosts (the last line says why: callers
# count their scenarios as skipped with it); anything else is a failure.
set -euo pipefail

readonly CANNOT_RUN=77
list="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/requirements/system-debian.txt"
readonly list
readonly commands=(podman mmdebstrap nsenter ip ssh ssh-keygen)

cannot_run() {
    printf 'test hosts cannot run here: %s\n' "$*"
    exit "$CANNOT_RUN"
}

# Prints the names of the listed packages that are not installed.
missing_packages() {
    local package
    grep -v '^#' "$list" | while read -r package; do
        if [ "$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null)" != installed ]; then
            printf '%s\n' "$package"
        fi
    done
}

missing_commands() {
    local name
    for name in "${commands[@]}"; do
        command -v "$name" >/dev/null || printf '%s\n' "$name"
    done
}

# Installs the packages given; ends the script where the distribution does not have one of them.
install() {
    local package unknown=()
    export DEBIAN_FRONTEND=noninteractive
    apt-get update --quiet=2
    for package in "$@"; do
        apt-cache show "$package" >/dev/null 2>&1 || unknown+=("$package")
    done
    if [ "${#unknown[@]}" -gt 0 ]; then
        cannot_run "this release has no package named ${unknown[*]}"
    fi
    printf 'installing %s\n' "$*"
    apt-get install --quiet=2 --yes --no-install-recommends "$@"
}

main() {
    local missing
    if [ "$(uname -s)" != Linux ]; then
        cannot_run "they need Linux, this is $(uname -s)"
    fi
    if command -v apt-get >/dev/null && command -v dpkg-query >/dev/null; then
        mapfile -t missing < <(missing_packages)
        if [ "${#missing[@]}" -gt 0 ]; then
            if [ "$(id -u)" -ne 0 ]; then
                cannot_run "missing ${missing[*]}; install them with: sudo apt-get install --no-install-recommends ${missing[*]}"
            fi
            install "${missing[@]}"
        fi
    else
        mapfile -t missing < <(missing_commands)
        if [ "${#missing[@]}" -gt 0 ]; then
            cannot_run "missing commands: ${missing[*]}"
        fi
    fi
    if [ "$(id -u)" -ne 0 ]; then
        cannot_run "they need root, for a network that the controller can reach"
    fi
    printf 'test hosts can run here\n'
}

main
